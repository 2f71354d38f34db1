//! One connection that carries batches: one transaction in flight, fenced by the epoch.
//!
//! ```text
//!   send ─> MULTI … EXEC  WATCH epoch  GET epoch ─> Redis
//!                         └── arms the fence for the next batch, at no extra round trip
//! ```
//!
//! Invariant: whenever the lane is idle, the connection WATCHes the epoch and it held our number when
//! it was read after the WATCH. So if anybody takes over, at whatever moment, the next EXEC is nil
//! and writes nothing.
//!
//! The bytes in flight stay here until their replies have been read: an error is traced to its
//! command by walking them, and a batch whose fate is unknown can be sent once more.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::connect::REPLY_TIMEOUT;
use super::resp::{Commands, Reply, describe};
use super::transcript::{Transcript, Verdict};
use super::{Client, Connection, Error};
use crate::config::Durability;

/// The number that the present writer put into the epoch key.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    key: String,
    epoch: u64,
    /// EXEC, WAIT or WAITAOF where asked for, and the commands that arm the fence again.
    trailer: Vec<u8>,
    durability: Durability,
    /// How long the write took.
    took: Duration,
}

impl Fence {
    /// The number that [`Fence::raise`] is going to write, unless somebody else is quicker. Who does not
    /// hear the reply to that knows it by this.
    pub(crate) async fn next(client: &mut Client, key: &str) -> Result<u64, Error> {
        let found = client.call(&[b"GET", key.as_bytes()]).await?.text();
        Ok(found.and_then(|found| found.parse::<u64>().ok()).unwrap_or(0) + 1)
    }

    /// Takes over: increments the epoch, so that any earlier writer's next EXEC fails.
    pub(crate) async fn raise(
        client: &mut Client,
        key: &str,
        durability: Durability,
    ) -> Result<Fence, Error> {
        let sent = Instant::now();
        let reply = client.call(&[b"INCR", key.as_bytes()]).await?;
        let took = sent.elapsed();
        let epoch = reply.text().and_then(|text| text.parse().ok()).ok_or_else(|| client.nonsense())?;
        let mut trailer = Commands::default();
        trailer.command(&[b"EXEC"]);
        if let Some(mut wait) = wait(durability) {
            trailer.append(&mut wait);
        }
        trailer.command(&[b"WATCH", key.as_bytes()]);
        trailer.command(&[b"GET", key.as_bytes()]);
        Ok(Fence { key: key.to_owned(), epoch, trailer: trailer.bytes().to_vec(), durability, took })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// What a batch costs besides its commands, as far as it is known: the round trip, and what Redis does before it
    /// replies to a write. `None` where that is waiting for replicas or a disk.
    pub(crate) fn besides(&self) -> Option<Duration> {
        (self.durability == Durability::Memory).then_some(self.took)
    }

    /// Looks whether somebody else has raised the epoch.
    pub(super) async fn look(&self, connection: &mut Connection) -> Result<(), Error> {
        let found = connection.call(&[b"GET", self.key.as_bytes()]).await?.text();
        self.check(found.as_deref())
    }

    /// WATCHes the epoch on a connection. An error when somebody else has raised it since.
    pub(crate) async fn arm(&self, connection: &mut Connection) -> Result<(), Error> {
        connection.call(&[b"WATCH", self.key.as_bytes()]).await?;
        let found = connection.call(&[b"GET", self.key.as_bytes()]).await?.text();
        self.check(found.as_deref())
    }

    /// Arms the fence on a new connection so that nothing of the old one can still be carried out: an
    /// EXEC of ours that is on its way watches the epoch too, and fails when it is written, if only
    /// with the same number. So what is found to be not carried out after this never will be.
    pub(crate) async fn renew(&self, connection: &mut Connection) -> Result<(), Error> {
        self.arm(connection).await?;
        let mut renewal = Commands::default();
        renewal.command(&[b"MULTI"]);
        renewal.command(&[b"SET", self.key.as_bytes(), self.epoch.to_string().as_bytes()]);
        renewal.command(&[b"EXEC"]);
        for reply in connection.call_all(&renewal).await? {
            if let Reply::Error(reply) = reply {
                return Err(Error::Refused { doing: "renewing the fence".to_owned(), reply });
            }
        }
        self.arm(connection).await
    }

    /// EXEC, and the commands that arm the fence again.
    pub(super) fn trailer(&self) -> &[u8] {
        &self.trailer
    }

    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    pub(super) fn check(&self, found: Option<&str>) -> Result<(), Error> {
        let number = found.and_then(|found| found.parse::<u64>().ok());
        if number == Some(self.epoch) {
            return Ok(());
        }
        let (key, ours) = (self.key.clone(), self.epoch);
        let found = found.unwrap_or("nothing").to_owned();
        Err(match number {
            Some(number) if number > self.epoch => Error::Fenced { key, found, ours },
            _ => Error::Forgotten { key, found, ours },
        })
    }
}

/// A command that failed inside a transaction whose other commands were carried out.
#[derive(Debug)]
pub(crate) struct FailedCommand {
    /// Its number in the transaction.
    pub(crate) index: usize,
    pub(crate) name: Vec<u8>,
    pub(crate) key: Vec<u8>,
    /// The error reply.
    pub(crate) reply: String,
}

impl FailedCommand {
    /// Its name and key, to be read.
    pub(crate) fn description(&self) -> String {
        describe(&[&self.name, &self.key])
    }
}

/// A batch that was carried out.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) failed: Vec<FailedCommand>,
    /// What its last command replied, if that is a number.
    pub(crate) last: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Lane {
    connection: Connection,
    fence: Fence,
    in_flight: Commands,
    sent: usize,
    /// `None` when idle.
    transcript: Option<Transcript>,
    timer: Pin<Box<Sleep>>,
}

impl Lane {
    pub(crate) async fn new(mut connection: Connection, fence: Fence) -> Result<Lane, Error> {
        fence.arm(&mut connection).await?;
        Ok(Lane {
            connection,
            fence,
            in_flight: Commands::transaction(),
            sent: 0,
            transcript: None,
            timer: Box::pin(sleep(REPLY_TIMEOUT)),
        })
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.transcript.is_none()
    }

    /// Takes the batch and sends it; `batch` gets an empty buffer back.
    pub(crate) fn send(&mut self, batch: &mut Commands) {
        debug_assert!(self.is_idle(), "one batch in flight");
        std::mem::swap(&mut self.in_flight, batch);
        batch.clear();
        self.in_flight.trailer(&self.fence.trailer);
        self.sent = 0;
        self.transcript = Some(Transcript::new(self.in_flight.count(), self.fence.durability));
        self.timer.as_mut().reset(Instant::now() + REPLY_TIMEOUT);
    }

    /// Goes on with a new connection, whose fence is armed, after the old one broke or a batch was
    /// refused. A batch in flight is sent again.
    pub(crate) fn replace_connection(&mut self, connection: Connection) {
        self.connection = connection;
        self.sent = 0;
        if self.transcript.is_some() {
            self.transcript = Some(Transcript::new(self.in_flight.count(), self.fence.durability));
            self.timer.as_mut().reset(Instant::now() + REPLY_TIMEOUT);
        }
    }

    /// The batch in flight has a command of this name.
    pub(crate) fn has(&self, name: &[u8]) -> bool {
        self.in_flight.walk().any(|command| command.first() == Some(&name))
    }

    /// Drives the batch in flight; ready when all its replies have been read.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Error>> {
        self.connection.poll_send(cx, self.in_flight.bytes(), &mut self.sent)?;
        let Some(transcript) = &mut self.transcript else { return Poll::Ready(Ok(Done::default())) };
        let verdict = ready!(transcript.poll_verdict(cx, &mut self.connection, self.timer.as_mut()))?;
        Poll::Ready(self.judge(verdict))
    }

    fn judge(&mut self, verdict: Verdict) -> Result<Done, Error> {
        match verdict {
            Verdict::Executed { failed, epoch, last } => {
                self.transcript = None;
                let failed = trace(&self.in_flight, failed);
                self.in_flight.clear();
                self.in_flight.shrink_to(RETAINED);
                // Raised since: what we wrote was written before, the next batch will not be.
                self.fence.check(epoch.as_deref())?;
                Ok(Done { failed, last })
            }
            Verdict::Fenced { epoch } => {
                self.fence.check(epoch.as_deref())?;
                // The key was written without being changed: nobody does that but a restore.
                Err(Error::Fenced {
                    key: self.fence.key.clone(),
                    found: epoch.unwrap_or_default(),
                    ours: self.fence.epoch,
                })
            }
            Verdict::Unacknowledged(reply) => {
                Err(Error::Refused { doing: "waiting for replicas".to_owned(), reply })
            }
            // Nothing was carried out; the batch is still here and can be sent again.
            Verdict::Refused(reply) => Err(Error::Refused { doing: "writing a batch".to_owned(), reply }),
        }
    }
}

/// Finds the commands of a batch that failed.
pub(super) fn trace(batch: &Commands, failed: Vec<(usize, String)>) -> Vec<FailedCommand> {
    if failed.is_empty() {
        return Vec::new();
    }
    let commands: Vec<_> = batch.walk().collect();
    failed
        .into_iter()
        .map(|(index, reply)| {
            let command = commands.get(index).map(Vec::as_slice).unwrap_or_default();
            let argument = |place: usize| command.get(place).copied().unwrap_or_default().to_vec();
            FailedCommand { index, name: argument(0), key: argument(1), reply }
        })
        .collect()
}

/// How long Redis waits for replicas or the disk before it tells how far they are, ms. Less than
/// [`REPLY_TIMEOUT`].
const PATIENCE: &[u8] = b"2000";

/// The command that waits, if any.
pub(super) fn wait(durability: Durability) -> Option<Commands> {
    let mut wait = Commands::default();
    match durability {
        Durability::Memory => return None,
        Durability::Replicas(count) => wait.command(&[b"WAIT", count.to_string().as_bytes(), PATIENCE]),
        Durability::AppendOnly(count) => {
            wait.command(&[b"WAITAOF", b"1", count.to_string().as_bytes(), PATIENCE]);
        }
    }
    Some(wait)
}

/// What an idle buffer keeps of its memory after a huge batch.
pub(crate) const RETAINED: usize = 8 << 20;
