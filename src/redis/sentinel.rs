//! The master of a service, as its sentinels know it.
//!
//! ```text
//!   all sentinels at once ── answers of more than half ──> newest configuration ──> open, ROLE says master
//! ```
//!
//! Nobody is believed. A sentinel that was cut off names a former master, so the answer with the highest
//! configuration epoch counts, which a majority has agreed upon; and a server that is named must itself say that it is
//! a master. Two can say so while a network is divided. What is written to the one that loses is lost with it, and the
//! checkpoint with it, so the pipeline notices on the new master and goes back.
//!
//! A connection that breaks and a reply READONLY both end in a new connection, and each new connection asks here: so
//! failovers are followed, and no subscription is needed.
//!
//! Source: Redis documentation, "Guidelines for Redis clients with support for Redis Sentinel".

use std::cmp::Reverse;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::node::Login;
use super::resp::{Commands, Reply};
use super::{Connection, Error};
use crate::config::{RedisHost, Target};

/// How long a sentinel may take for its answer, and a server that was named: one that has vanished must not keep us
/// from the others.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a sentinel says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    master: RedisHost,
    /// Counts the failovers.
    epoch: u64,
}

/// Opens a connection to the present master of `service`.
pub(super) async fn open(target: &Target, service: &str) -> Result<Connection, Error> {
    let data = Login::of_data(target)?;
    let sentinels = Login::of_sentinels(target)?;
    let mut reasons = Vec::new();
    let answers = ask_all(&sentinels, &target.url.hosts, service, &mut reasons).await;
    for host in candidates(answers) {
        match is_master(&data, &host).await {
            Ok(connection) => return Ok(connection),
            // A wrong password is wrong at the next one too.
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(Error::NoMaster { service: service.to_owned(), reasons: reasons.join("; ") })
}

/// Asks all at once, until more than half have named somebody or nobody is left.
async fn ask_all(
    login: &Login<'_>,
    hosts: &[RedisHost],
    service: &str,
    reasons: &mut Vec<String>,
) -> Vec<Answer> {
    let mut questions: Vec<_> = hosts.iter().map(|host| Box::pin(ask(login, host, service))).collect();
    let mut answers = Vec::new();
    poll_fn(|cx| {
        questions.retain_mut(|question| match Pin::new(question).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(Ok(answer)) => {
                answers.push(answer);
                false
            }
            Poll::Ready(Err(reason)) => {
                reasons.push(reason);
                false
            }
        });
        if questions.is_empty() || 2 * answers.len() > hosts.len() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    answers
}

/// Asks one; an error is a sentence.
async fn ask(login: &Login<'_>, host: &RedisHost, service: &str) -> Result<Answer, String> {
    let about = |text: String| format!("the sentinel {host}: {text}");
    let mut connection = login.open(host, PATIENCE).await.map_err(|error| about(mended(&error)))?;
    let mut commands = Commands::default();
    // While a failover is under way only the first of them names the new master, and only the second has the epoch.
    commands.command(&[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", service.as_bytes()]);
    commands.command(&[b"SENTINEL", b"MASTER", service.as_bytes()]);
    let replies = connection.call_all_within(&commands, PATIENCE).await;
    match replies.map_err(|error| about(error.to_string()))?.as_slice() {
        [Reply::Error(reply), _] if reply.starts_with("ERR unknown command") => Err(about(
            "it is none: redis-sentinel:// names the sentinels, whose port is 26379 by default".to_owned(),
        )),
        [Reply::Error(reply), _] => Err(about(reply.clone())),
        [Reply::Nil, _] => {
            Err(about(format!("it knows no master `{service}`; SENTINEL MASTERS lists those that it knows")))
        }
        [Reply::Array(address), details] => match address.as_slice() {
            [host, port] => answer(host, port, details),
            _ => None,
        }
        .ok_or_else(|| about("its answer is not that of a sentinel".to_owned())),
        _ => Err(about("its answer is not that of a sentinel".to_owned())),
    }
}

fn answer(host: &Reply, port: &Reply, details: &Reply) -> Option<Answer> {
    let master = RedisHost::Tcp { host: host.text()?, port: port.text()?.parse().ok()? };
    let fields = if let Reply::Array(fields) = details { fields.as_slice() } else { &[] };
    let epoch = fields.chunks_exact(2).find_map(|pair| match pair {
        [name, value] if name.text().as_deref() == Some("config-epoch") => value.text()?.parse().ok(),
        _ => None,
    });
    // Without the right to see details, a sentinel is worth less than one that tells.
    Some(Answer { master, epoch: epoch.unwrap_or(0) })
}

/// Those that were named, the newest first, then the one that was named most often.
fn candidates(answers: Vec<Answer>) -> Vec<RedisHost> {
    let mut found: Vec<(Answer, usize)> = Vec::new();
    for answer in answers {
        match found.iter_mut().find(|(known, _)| known.master == answer.master) {
            Some((known, votes)) => {
                known.epoch = known.epoch.max(answer.epoch);
                *votes += 1;
            }
            None => found.push((answer, 1)),
        }
    }
    found.sort_by_key(|(answer, votes)| Reverse((answer.epoch, *votes)));
    found.into_iter().map(|(answer, _)| answer.master).collect()
}

async fn is_master(login: &Login<'_>, host: &RedisHost) -> Result<Connection, Error> {
    let mut connection = login.open(host, PATIENCE).await?;
    let Reply::Array(parts) = connection.call(&[b"ROLE"]).await? else { return Err(connection.nonsense()) };
    match parts.first().and_then(Reply::text).as_deref() {
        Some("master") => Ok(connection),
        Some(role) => Err(Error::Refused {
            doing: format!("asking {host} for its role"),
            reply: format!("READONLY it is not the master that a sentinel takes it for, but says `{role}`"),
        }),
        None => Err(connection.nonsense()),
    }
}

/// The keys of a sentinel's password are its own.
fn mended(error: &Error) -> String {
    match error {
        Error::Refused { reply, .. } if reply.starts_with("NOAUTH") || reply.starts_with("WRONGPASS") => {
            format!("{reply}; set target.sentinel.password or password_file, and username where it has users")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_configuration_counts() {
        let host = |port| RedisHost::Tcp { host: "h".to_owned(), port };
        let answer = |port, epoch| Answer { master: host(port), epoch };
        assert_eq!(candidates(vec![answer(1, 3), answer(2, 4), answer(1, 3)]), [host(2), host(1)]);
        assert_eq!(candidates(vec![answer(1, 3), answer(2, 3), answer(2, 3)]), [host(2), host(1)]);
        assert_eq!(candidates(vec![]), []);
    }

    #[test]
    fn answers() {
        let text = |text: &str| Reply::Text(text.as_bytes().to_vec());
        let details = Reply::Array(vec![text("name"), text("m"), text("config-epoch"), text("7")]);
        let master = RedisHost::Tcp { host: "::1".to_owned(), port: 6379 };
        let found = answer(&text("::1"), &text("6379"), &details);
        assert_eq!(found, Some(Answer { master: master.clone(), epoch: 7 }));
        let denied = Reply::Error("NOPERM".to_owned());
        assert_eq!(answer(&text("::1"), &text("6379"), &denied), Some(Answer { master, epoch: 0 }));
        assert_eq!(answer(&text("::1"), &text("port"), &details), None);
    }
}
