//! Reads the replies to one batch: MULTI, what was queued, EXEC, and the next fence.
//!
//! ```text
//!   sent        MULTI   n commands   EXEC          WATCH epoch   GET epoch
//!   expected    +OK     n × +QUEUED  array of n    +OK           our epoch
//! ```
//!
//! EXEC does not roll back, so each of its n replies is looked at. What is not expected is kept with
//! the number of its command; nothing is taken for success because nobody looked.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep};

use super::connect::REPLY_TIMEOUT;
use super::resp::{Element, Unread, element};
use super::{Connection, Error};
use crate::config::Durability;

/// What came of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every command was carried out, except those in `failed`: their number in the transaction and
    /// the error reply. `epoch` is what the fence holds now, `last` what the last command replied, if
    /// that is a number.
    Executed { failed: Vec<(usize, String)>, epoch: Option<String>, last: Option<i64> },
    /// Nothing was carried out, for this reason: the first error reply.
    Refused(String),
    /// EXEC was nil: the watched epoch had changed.
    Fenced { epoch: Option<String> },
    /// It was executed, but not enough replicas or files have it yet; in words.
    Unacknowledged(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Multi,
    /// Commands whose +QUEUED is still to come, one or more.
    Queued(usize),
    Exec,
    /// Commands whose replies are still to come, and replies nested in the present one.
    Replies {
        left: usize,
        nested: usize,
    },
    /// Numbers that WAIT or WAITAOF are still to tell.
    Acknowledged(usize),
    Watch,
    Get,
}

#[derive(Debug)]
pub(super) struct Transcript {
    commands: usize,
    stage: Stage,
    refused: Option<String>,
    /// MULTI was refused: the commands stand alone, and have replies of their own.
    alone: bool,
    fenced: bool,
    failed: Vec<(usize, String)>,
    last: Option<i64>,
    durability: Durability,
    /// What WAIT or WAITAOF told.
    acknowledged: Vec<i64>,
}

impl Transcript {
    /// For a transaction of `commands` commands.
    pub(super) fn new(commands: usize, durability: Durability) -> Transcript {
        Transcript {
            commands,
            stage: Stage::Multi,
            refused: None,
            alone: false,
            fenced: false,
            failed: Vec::new(),
            last: None,
            durability,
            acknowledged: Vec::new(),
        }
    }

    /// Reads as far as `bytes` go. Returns how many were read, and the verdict at the end.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<Verdict>), Unread> {
        let mut read = 0;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            // By far the most frequent line.
            if let Stage::Queued(left) = self.stage
                && rest.starts_with(b"+QUEUED\r\n")
            {
                read += b"+QUEUED\r\n".len();
                self.stage = self.queued(left - 1);
                continue;
            }
            let (found, length) = match element(rest) {
                Ok(found) => found,
                Err(Unread::Incomplete(_)) => return Ok((read, None)),
                Err(Unread::Nonsense) => return Err(Unread::Nonsense),
            };
            read += length;
            if let Some(verdict) = self.take(found)? {
                return Ok((read, Some(verdict)));
            }
        }
    }

    /// Reads what the connection receives until the verdict is there. `timer` tells when it has been silent for
    /// too long.
    pub(super) fn poll_verdict(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
        mut timer: Pin<&mut Sleep>,
    ) -> Poll<Result<Verdict, Error>> {
        loop {
            let read = self.read(connection.input.unread());
            let Ok((count, verdict)) = read else { return Poll::Ready(Err(connection.nonsense())) };
            connection.input.consume(count);
            if let Some(verdict) = verdict {
                return Poll::Ready(Ok(verdict));
            }
            match connection.poll_fill(cx, connection.input.len() + 1) {
                // Slow is not dead: as long as replies come, we wait.
                Poll::Ready(Ok(_)) => timer.as_mut().reset(Instant::now() + REPLY_TIMEOUT),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(connection.io_error(e))),
                Poll::Pending => {
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(Err(connection.silent()));
                }
            }
        }
    }

    fn refuse(&mut self, reply: &[u8]) {
        let reply = String::from_utf8_lossy(reply).into_owned();
        self.refused.get_or_insert(reply);
    }

    fn take(&mut self, found: Element<'_>) -> Result<Option<Verdict>, Unread> {
        self.stage = match (self.stage, found) {
            (Stage::Multi, Element::Error(reply)) => {
                self.refuse(reply);
                self.alone = true;
                self.replies(self.commands, 0)
            }
            (Stage::Multi, Element::Text(_)) => self.queued(self.commands),
            (Stage::Queued(left), found) => {
                match found {
                    Element::Error(reply) => self.refuse(reply),
                    Element::Text(b"QUEUED") => {}
                    _ => return Err(Unread::Nonsense),
                }
                self.queued(left - 1)
            }
            (Stage::Exec, Element::Error(reply)) => {
                self.refuse(reply);
                self.behind_exec()
            }
            (Stage::Exec, Element::Nil) => {
                self.fenced = true;
                self.behind_exec()
            }
            (Stage::Exec, Element::Array(count)) if count == self.commands => self.replies(count, 0),
            (Stage::Replies { left, nested }, found) => {
                if let Element::Error(reply) = found {
                    let reply = String::from_utf8_lossy(reply).into_owned();
                    self.failed.push((self.commands - left, reply));
                }
                if let (1, 0, Element::Integer(number)) = (left, nested, &found) {
                    self.last = Some(*number);
                }
                let more = if let Element::Array(count) = found { count } else { 0 };
                // The element itself is read; those within it are still to come.
                match nested.saturating_sub(1).saturating_add(more) {
                    0 => self.replies(left - 1, 0),
                    nested => Stage::Replies { left, nested },
                }
            }
            (Stage::Acknowledged(_), Element::Error(reply)) => {
                self.refuse(reply);
                Stage::Watch
            }
            (Stage::Acknowledged(_), Element::Array(2)) => Stage::Acknowledged(2),
            (Stage::Acknowledged(left), Element::Integer(count)) => {
                self.acknowledged.push(count);
                if left > 1 { Stage::Acknowledged(left - 1) } else { Stage::Watch }
            }
            (Stage::Watch, Element::Error(reply)) => {
                self.refuse(reply);
                Stage::Get
            }
            (Stage::Watch, Element::Text(_)) => Stage::Get,
            (Stage::Get, found) => {
                let epoch = match found {
                    Element::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    Element::Nil => None,
                    Element::Error(reply) => {
                        self.refuse(reply);
                        None
                    }
                    _ => return Err(Unread::Nonsense),
                };
                return Ok(Some(self.verdict(epoch)));
            }
            _ => return Err(Unread::Nonsense),
        };
        Ok(None)
    }

    fn queued(&self, left: usize) -> Stage {
        if left == 0 { Stage::Exec } else { Stage::Queued(left) }
    }

    fn replies(&self, left: usize, nested: usize) -> Stage {
        match left {
            0 if self.alone => Stage::Exec,
            0 => self.behind_exec(),
            left => Stage::Replies { left, nested },
        }
    }

    fn behind_exec(&self) -> Stage {
        if self.durability == Durability::Memory { Stage::Watch } else { Stage::Acknowledged(1) }
    }

    fn verdict(&mut self, epoch: Option<String>) -> Verdict {
        match self.refused.take() {
            _ if self.fenced => Verdict::Fenced { epoch },
            Some(reply) => Verdict::Refused(reply),
            None if missing(self.durability, &self.acknowledged).is_some() => {
                Verdict::Unacknowledged(missing(self.durability, &self.acknowledged).unwrap_or_default())
            }
            None => Verdict::Executed { failed: std::mem::take(&mut self.failed), epoch, last: self.last },
        }
    }
}

/// What WAIT or WAITAOF did not tell.
pub(super) fn missing(durability: Durability, told: &[i64]) -> Option<String> {
    match (durability, told) {
        (Durability::Memory, _) => None,
        (Durability::Replicas(wanted), [found]) if *found >= i64::from(wanted) => None,
        (Durability::Replicas(wanted), [found]) => {
            Some(format!("NOREPLICAS {found} of {wanted} replicas have the batch (durability.wait)"))
        }
        (Durability::AppendOnly(wanted), [local, found]) if *local > 0 && *found >= i64::from(wanted) => None,
        (Durability::AppendOnly(wanted), [local, found]) => Some(format!(
            "NOREPLICAS the batch is in {local} of 1 append-only file here and in {found} of {wanted} on replicas \
             (durability.waitaof)"
        )),
        _ => Some("NOREPLICAS nobody told who has the batch".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_in_pieces(commands: usize, bytes: &[u8], piece: usize) -> Option<Verdict> {
        let mut transcript = Transcript::new(commands, Durability::Memory);
        let mut start = 0;
        for end in (0..=bytes.len()).step_by(piece).chain([bytes.len()]) {
            let (read, verdict) = transcript.read(&bytes[start..end]).unwrap();
            start += read;
            if verdict.is_some() {
                assert_eq!(start, bytes.len());
                return verdict;
            }
        }
        None
    }

    #[test]
    fn verdicts() {
        let epoch = Some("7".to_owned());
        let good: &[u8] =
            b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n*2\r\n*1\r\n:1\r\n+x\r\n+OK\r\n$1\r\n7\r\n";
        let count: &[u8] = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n*1\r\n:7\r\n:42\r\n+OK\r\n$1\r\n7\r\n";
        let half: &[u8] = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n-WRONGTYPE no\r\n+OK\r\n$1\r\n7\r\n";
        let full: &[u8] = b"+OK\r\n-OOM no\r\n+QUEUED\r\n-EXECABORT x\r\n+OK\r\n$1\r\n7\r\n";
        let third: &[u8] = b">1\r\n+x\r\n+OK\r\n+QUEUED\r\n+QUEUED\r\n>1\r\n+x\r\n*2\r\n,1.5\r\n%1\r\n+a\r\n~1\r\n_\r\n>1\r\n+x\r\n+OK\r\n$1\r\n7\r\n";
        let nil: &[u8] = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n_\r\n+OK\r\n$1\r\n8\r\n";
        let late: &[u8] = b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n+OK\r\n$1\r\n8\r\n";
        for piece in 1..20 {
            let executed = |failed| Some(Verdict::Executed { failed, epoch: epoch.clone(), last: None });
            assert_eq!(read_in_pieces(2, good, piece), executed(vec![]));
            assert_eq!(read_in_pieces(2, third, piece), executed(vec![]));
            let counted = Some(Verdict::Executed { failed: vec![], epoch: epoch.clone(), last: Some(42) });
            assert_eq!(read_in_pieces(2, count, piece), counted);
            assert_eq!(read_in_pieces(2, nil, piece), Some(Verdict::Fenced { epoch: Some("8".to_owned()) }));
            assert_eq!(read_in_pieces(2, half, piece), executed(vec![(1, "WRONGTYPE no".to_owned())]));
            assert_eq!(read_in_pieces(2, full, piece), Some(Verdict::Refused("OOM no".to_owned())));
            assert_eq!(read_in_pieces(2, late, piece), Some(Verdict::Fenced { epoch: Some("8".to_owned()) }));
        }
        let none: &[u8] = b"-READONLY no\r\n-EXECABORT x\r\n+OK\r\n$1\r\n7\r\n";
        assert_eq!(read_in_pieces(0, none, 5), Some(Verdict::Refused("READONLY no".to_owned())));
        let alone: &[u8] = b"-NOPERM multi\r\n:1\r\n*2\r\n*1\r\n:1\r\n+x\r\n-NOPERM x\r\n-ERR EXEC without MULTI\r\n+OK\r\n$1\r\n7\r\n";
        for piece in 1..20 {
            let refused = Some(Verdict::Refused("NOPERM multi".to_owned()));
            assert_eq!(read_in_pieces(3, alone, piece), refused);
        }
        for (durability, acknowledged, enough) in [
            (Durability::Replicas(1), &b":1\r\n"[..], true),
            (Durability::Replicas(2), b":1\r\n", false),
            (Durability::AppendOnly(0), b"*2\r\n:1\r\n:0\r\n", true),
            (Durability::AppendOnly(1), b"*2\r\n:1\r\n:0\r\n", false),
            (Durability::AppendOnly(0), b"*2\r\n:0\r\n:0\r\n", false),
        ] {
            let bytes = [b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n", acknowledged, b"+OK\r\n$1\r\n7\r\n"].concat();
            let (_, verdict) = Transcript::new(1, durability).read(&bytes).unwrap();
            assert_eq!(
                matches!(verdict, Some(Verdict::Executed { .. })),
                enough,
                "{durability:?} {verdict:?}"
            );
            assert_eq!(
                matches!(verdict, Some(Verdict::Unacknowledged(_))),
                !enough,
                "{durability:?} {verdict:?}"
            );
        }
        assert!(Transcript::new(0, Durability::Memory).read(b"-READONLY no\r\n+QUEUED\r\n").is_err());
        assert!(Transcript::new(1, Durability::Memory).read(b"+OK\r\n+OK\r\n").is_err());
        assert!(Transcript::new(1, Durability::Memory).read(b"+OK\r\n+QUEUED\r\n*2\r\n").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(commands in 0_usize..4, bytes: Vec<u8>) {
            let _ = Transcript::new(commands, Durability::Memory).read(&bytes);
        }
    }
}
