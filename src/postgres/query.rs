//! The simple query protocol: SQL in, text out.

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::wire::Fields;
use super::{Connection, Error, ServerError};

/// One row of an answer: the columns' text, `None` for NULL.
pub(crate) type TextRow = Vec<Option<String>>;

/// What decides which features there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    /// `server_version_num`.
    pub(crate) version: u32,
    /// It follows a primary.
    pub(crate) standby: bool,
}

impl Connection {
    /// Runs `sql` and returns the rows of all its statements.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<TextRow>, Error> {
        let mut rows = Vec::new();
        self.query_each(sql, |row| rows.push(row)).await?;
        Ok(rows)
    }

    /// The same for answers of very many rows, of which none is kept.
    pub(crate) async fn query_each(&mut self, sql: &str, mut take: impl FnMut(TextRow)) -> Result<(), Error> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(|e| self.io_error(e))?;
        self.send(&message).await?;
        let mut failure = None;
        loop {
            let frame = self.next().await?;
            let body = self.body(&frame);
            let mut done = false;
            match frame.kind {
                b'D' => {
                    let row = text_row(body).ok_or_else(|| self.protocol_error("a DataRow is cut short"))?;
                    take(row);
                }
                b'E' => failure = Some(ServerError::parse(body)),
                b'Z' => done = true,
                _ => {}
            }
            self.consume(&frame);
            if done {
                break;
            }
        }
        match failure {
            None => Ok(()),
            Some(error) => Err(Error::Server { doing: first_line(sql), error: Box::new(error) }),
        }
    }

    /// The system identifier and the timeline, on a replication connection.
    pub(crate) async fn identify_system(&mut self) -> Result<(String, String), Error> {
        let row = match self.query("IDENTIFY_SYSTEM").await {
            Ok(rows) => rows.into_iter().next().unwrap_or_default(),
            // Taken for SQL: somebody in between has dropped the parameter `replication`.
            Err(Error::Server { error, .. }) if error.code == "42601" => return Err(self.pooler(&error)),
            Err(error) => return Err(error),
        };
        let column = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
        Ok((column(0), column(1)))
    }

    /// What kind of server this is.
    pub(crate) async fn server(&mut self) -> Result<Server, Error> {
        let version = self.server_version().await?;
        let standby = self.query_one("SELECT pg_catalog.pg_is_in_recovery()").await?.as_deref() == Some("t");
        Ok(Server { version, standby })
    }

    /// `server_version_num`: 150004 is version 15.4, 90624 version 9.6.24.
    pub(crate) async fn server_version(&mut self) -> Result<u32, Error> {
        let version = self.query_one("SHOW server_version_num").await?;
        Ok(version.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Runs `sql` and returns the first column of the first row.
    pub(crate) async fn query_one(&mut self, sql: &str) -> Result<Option<String>, Error> {
        Ok(self.query(sql).await?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }
}

fn first_line(sql: &str) -> String {
    let line = sql.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn text_row(body: &[u8]) -> Option<TextRow> {
    let mut fields = Fields::new(body);
    let count = fields.u16()?;
    (0..count)
        .map(|_| match fields.u32()? {
            u32::MAX => Some(None),
            length => {
                let text = fields.bytes(length as usize)?;
                Some(Some(String::from_utf8_lossy(text).into_owned()))
            }
        })
        .collect()
}
