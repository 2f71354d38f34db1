//! Which of the hosts of the URL: the first in their order that lets us in and is what
//! `target_session_attrs` asks for.
//!
//! The order begins with the host that let us in last ([`LastHost`](crate::config::PostgresUrl)): all connections of the
//! process should be of one server, and a host that is dead costs its timeout once. A wrong password ends the
//! search, as in libpq: it is wrong everywhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::timeout;

use super::authenticate::Login;
use super::tls::{Way, ways};
use super::{Connection, Error, Purpose, passfile};
use crate::config::{PostgresUrl, Source, TargetSession};

/// How long one attempt at one host may take, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server is, for [`TargetSession`].
#[derive(Debug, Clone, Copy)]
struct Character {
    standby: bool,
    /// Transactions are read-only unless they say otherwise.
    read_only: bool,
}

impl Connection {
    /// Tries the hosts of the URL and stays with the first that lets us in and is the right one.
    pub(crate) async fn open(source: &Source, purpose: Purpose) -> Result<Connection, Error> {
        let url = &source.url;
        let order = order(url);
        let mut reasons = Vec::new();
        let mut last = Error::Setting("source.url names no host".to_owned());
        // A second round takes any server.
        let rounds = match url.target_session_attrs {
            TargetSession::PreferStandby => &[TargetSession::Standby, TargetSession::Any][..],
            _ => std::slice::from_ref(&url.target_session_attrs),
        };
        for target in rounds {
            reasons.clear();
            for &index in &order {
                match open_host(source, index, *target, purpose).await {
                    Ok(connection) => {
                        url.last_host.set(index);
                        return Ok(connection);
                    }
                    Err(error) if !error.is_transient() => return Err(error),
                    Err(error) => {
                        reasons.push(error.to_string());
                        last = error;
                    }
                }
            }
        }
        if order.len() > 1 { Err(Error::NoHost { reasons: reasons.join("; ") }) } else { Err(last) }
    }

    /// Fails when the server is not the one that is asked for.
    async fn check_target(&mut self, target: TargetSession) -> Result<(), Error> {
        if target == TargetSession::Any {
            return Ok(());
        }
        let is = self.character().await?;
        let (fits, wanted) = match target {
            TargetSession::Any => (true, "any"),
            TargetSession::ReadWrite => (!is.standby && !is.read_only, "read-write"),
            TargetSession::ReadOnly => (is.standby || is.read_only, "read-only"),
            TargetSession::Primary => (!is.standby, "primary"),
            TargetSession::Standby | TargetSession::PreferStandby => (is.standby, "standby"),
        };
        if fits {
            return Ok(());
        }
        let kind = match is {
            Character { standby: true, .. } => "it is a standby",
            Character { read_only: true, .. } => "its transactions are read-only",
            _ => "it is a primary",
        };
        Err(Error::Standby {
            address: self.address().to_owned(),
            what: format!("{kind}, but target_session_attrs={wanted} asks for another server"),
        })
    }

    /// PostgreSQL 14 and later say it at the login; older ones are asked.
    async fn character(&mut self) -> Result<Character, Error> {
        if let (Some(standby), Some(read_only)) = (self.hot_standby, self.read_only) {
            return Ok(Character { standby, read_only });
        }
        let on = |answer: Option<String>| matches!(answer.as_deref(), Some("t" | "on"));
        let standby = on(self.query_one("SELECT pg_catalog.pg_is_in_recovery()").await?);
        let read_only = on(self.query_one("SHOW default_transaction_read_only").await?);
        Ok(Character { standby, read_only })
    }
}

/// The indexes of the hosts in the order in which they are tried.
fn order(url: &PostgresUrl) -> Vec<usize> {
    let mut order: Vec<usize> = (0..url.hosts.len()).collect();
    let last = url.last_host.get();
    if url.load_balance_hosts && last.is_none() {
        shuffle(&mut order);
    }
    if let Some(place) = order.iter().position(|index| Some(*index) == last) {
        order[..=place].rotate_right(1);
    }
    order
}

/// The clock's nanoseconds are random enough to spread instances over hosts.
fn shuffle(order: &mut [usize]) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = now.as_nanos() as u64 ^ u64::from(std::process::id());
    for end in (1..order.len()).rev() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order.swap(end, (random >> 33) as usize % (end + 1));
    }
}

async fn open_host(
    source: &Source,
    index: usize,
    target: TargetSession,
    purpose: Purpose,
) -> Result<Connection, Error> {
    let url = &source.url;
    let Some(host) = url.hosts.get(index) else {
        return Err(Error::Setting("source.url names no host".to_owned()));
    };
    let login = login(source, index)?;
    let limit = url.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let mut first: Option<Error> = None;
    for way in ways(url, host) {
        let attempt = async {
            let mut connection = Connection::log_in(&login, (index, *way), purpose).await?;
            connection.check_target(target).await?;
            Ok(connection)
        };
        let error = match timeout(limit, attempt).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => error,
            Err(_) => return Err(Error::Silent { address: host.to_string(), seconds: limit.as_secs() }),
        };
        if !may_be_the_way(&error, *way) {
            return Err(first.unwrap_or(error));
        }
        first.get_or_insert(error);
    }
    Err(first.unwrap_or_else(|| Error::Setting("source.url names no host".to_owned())))
}

/// It failed for being with TLS, or without: the server has no line in `pg_hba.conf` for such a connection
/// (SQLSTATE invalid_authorization_specification), or TLS does not come about.
fn may_be_the_way(error: &Error, way: Way) -> bool {
    match error {
        Error::Server { .. } => error.sqlstate() == Some("28000"),
        Error::Setting(_) | Error::Io { .. } => way == Way::TlsIfOffered,
        _ => false,
    }
}

/// The password is looked for anew each time: it may have been changed.
fn login(source: &Source, index: usize) -> Result<Login<'_>, Error> {
    let url = &source.url;
    let given = source.password.read().map_err(|e| Error::Setting(e.to_string()))?;
    let mut login = Login { url, password: given.or_else(|| url.password.clone()), remark: None };
    if login.password.is_none()
        && let Some(host) = url.hosts.get(index)
    {
        match passfile::password(url, host) {
            Ok(password) => login.password = password,
            Err(why) => login.remark = Some(why),
        }
    }
    Ok(login)
}
