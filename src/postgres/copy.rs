//! COPY … TO STDOUT: rows of the snapshot in COPY's text format.
//!
//! One CopyData message is one row (the protocol chapter promises that for the backend's side). A
//! row is unescaped where it lies in the receive buffer: an unescaped field is never longer than
//! the escaped one.
//!
//! Source: PostgreSQL documentation, "COPY", section "Text Format"; "COPY Operations".

use std::task::{Context, Poll};

use bytes::BytesMut;
use postgres_protocol::message::frontend;

use super::wire::{Frame, Framing, frame};
use super::{Connection, Error, ServerError};
use crate::row::Cell;

/// What the receive buffer of a connection that copies out begins with.
#[derive(Debug)]
pub(crate) enum CopyEvent {
    Row(Frame),
    /// The COPY ended and the connection is ready for the next statement.
    Done,
    /// More must be received.
    Incomplete(usize),
}

impl Connection {
    /// Starts a COPY; its rows are taken with [`Connection::copy_event`]. When it is refused, the
    /// connection is ready for the next statement.
    pub(crate) async fn start_copy(&mut self, sql: &str) -> Result<(), Error> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(|e| self.io_error(e))?;
        self.send(&message).await?;
        loop {
            let frame = self.next().await?;
            match frame.kind {
                b'H' => {
                    self.consume(&frame);
                    return Ok(());
                }
                b'E' => {
                    let error = self.copy_failed(&frame);
                    self.consume(&frame);
                    // After a FATAL error the server is gone: what it said tells more.
                    while let Ok(frame) = self.next().await {
                        self.consume(&frame);
                        if frame.kind == b'Z' {
                            break;
                        }
                    }
                    return Err(error);
                }
                _ => self.consume(&frame),
            }
        }
    }

    /// The next row that has been received, without waiting. The caller consumes its frame.
    #[inline]
    pub(crate) fn copy_event(&mut self) -> Result<CopyEvent, Error> {
        loop {
            match frame(self.input.unread()) {
                Framing::Incomplete(wanted) => return Ok(CopyEvent::Incomplete(wanted)),
                Framing::Nonsense => return Err(self.nonsense()),
                Framing::Whole(frame) => match frame.kind {
                    b'd' => return Ok(CopyEvent::Row(frame)),
                    b'E' => return Err(self.copy_failed(&frame)),
                    b'Z' => {
                        self.consume(&frame);
                        return Ok(CopyEvent::Done);
                    }
                    _ => self.consume(&frame),
                },
            }
        }
    }

    /// The bytes of a row, to be parsed where they lie.
    #[inline]
    pub(crate) fn copy_row(&mut self, frame: &Frame) -> &mut [u8] {
        self.input.unread_mut().get_mut(frame.body.clone()).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn copy_consume(&mut self, frame: &Frame) {
        self.consume(frame);
    }

    /// Receives once.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Error>> {
        self.input
            .poll_fill(cx, &mut self.transport, wanted)
            .map_err(|source| Error::Io { address: self.address().to_owned(), source })
    }

    fn copy_failed(&self, frame: &Frame) -> Error {
        Error::Server {
            doing: "reading rows".to_owned(),
            error: Box::new(ServerError::parse(self.body(frame))),
        }
    }
}

/// Splits a line of COPY text into cells, unescaping in place.
pub(crate) fn split_row(line: &mut [u8], cells: &mut Vec<Cell>) {
    cells.clear();
    let line = match line.split_last_mut() {
        Some((b'\n', rest)) => rest,
        _ => line,
    };
    let escaped = memchr::memchr(b'\\', line).is_some();
    let mut start = 0;
    loop {
        let rest = &mut line[start..];
        let end = memchr::memchr(b'\t', rest);
        let length = end.unwrap_or(rest.len());
        let field = &mut rest[..length];
        let cell = if !escaped {
            Cell::text(start, field.len())
        } else if field == b"\\N" {
            Cell::NULL
        } else {
            Cell::text(start, unescape(field))
        };
        cells.push(cell);
        match end {
            Some(end) => start += end + 1,
            None => return,
        }
    }
}

/// Removes COPY's backslashes; returns the new length.
fn unescape(field: &mut [u8]) -> usize {
    let Some(first) = memchr::memchr(b'\\', field) else { return field.len() };
    let (mut from, mut to) = (first, first);
    while let Some(&byte) = field.get(from) {
        from += 1;
        let plain = if byte == b'\\' {
            let code = field.get(from).copied().unwrap_or(b'\\');
            from += 1;
            match code {
                b'b' => 0x08,
                b'f' => 0x0c,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 0x0b,
                other => other,
            }
        } else {
            byte
        };
        field[to] = plain;
        to += 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Row, Value};
    use proptest::prelude::*;

    fn split(line: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut line = line.to_vec();
        let mut cells = Vec::new();
        split_row(&mut line, &mut cells);
        let row = Row::new(&line, &cells);
        (0..row.len())
            .map(|i| match row.get(i) {
                Value::Text(text) => Some(text.to_vec()),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn fields_nulls_and_escapes() {
        assert_eq!(
            split(b"1\tb\\tc\t\\N\t\n"),
            [Some(b"1".to_vec()), Some(b"b\tc".to_vec()), None, Some(vec![])]
        );
        assert_eq!(split(b"\\\\N\t\\\\\n"), [Some(b"\\N".to_vec()), Some(b"\\".to_vec())]);
        assert_eq!(split(b"\n"), [Some(vec![])]);
        assert_eq!(split(b"a\\"), [Some(b"a\\".to_vec())]);
    }

    proptest! {
        #[test]
        fn what_copy_escapes_comes_back(fields in prop::collection::vec(prop::option::of("[\\x00-\\x7f]{0,12}"), 1..6)) {
            let line: Vec<String> = fields.iter().map(|field| match field {
                None => "\\N".to_owned(),
                Some(text) => text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"),
            }).collect();
            let line = line.join("\t") + "\n";
            let expected: Vec<_> = fields.into_iter().map(|f| f.map(String::into_bytes)).collect();
            prop_assert_eq!(split(line.as_bytes()), expected);
        }

        #[test]
        fn any_bytes_are_split(line: Vec<u8>) {
            split(&line);
        }
    }
}
