//! The lanes of a sharded Redis: a batch is divided among the servers, and the checkpoint follows.
//!
//! ```text
//!   batch ──slot(key)──┬─> server A   commands, marker ─┐
//!                      ├─> server B   commands, marker ─┼─ all replies read ─> MULTI checkpoint EXEC
//!                      └─> server C   commands, marker ─┘                      (fenced by the epoch)
//! ```
//!
//! A transaction of Redis has one hash slot, so the commands of a batch are pipelined, in the order of
//! the batch for each key. Invariants, and why they hold:
//!
//! 1. *The checkpoint is never ahead of the data.* It is sent when every command was carried out or
//!    refused for good. What was carried out and is not in the checkpoint is done again by whoever goes
//!    on from it; every command says all that it knows, and entries of streams are refused by their IDs.
//! 2. *Commands for a key are never carried out in another order.* When one is sent elsewhere (ASK), all later
//!    ones for its key are sent again behind it. Entries of a stream go in one transaction: were some refused
//!    (OOM, CLUSTERDOWN) and later ones not, a stream would never take the earlier ones. When a slot has another server (MOVED), that may be a
//!    replica that took over and has forgotten data: nothing is sent to it before its marker was looked at.
//! 3. *Nobody writes whose time is over.* EXEC is nil for a writer that lost the epoch, but a pipeline has
//!    no EXEC. So our connections have a name, and whoever takes over raises the epoch and then closes all
//!    connections of that name, on every server; whoever connects looks at the epoch after it. The same
//!    closes what a broken connection of our own may still have on its way.
//! 4. *A shard that forgets is noticed.* Each server has a marker in one of its slots, written behind the
//!    commands of each batch, which says what the checkpoint of that batch will say. The checkpoint says
//!    which markers there are. One that is older tells from where on changes are to be done again.
//!
//! A proxy with shards behind it is one server here that has all slots.

use std::collections::HashMap;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};

use super::connect::REPLY_TIMEOUT;
use super::error::is_passing;
use super::lane::{Done, FailedCommand, Fence, RETAINED, trace, wait};
use super::resp::Commands;
use super::shard::{Objections, Shard, Trouble, close_others};
use super::slots::{SLOTS, SlotMap, slot};
use super::transcript::{Transcript, Verdict};
use super::{Client, Connection, Error, Spread};
use crate::config::{RedisHost, Target};

/// How often commands are sent after slots that move before we pause.
const ROUNDS: u32 = 20;

/// What the lanes have to know of the keys of their pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Written last, in one transaction with all keys that begin with `beside`.
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) beside: Vec<u8>,
    /// What the keys of markers begin with.
    pub(crate) marker: String,
    /// Of our connections.
    pub(crate) connection: String,
}

/// A command of the batch.
#[derive(Debug, Clone)]
struct Span {
    bytes: Range<usize>,
    key: Range<usize>,
    slot: u16,
    /// Its number in the batch.
    index: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Data,
    Checkpoint,
    /// Something of it was refused, or may not have arrived: it has to be sent again as a whole.
    Failed,
}

#[derive(Debug)]
pub(crate) struct Shards {
    target: Target,
    names: Names,
    fence: Fence,
    spread: Spread,
    map: SlotMap,
    shards: Vec<Shard>,
    /// For each slot, which of the shards has it.
    route: Vec<Option<u16>>,
    /// For each server that has slots, a tag: a key with it in braces is there.
    tags: Vec<String>,
    /// Where we were sent and have no connection yet.
    wanted: Vec<RedisHost>,
    /// Slots that have another server than we believed.
    moved: Vec<(u16, RedisHost)>,
    stage: Stage,
    in_flight: Commands,
    spans: Vec<Span>,
    /// Those of `spans` that are markers are the last ones.
    markers: usize,
    /// Carries the checkpoint, and WATCHes the epoch, which other transactions would end.
    keeper: Option<Connection>,
    /// The checkpoint, and what goes with it: whole, as it is sent.
    last: Commands,
    /// Numbers in the batch of its commands.
    last_indexes: Vec<usize>,
    last_sent: usize,
    transcript: Option<Transcript>,
    objections: Objections,
    failed: Vec<(usize, String)>,
    rounds: u32,
    timer: Pin<Box<Sleep>>,
}

impl Shards {
    /// The epoch has been raised: closes the connections of whoever wrote before. The checkpoint counts
    /// only after this.
    pub(crate) async fn open(
        client: &Client,
        target: &Target,
        names: Names,
        fence: Fence,
    ) -> Result<Shards, Error> {
        let mut shards = Shards {
            target: target.clone(),
            names,
            fence,
            spread: client.spread(),
            map: client.map().clone(),
            shards: Vec::new(),
            route: Vec::new(),
            tags: Vec::new(),
            wanted: Vec::new(),
            moved: Vec::new(),
            stage: Stage::Idle,
            in_flight: Commands::transaction(),
            spans: Vec::new(),
            markers: 0,
            keeper: None,
            last: Commands::transaction(),
            last_indexes: Vec::new(),
            last_sent: 0,
            transcript: None,
            objections: Objections::default(),
            failed: Vec::new(),
            rounds: 0,
            timer: Box::pin(sleep(REPLY_TIMEOUT)),
        };
        shards.connect().await?;
        Ok(shards)
    }

    pub(crate) fn fence(&self) -> &Fence {
        &self.fence
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// Opens what is needed, all anew.
    async fn connect(&mut self) -> Result<(), Error> {
        self.shards.clear();
        self.keeper = None;
        let mut hosts = self.map.masters().to_vec();
        for host in self.wanted.drain(..) {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        for host in hosts {
            self.shards.push(Shard::open(&self.target, host, &self.names.connection).await?);
        }
        self.find_routes();
        let place = self.place_of_checkpoint()?;
        if let Some(shard) = self.shards.get_mut(place) {
            // Before others' connections are closed: somebody may have taken over from us.
            self.fence.look(&mut shard.connection).await?;
        }
        for shard in &mut self.shards {
            close_others(&mut shard.connection, &self.names.connection).await?;
        }
        if let Some(shard) = self.shards.get(place) {
            let mut keeper = Shard::open(&self.target, shard.host.clone(), &self.names.connection).await?;
            self.fence.renew(&mut keeper.connection).await?;
            self.keeper = Some(keeper.connection);
        }
        Ok(())
    }

    fn find_routes(&mut self) {
        let of = |slot: usize| {
            let host = self.map.host(u16::try_from(slot).ok()?)?;
            let place = self.shards.iter().position(|shard| shard.host == *host)?;
            u16::try_from(place).ok()
        };
        // Neighbours mostly have the same server.
        let mut route: Vec<Option<u16>> = Vec::with_capacity(SLOTS);
        for slot in 0..SLOTS {
            let same = slot > 0 && self.map.host(slot as u16) == self.map.host((slot - 1) as u16);
            let found = if same { route.last().copied().flatten() } else { of(slot) };
            route.push(found);
        }
        self.route = route;
        self.tags = self.find_tags();
    }

    fn route(&self, slot: u16) -> Option<usize> {
        self.route.get(usize::from(slot)).copied().flatten().map(usize::from)
    }

    fn place_of_checkpoint(&self) -> Result<usize, Error> {
        let slot = slot(&self.names.checkpoint);
        self.route(slot).ok_or_else(|| Error::Refused {
            doing: "writing a checkpoint".to_owned(),
            reply: format!("CLUSTERDOWN no server has hash slot {slot}"),
        })
    }

    pub(crate) fn tags(&self) -> &[String] {
        &self.tags
    }

    fn find_tags(&self) -> Vec<String> {
        let mut wanted: Vec<usize> =
            (0..self.shards.len()).filter(|place| self.route.contains(&u16::try_from(*place).ok())).collect();
        let mut tags = Vec::new();
        let mut number = 0_u32;
        while !wanted.is_empty() && number < 1 << 20 {
            let tag = number.to_string();
            if let Some(place) = self.route(slot(tag.as_bytes()))
                && let Some(at) = wanted.iter().position(|wanted| *wanted == place)
            {
                wanted.swap_remove(at);
                tags.push(tag);
            }
            number += 1;
        }
        tags
    }

    /// Takes the batch and sends it; `batch` gets an empty buffer back.
    pub(crate) fn send(&mut self, batch: &mut Commands, marker: &str) {
        debug_assert!(self.is_idle(), "one batch in flight");
        std::mem::swap(&mut self.in_flight, batch);
        batch.clear();
        let commands = self.in_flight.count();
        for tag in &self.tags {
            let key = marker_key(&self.names.marker, tag);
            self.in_flight.command(&[b"SET", key.as_bytes(), marker.as_bytes()]);
        }
        self.divide(commands);
        self.start();
    }

    /// Finds the slot of every command. The checkpoint and what is beside it wait for the others.
    fn divide(&mut self, commands: usize) {
        self.spans.clear();
        self.last.clear();
        self.last_indexes.clear();
        self.markers = 0;
        for (index, (bytes, key)) in self.in_flight.spans().enumerate() {
            let all = self.in_flight.bytes();
            let name = all.get(key.clone()).unwrap_or_default();
            if name == self.names.checkpoint || name.starts_with(&self.names.beside) {
                self.last.copy(all.get(bytes).unwrap_or_default());
                self.last_indexes.push(index);
                continue;
            }
            if index >= commands {
                self.markers += 1;
            }
            self.spans.push(Span { bytes, slot: slot(name), key, index });
        }
        self.last.trailer(self.fence.trailer());
    }

    /// Sends the whole batch, for the first time or once more.
    fn start(&mut self) {
        self.stage = Stage::Data;
        self.failed.clear();
        self.objections = Objections::default();
        self.rounds = 0;
        self.timer.as_mut().reset(Instant::now() + REPLY_TIMEOUT);
        self.queue_all((0..self.spans.len()).map(|place| (place, None)).collect());
        self.wait_for_replicas();
    }

    /// Where asked for, each server tells who has got what was sent to it.
    fn wait_for_replicas(&mut self) {
        if let Some(wait) = wait(self.fence.durability()) {
            for shard in self.shards.iter_mut().filter(|shard| shard.is_busy()) {
                shard.wait(wait.bytes(), self.fence.durability());
            }
        }
    }

    /// Sends commands, each to the server that has its slot, or to the one that was named by ASK.
    fn queue_all(&mut self, commands: Vec<(usize, Option<RedisHost>)>) {
        let mut together = self.entries(&commands);
        for (place, ask) in commands {
            let key = self.spans.get(place).and_then(|span| self.in_flight.bytes().get(span.key.clone()));
            match key.and_then(|key| together.get_mut(key)).map(std::mem::take) {
                None => self.queue(&[place], ask.as_ref()),
                // With the first of them, all were sent.
                Some(places) if places.is_empty() => {}
                Some(places) => self.queue(&places, ask.as_ref()),
            }
        }
    }

    /// By key, all commands for the streams that get several entries.
    fn entries(&self, commands: &[(usize, Option<RedisHost>)]) -> HashMap<Vec<u8>, Vec<usize>> {
        let bytes = self.in_flight.bytes();
        let part = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        let spans = || commands.iter().filter_map(|(place, _)| Some((*place, self.spans.get(*place)?)));
        let mut counts: HashMap<&[u8], usize> = HashMap::new();
        for (_, span) in spans().filter(|(_, span)| is_entry(part(&span.bytes))) {
            *counts.entry(part(&span.key)).or_default() += 1;
        }
        counts.retain(|_, count| *count > 1);
        let mut together: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        if !counts.is_empty() {
            for (place, span) in spans().filter(|(_, span)| counts.contains_key(part(&span.key))) {
                together.entry(part(&span.key).to_vec()).or_default().push(place);
            }
        }
        together
    }

    /// Sends commands for one key; several are carried out together.
    fn queue(&mut self, places: &[usize], ask: Option<&RedisHost>) {
        let Some(first) = places.first().copied() else { return };
        let Some(span) = self.spans.get(first) else { return };
        let shard = match ask {
            Some(host) => self.shards.iter().position(|shard| shard.host == *host),
            None => self.route(span.slot),
        };
        let Some(shard) = shard.and_then(|shard| self.shards.get_mut(shard)) else {
            let host = ask.or_else(|| self.map.host(span.slot)).cloned();
            let reply = match &host {
                Some(host) => format!("MOVED {} {host}", span.slot),
                None => format!("CLUSTERDOWN no server has hash slot {}", span.slot),
            };
            self.wanted.extend(host);
            self.objections.troubles.push((first, Trouble::Refused(reply)));
            return;
        };
        let (bytes, spans) = (self.in_flight.bytes(), &self.spans);
        let command = |place: &usize| {
            let span = spans.get(*place)?;
            Some((*place, bytes.get(span.bytes.clone())?))
        };
        let mut commands = places.iter().filter_map(command);
        match places {
            [_] => {
                if let Some((place, command)) = commands.next() {
                    shard.queue(command, place, ask.is_some());
                }
            }
            _ => shard.queue_together(commands, ask.is_some()),
        }
    }

    /// Drives the batch in flight; ready when all its replies have been read.
    pub(crate) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Error>> {
        let done = ready!(self.poll_stages(cx));
        if done.is_err() && !self.is_idle() {
            self.stage = Stage::Failed;
        }
        Poll::Ready(done)
    }

    fn poll_stages(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Error>> {
        loop {
            match self.stage {
                Stage::Idle => return Poll::Ready(Ok(Done::default())),
                Stage::Data => {
                    ready!(self.poll_data(cx))?;
                    if !self.sort_out()? {
                        self.stage = Stage::Checkpoint;
                        self.last_sent = 0;
                        self.transcript =
                            Some(Transcript::new(self.last_indexes.len(), self.fence.durability()));
                    }
                }
                Stage::Checkpoint => return self.poll_checkpoint(cx),
                Stage::Failed => {
                    let reply = "TRYAGAIN the batch has to be sent again".to_owned();
                    return Poll::Ready(Err(Error::Refused { doing: "writing a batch".to_owned(), reply }));
                }
            }
        }
    }

    /// Until every reply of this round has been read.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let (mut waiting, mut heard) = (false, false);
        for shard in &mut self.shards {
            match shard.poll(cx, &mut self.objections, &mut self.moved) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => waiting = true,
            }
            heard |= shard.take_heard();
        }
        if heard {
            self.timer.as_mut().reset(Instant::now() + REPLY_TIMEOUT);
        }
        if !waiting {
            return Poll::Ready(Ok(()));
        }
        ready!(self.timer.as_mut().poll(cx));
        let silent = self.shards.iter().find(|shard| shard.is_busy());
        Poll::Ready(Err(
            silent.map_or_else(|| Error::Setting(String::new()), |shard| shard.connection.silent())
        ))
    }

    /// Looks at what was refused. True when something was sent again.
    fn sort_out(&mut self) -> Result<bool, Error> {
        if self.objections.is_empty() {
            return Ok(false);
        }
        let Objections { mut troubles, unacknowledged } = std::mem::take(&mut self.objections);
        troubles.sort_by_key(|(place, _)| *place);
        // By key: the first command that was sent elsewhere, and where the last one was sent.
        let mut elsewhere: HashMap<&[u8], (usize, RedisHost)> = HashMap::new();
        let bytes = self.in_flight.bytes();
        let mut refused: Option<String> = None;
        for (place, trouble) in troubles {
            let Some(span) = self.spans.get(place) else { continue };
            let ask = match trouble {
                Trouble::Failed(reply) => {
                    self.failed.push((span.index, reply));
                    continue;
                }
                Trouble::Refused(reply) => {
                    // What is for good comes before what passes.
                    if refused.as_ref().is_none_or(|first| is_passing(first)) {
                        refused = Some(reply);
                    }
                    continue;
                }
                Trouble::Ask(host) => host,
            };
            let key = bytes.get(span.key.clone()).unwrap_or_default();
            elsewhere.entry(key).and_modify(|(_, last)| last.clone_from(&ask)).or_insert((place, ask));
        }
        if let Some(reply) = refused.or(unacknowledged) {
            return Err(Error::Refused { doing: "writing a batch".to_owned(), reply });
        }
        if elsewhere.is_empty() {
            return Ok(false);
        }
        self.rounds += 1;
        if self.rounds > ROUNDS {
            let reply = "TRYAGAIN hash slots are moving".to_owned();
            return Err(Error::Refused { doing: "writing a batch".to_owned(), reply });
        }
        let markers = self.spans.len() - self.markers;
        let mut again = Vec::new();
        for (place, span) in self.spans.iter().enumerate() {
            match elsewhere.get(bytes.get(span.key.clone()).unwrap_or_default()) {
                Some((first, ask)) if place >= *first => again.push((place, Some(ask.clone()))),
                // They stand behind all commands.
                _ if place >= markers => again.push((place, None)),
                _ => {}
            }
        }
        drop(elsewhere);
        let sent: Vec<usize> =
            again.iter().filter_map(|(place, _)| Some(self.spans.get(*place)?.index)).collect();
        self.failed.retain(|(index, _)| sent.binary_search(index).is_err());
        self.queue_all(again);
        self.wait_for_replicas();
        Ok(true)
    }

    fn poll_checkpoint(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done, Error>> {
        let Some(connection) = &mut self.keeper else {
            let reply = "TRYAGAIN nobody carries the checkpoint".to_owned();
            return Poll::Ready(Err(Error::Refused { doing: "writing the checkpoint".to_owned(), reply }));
        };
        connection.poll_send(cx, self.last.bytes(), &mut self.last_sent)?;
        let Some(transcript) = &mut self.transcript else {
            let failed = self.carried_out();
            return Poll::Ready(Ok(Done { failed, last: None }));
        };
        let verdict = ready!(transcript.poll_verdict(cx, connection, self.timer.as_mut()))?;
        Poll::Ready(self.judge(verdict))
    }

    fn judge(&mut self, verdict: Verdict) -> Result<Done, Error> {
        let doing = || "writing the checkpoint".to_owned();
        match verdict {
            Verdict::Executed { failed, epoch, last } => {
                let indexes = &self.last_indexes;
                let failed =
                    failed.into_iter().filter_map(|(place, reply)| Some((*indexes.get(place)?, reply)));
                self.failed.extend(failed);
                let failed = self.carried_out();
                self.fence.check(epoch.as_deref())?;
                Ok(Done { failed, last })
            }
            Verdict::Refused(reply) | Verdict::Unacknowledged(reply) => {
                Err(Error::Refused { doing: doing(), reply })
            }
            Verdict::Fenced { epoch } => {
                if epoch.is_some() {
                    self.fence.check(epoch.as_deref())?;
                }
                // The epoch's hash slot was moved, which looks like a write: it is armed anew.
                self.wanted.clear();
                Err(Error::Refused { doing: doing(), reply: "TRYAGAIN its hash slot has moved".to_owned() })
            }
        }
    }

    /// The batch in flight is written, whatever else its checkpoint replied.
    pub(crate) fn carried_out(&mut self) -> Vec<FailedCommand> {
        self.failed.sort_by_key(|(index, _)| *index);
        let failed = trace(&self.in_flight, std::mem::take(&mut self.failed));
        self.stage = Stage::Idle;
        self.transcript = None;
        self.in_flight.clear();
        self.in_flight.shrink_to(RETAINED);
        failed
    }

    /// Goes on after an error, with new connections.
    pub(crate) async fn reconnect(&mut self) -> Result<(), Error> {
        if self.spread == Spread::Cluster {
            let client = Client::open(&self.target).await?;
            self.map = client.map().clone();
            // Whoever said that knew better than the one that was asked now, perhaps.
            for (slot, host) in self.moved.drain(..) {
                self.map.moved(slot, &host);
            }
        }
        self.connect().await
    }

    /// Sends the batch in flight once more. What of it was carried out is done again.
    pub(crate) fn send_again(&mut self) {
        if self.stage != Stage::Idle {
            self.start();
        }
    }
}

/// The command adds an entry to a stream.
fn is_entry(command: &[u8]) -> bool {
    let name = memchr::memchr(b'\n', command).and_then(|end| command.get(end + 1..));
    name.is_some_and(|name| name.starts_with(b"$4\r\nXADD\r\n"))
}

pub(crate) fn marker_key(prefix: &str, tag: &str) -> String {
    format!("{prefix}{{{tag}}}")
}
