//! The loop that follows the stream.
//!
//! ```text
//!   apply what has been received ─> flush if Redis is idle ─> wait for
//!        ^                                                     · Redis confirmed a batch
//!        │                                                     · more of the stream
//!        └──────────────────────────────────────────────────── · heartbeat, signal
//! ```
//!
//! Nothing limits how much is put into a batch but Redis itself: while a batch is in flight, the next
//! one fills; when Redis is idle, whatever is complete goes at once, or, in a stream of megabytes a second, a
//! millisecond after the batch before. So an idle pipeline has the latency of one transaction, and a loaded one has
//! large batches. When the open batch is full the
//! stream is not read, and PostgreSQL waits; feedback goes on all the same.

use std::collections::HashSet;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Captured;
use super::apply::{Applier, Overlap, Relation, Tracked, Transaction, Unapplied};
use super::checkpoint::{Position, Split};
use super::incomplete::Incomplete;
use super::messages::LogicalMessage;
use super::reread::ReadAhead;
use super::session::{End, HEARTBEAT, Recovery, Session, only_grew};
use crate::error::{Error, SlotUse};
use crate::lsn::Lsn;
use crate::plan::shape::Shape;
use crate::plan::{Plan, Strictness};
use crate::postgres::pgoutput::{self, Decoder, Frame, Message};
use crate::postgres::snapshot::Visibility;
use crate::postgres::stream::Event;
use crate::postgres::{catalog, slot};
use crate::progress::{Operation, Phase, Totals};
use crate::sink::Workspace;

/// While there is load, the socket is looked at this often for what the low-water mark holds back.
const LOAD_TICK: Duration = Duration::from_millis(1);

/// How often the catalog is looked at for tables that have come or gone.
const LOOK: Duration = Duration::from_secs(3);

/// What PostgreSQL says when its log can't be decoded, now or ever.
const UNDECODABLE: [&str; 2] = ["could not map filenode", "pg_attribute catalog is missing"];

/// When following ends by itself.
pub(super) enum Goal<'a> {
    None,
    /// Redis has what was committed when it began.
    CaughtUp,
    /// This is done, and no transaction is open.
    Done(Pin<&'a mut dyn Future<Output = ()>>),
}

/// What one message asked for.
#[derive(Debug)]
enum Step {
    Applied,
    /// Everything received has been applied; the next message has at least this length.
    Starved(usize),
    Describe(pgoutput::Relation),
    /// A change that does not tell the whole row.
    Incomplete(Box<Incomplete>),
    Truncate(Vec<u32>),
}

/// What the loop was woken by.
#[derive(Debug)]
enum Woken {
    Confirmed(Result<(), Error>),
    Received(Result<usize, Error>),
    LoadTick,
    Heartbeat,
    WorkDone,
}

#[derive(Debug)]
pub(super) struct Following {
    decoder: Decoder,
    pub(super) applier: Applier,
    pub(super) transaction: Option<Transaction>,
    pub(super) ahead: ReadAhead,
    heartbeat: Interval,
    /// When the catalog was looked at for tables that have come or gone.
    looked: Instant,
}

/// Does what is to be done beside; never ends where that is nothing.
async fn work_of(goal: &mut Goal<'_>) {
    match goal {
        Goal::Done(work) => work.as_mut().await,
        Goal::None | Goal::CaughtUp => pending().await,
    }
}

impl Session<'_> {
    /// Follows the stream until a signal or, where asked for, until Redis has what was committed.
    pub(super) async fn follow(&mut self, goal: Goal<'_>) -> Result<End, Error> {
        let mut following = match self.following.take() {
            Some(following) => following,
            None => {
                tracing::info!(event = "streaming", from = %self.start.lsn, tables = self.captured.len(), "streaming");
                if self.start != self.written && !self.scattered {
                    tracing::info!(
                        until = %self.written.lsn,
                        "what Redis replied to the last batch was not read: it is done again"
                    );
                }
                let mut workspace = Workspace::new(&self.pipeline.config);
                workspace.came_to = Some(HashSet::new());
                workspace.event.set_id_base(self.id_base);
                Box::new(Following {
                    decoder: Decoder::default(),
                    applier: Applier::new(workspace, self.scattered),
                    transaction: None,
                    ahead: ReadAhead::default(),
                    heartbeat: Session::heartbeat_timer(),
                    looked: Instant::now(),
                })
            }
        };
        let end = self.follow_on(&mut following, goal).await;
        self.following = Some(following);
        end
    }

    async fn follow_on(&mut self, following: &mut Following, mut goal: Goal<'_>) -> Result<End, Error> {
        self.progress.set_phase(Phase::Streaming);
        let target = match goal {
            Goal::CaughtUp => Some(self.end_of_commits().await?),
            Goal::None | Goal::Done(_) => None,
        };
        let mut done = false;
        let mut load = interval(LOAD_TICK);
        load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let incomplete = self.apply_received(following).await?;
            if let Some(target) = target
                && following.transaction.is_none()
                && self.writer.accepted().lsn >= target
            {
                // What was marked to be read again is not in Redis as it should be.
                self.begin_again(following).await?;
                if !self.states.values().any(|state| state.complete && state.again) {
                    let recovery = self.drain().await?;
                    return Ok(if recovery == Recovery::Stopped { End::Stopped } else { End::CaughtUp });
                }
            }
            if done && following.transaction.is_none() {
                return Ok(End::CaughtUp);
            }
            // Where rows come thick and fast, one batch each tick: one for the few rows of every moment costs all three more
            // than it brings.
            let waits = incomplete.is_some() && self.stream.is_busy();
            if !waits || !self.writer.has_just_written(LOAD_TICK) {
                self.writer.flush(HEARTBEAT);
            }
            let idle = self.writer.is_idle();
            self.progress.caught_up.store(idle && following.transaction.is_none(), Relaxed);
            let reading = incomplete.is_some();
            let wanted = incomplete.unwrap_or(0);
            let woken = tokio::select! {
                // Data are always there under load: what is rare comes first.
                biased;
                _ = self.shutdown.wait_for(|stop| *stop) => return Ok(End::Stopped),
                _ = following.heartbeat.tick() => Woken::Heartbeat,
                () = work_of(&mut goal), if !done => Woken::WorkDone,
                result = self.writer.confirmed(), if !idle => Woken::Confirmed(result),
                result = self.stream.more(wanted), if reading => Woken::Received(result.map_err(Error::from)),
                _ = load.tick(), if reading && self.stream.is_loaded() => Woken::LoadTick,
            };
            match woken {
                Woken::Confirmed(Ok(())) if self.stream.is_loaded() => self.stream.read_now(),
                Woken::Confirmed(Ok(())) => {}
                Woken::Confirmed(Err(error)) => {
                    if self.recover(error).await? == Recovery::Stopped {
                        return Ok(End::Stopped);
                    }
                }
                Woken::Received(result) => self.count_received(result?),
                Woken::WorkDone => done = true,
                Woken::LoadTick => self.receive_what_is_there(wanted).await?,
                Woken::Heartbeat => {
                    self.heartbeat().await?;
                    self.check_stream(reading).await?;
                    following.applier.forget_overlaps(self.writer.accepted().lsn);
                    self.begin_again(following).await?;
                    if following.transaction.is_none() && following.looked.elapsed() >= LOOK {
                        self.look_for_tables().await?;
                        following.looked = Instant::now();
                    }
                    self.writer.touch();
                    if following.transaction.is_none() && self.progress.take_requested() {
                        self.look_for_requests().await?;
                    }
                    if self.stay_paused().await? == Recovery::Stopped {
                        return Ok(End::Stopped);
                    }
                }
            }
        }
    }

    /// Everything committed so far lies before this position.
    pub(super) async fn end_of_log(&mut self) -> Result<Lsn, Error> {
        let end = self.control.end_of_log().await?;
        self.progress.heard_of(end);
        Ok(end)
    }

    /// Everything that was committed so far lies before this position, to which the stream comes.
    pub(super) async fn end_of_commits(&mut self) -> Result<Lsn, Error> {
        let positions = (self.writer.accepted().lsn, self.retention.confirmable());
        let asked = async { Ok(self.control.end_of_commits().await?) };
        let end = Session::meanwhile(&mut self.stream, positions, asked).await?;
        self.progress.heard_of(end);
        Ok(end)
    }

    fn count_received(&self, bytes: usize) {
        Totals::add(&self.progress.totals.received, bytes as u64);
    }

    async fn receive_what_is_there(&mut self, wanted: usize) -> Result<(), Error> {
        self.stream.read_now();
        let received = poll_fn(|cx| Poll::Ready(self.stream.poll_more(cx, wanted))).await;
        match received {
            Poll::Ready(result) => self.count_received(result?),
            Poll::Pending => self.stream.relax(),
        }
        Ok(())
    }

    /// A stream that stays silent although it was asked is dead, unless PostgreSQL says that its
    /// walsender still reads our slot: then it is busy with something that is not for us.
    async fn check_stream(&mut self, reading: bool) -> Result<(), Error> {
        if !reading {
            self.stream.forgive_silence();
            return Ok(());
        }
        if !self.stream.is_silent() {
            return Ok(());
        }
        let pid = self.stream.backend_pid();
        let name = &self.pipeline.config.source.slot;
        let asked = tokio::time::timeout(Duration::from_secs(2), slot::find(&mut self.control, name)).await;
        match asked {
            Ok(Ok(Some(slot))) if slot.active_pid == Some(pid) => {
                self.stream.forgive_silence();
                Ok(())
            }
            _ => Err(self.stream.silence().into()),
        }
    }

    /// Applies messages until none is left, with how long the next one is at least, or until the
    /// open batch has enough or is full, with `None`.
    async fn apply_received(&mut self, following: &mut Following) -> Result<Option<usize>, Error> {
        loop {
            if self.writer.is_alone() || self.writer.has_enough() {
                return Ok(None);
            }
            if self.writer.is_full() {
                if !self.writer.has_mark() {
                    self.split(following);
                }
                if !self.writer.is_idle() {
                    return Ok(None);
                }
                self.writer.flush(Duration::ZERO);
                // What is done again is written as a whole, however large.
                if !self.writer.is_idle() {
                    continue;
                }
            }
            match self.step(following)? {
                Step::Applied => {}
                Step::Starved(wanted) => return Ok(Some(wanted)),
                Step::Describe(relation) => self.describe(following, relation).await?,
                Step::Incomplete(incomplete) => self.complete(following, *incomplete).await?,
                Step::Truncate(relations) => self.truncate(following, &relations).await?,
            }
        }
    }

    /// The position `lsn` between transactions. The one that an earlier session left split may still be
    /// to come; it stays remembered.
    pub(super) fn position(&self, lsn: Lsn) -> Position {
        Position { lsn, split: self.start.split.filter(|split| split.commit_lsn >= lsn) }
    }

    /// Lets the batch end here, inside a transaction, of which `ordinal` changes are then applied.
    pub(super) fn split_at(&mut self, transaction: Option<Transaction>, ordinal: u64) {
        let lsn = self.writer.accepted().lsn;
        let position = match transaction {
            Some(Transaction { commit_lsn, skip, .. }) if skip != u64::MAX => {
                // While changes are skipped, Redis has more of them than we have counted.
                let ordinal = ordinal.max(skip);
                Position { lsn, split: (ordinal > 0).then_some(Split { commit_lsn, ordinal }) }
            }
            _ => self.position(lsn),
        };
        self.writer.mark(position);
    }

    fn split(&mut self, following: &Following) {
        self.split_at(
            following.transaction,
            following.transaction.map_or(0, |transaction| transaction.ordinal),
        );
    }

    /// One message of the stream.
    #[inline]
    fn step(&mut self, following: &mut Following) -> Result<Step, Error> {
        let event = self.stream.event().map_err(|error| self.explain(error))?;
        let payload = match event {
            Event::Data(payload) => payload,
            Event::Incomplete(wanted) => return Ok(Step::Starved(wanted)),
            Event::Keepalive { end } => {
                self.progress.heard_of(end);
                // Inside a transaction it says nothing about that transaction.
                if following.transaction.is_none() && end > self.writer.accepted().lsn {
                    let position = self.position(end);
                    self.writer.mark(position);
                }
                return Ok(Step::Applied);
            }
        };
        let Following { decoder, applier, transaction, .. } = following;
        let received = self.stream.payload(&payload);
        let Some(message) = decoder.decode(received) else {
            return Err(Error::Setting(
                "PostgreSQL sent a message that pgoutput version 1 does not have".to_owned(),
            ));
        };
        let (oid, change) = match message {
            Message::Row(oid, change) => (oid, change),
            Message::Frame(frame) => {
                self.stream.consume(&payload);
                return Ok(self.frame(following, frame));
            }
        };
        let Some(transaction) = transaction else {
            return Err(Error::Setting("PostgreSQL sent a change outside a transaction".to_owned()));
        };
        transaction.ordinal += 1;
        let mut step = Step::Applied;
        if transaction.ordinal > transaction.skip {
            match applier.apply(oid, (&change, received), transaction, &mut self.writer) {
                Ok(()) => {}
                Err(Unapplied::Needs(table, needs)) => {
                    let received = (&change, received);
                    step = Step::Incomplete(Box::new(Incomplete::new((oid, table), needs, received)));
                }
                Err(Unapplied::UnknownRelation) => {
                    return Err(Error::Setting(format!(
                        "PostgreSQL sent a row of relation {oid} without describing it"
                    )));
                }
            }
        }
        self.stream.consume(&payload);
        Ok(step)
    }

    fn explain(&self, error: crate::postgres::Error) -> Error {
        let source = &self.pipeline.config.source;
        match error.sqlstate() {
            // A known trouble of logical decoding with tables that were redefined beside a crash, or beside
            // the making of the slot.
            Some("XX000") if UNDECODABLE.iter().any(|words| error.to_string().contains(words)) => Error::gap(
                format!(
                    "{error}: PostgreSQL can't decode its log from the slot {}'s position on",
                    source.slot
                ),
                SlotUse::Useless,
            ),
            // pgoutput looks into the catalog as it was when the change was made.
            Some("42704") => Error::gap(
                format!(
                    "{error}: the slot {} begins before the publication was made, or the publication was dropped since",
                    source.slot
                ),
                SlotUse::Useless,
            ),
            _ => error.into(),
        }
    }

    /// A message that is not a row.
    fn frame(&mut self, following: &mut Following, frame: Frame) -> Step {
        match frame {
            Frame::Begin { commit_lsn, time, xid } => {
                let skip = self.start.applied_of(commit_lsn);
                let repeat = self.written.applied_of(commit_lsn);
                following.transaction =
                    Some(Transaction { commit_lsn, xid, commit_time: time, ordinal: 0, skip, repeat });
                following.applier.workspace.event.begin(commit_lsn, Some(xid), time);
                self.progress.commit_time.store(time, Relaxed);
                self.progress.heard_of(commit_lsn);
            }
            Frame::Commit { end } => {
                let transaction = following.transaction.take();
                let commit_time = transaction.map_or(0, |transaction| transaction.commit_time);
                self.again.note(transaction.map(|transaction| transaction.xid));
                following.applier.workspace.came_to.get_or_insert_default().clear();
                if end > self.writer.accepted().lsn {
                    let position = self.position(end);
                    self.writer.mark_commit(position, commit_time);
                }
            }
            Frame::Relation(relation) => return Step::Describe(relation),
            Frame::Truncate(relations) => return Step::Truncate(relations),
            Frame::Message { transactional, lsn, content } => {
                self.message(following, &LogicalMessage { transactional, lsn, content });
            }
            Frame::Other => {}
        }
        Step::Applied
    }

    /// Takes note of a table's definition; if rows in Redis don't fit it, the table is read again.
    async fn describe(
        &mut self,
        following: &mut Following,
        relation: pgoutput::Relation,
    ) -> Result<(), Error> {
        let oid = relation.oid;
        let Some(captured) = self.captured.get(&oid).map(Arc::clone) else {
            following.applier.set(oid, Relation { table: None });
            return Ok(());
        };
        let again = following.applier.relations.contains_key(&oid);
        let strange = relation.columns.iter().any(|column| self.types.kind(column.type_oid).is_none());
        if again || strange {
            let transaction = following.transaction.map(|transaction| transaction.xid);
            self.wait_until_visible(transaction.as_slice()).await?;
        }
        let types = relation.columns.iter().map(|column| column.type_oid);
        self.types.learn(&mut self.control, types).await?;
        let name = captured.name();
        let commit_lsn = following.transaction.map_or(Lsn::ZERO, |transaction| transaction.commit_lsn);
        let mut shape = Shape::of_relation(&relation, &self.types, &captured.table);
        let begun = self.states.get(&name).filter(|state| !state.columns.is_empty());
        let Some(state) = begun else { return self.describe_unread(following, (captured, shape)).await };
        let overlap = Overlap::of(state);
        // What is done again may have been written as a later definition has it.
        let repeated = following
            .transaction
            .is_some_and(|transaction| transaction.repeat > transaction.ordinal.max(transaction.skip));
        let past = overlap.is_past(commit_lsn) && !repeated;
        if past && (again || shape != captured.shape) {
            let mut redefined = Captured::clone(&captured);
            // Redefined since it was looked at: what the catalog says now is nearer to it.
            if let Some(table) = catalog::table(&mut self.control, oid).await? {
                redefined.table = table;
                shape = Shape::of_relation(&relation, &self.types, &redefined.table);
            }
            redefined.shape = shape.clone();
            self.redefined(following, &name, &redefined).await?;
            self.captured.insert(oid, Arc::new(redefined));
        }
        let compiled = Plan::compile(shape, &captured.outputs, Strictness::Streaming);
        let mut plan = compiled
            .map_err(|source| Error::Plan { file: self.pipeline.file.clone(), source: Box::new(source) })?;
        if !past && let Some(state) = self.states.get(&name) {
            // Rows in Redis are as a later definition has them: only what both have is written. A row that
            // is deleted here and inserted again, or moved, is without the rest then.
            let record = Arc::clone(plan.shape.record());
            let same = |index: usize| record.get(index).is_some_and(|column| state.columns.contains(column));
            let differs = record.len() != state.columns.len() || !(0..record.len()).all(same);
            let moves = plan.shape.key_names() != state.key || plan.has_moved_rows(&state.columns);
            if differs || moves {
                plan.restrict(same);
                if plan.keeps_rows() {
                    self.mark_again(&name, moves);
                }
            }
        }
        let progress = self.progress.table(&name);
        let table = Tracked { name, plan: following.applier.keep(plan), overlap, progress };
        following.applier.set(oid, Relation { table: Some(Rc::new(table)) });
        Ok(())
    }

    /// Rows may end as an older definition has them, or, if `moves`, at keys that it gave them.
    fn mark_again(&mut self, name: &str, moves: bool) {
        if let Some(state) = self.states.get_mut(name)
            && (!state.again || (moves && !state.rewritten))
        {
            state.again = true;
            state.rewritten |= moves;
            self.writer.extra().table(name, state);
        }
    }

    /// Tables that were marked are read again when the stream has passed their snapshots.
    async fn begin_again(&mut self, following: &Following) -> Result<(), Error> {
        let lsn = self.writer.accepted().lsn;
        let marked = self.states.iter().find(|(_, state)| state.again && Overlap::of(state).is_past(lsn));
        let Some((name, _)) = marked.filter(|_| following.transaction.is_none()) else { return Ok(()) };
        let message = format!("the definition of {name} changed while it was read: it is read again");
        self.leave().await?;
        Err(Error::Restart(message))
    }

    /// The stream can be quicker than the catalog: a transaction is sent when its commit record is on
    /// disk, and can be seen by others a moment later. Until then the catalog has the old definitions.
    pub(super) async fn wait_until_visible(&mut self, transactions: &[u32]) -> Result<(), Error> {
        loop {
            let seen = self.control.query_one("SELECT pg_catalog.txid_current_snapshot()").await?;
            let seen = seen.and_then(|text| text.parse::<Visibility>().ok());
            let all = seen.is_none_or(|seen| transactions.iter().all(|&xid| seen.saw(xid)));
            if all || *self.shutdown.borrow() {
                return Ok(());
            }
            self.heartbeat().await?;
            tokio::time::sleep(LOAD_TICK).await;
        }
    }

    /// The table's definition changed. Columns that no existing row has a value for change nothing;
    /// anything else is not told by the stream row by row, so the table is read again.
    async fn redefined(
        &mut self,
        following: &Following,
        name: &str,
        captured: &super::Captured,
    ) -> Result<(), Error> {
        let Some(state) = self.states.get_mut(name) else { return Ok(()) };
        let record = captured.shape.record();
        let renamed = captured.shape.display_name() != name || captured.table.display_name() != name;
        if !renamed && state.key == captured.shape.key_names() {
            if state.columns == *record {
                return Ok(());
            }
            if only_grew(state, captured) {
                state.columns = Arc::clone(record);
                self.writer.extra().table(name, state);
                return self.remake_index(captured).await;
            }
            let plan = captured.streaming_plan(&self.pipeline.file)?;
            state.read_again(plan.has_moved_rows(&state.columns));
            self.writer.extra().table(name, state);
        }
        // A new key or name is noticed where the session begins.
        self.split(following);
        self.leave().await?;
        Err(Error::Restart(format!("the definition of {name} changed: it is read again")))
    }

    /// Removes the keys of truncated tables, in the transaction that truncated them if they are few
    /// enough for a batch.
    async fn truncate(&mut self, following: &mut Following, relations: &[u32]) -> Result<(), Error> {
        let mut tables = Vec::new();
        for &oid in relations {
            let Some(transaction) = &mut following.transaction else { return Ok(()) };
            // Each table is a change of its own.
            transaction.ordinal += 1;
            if transaction.ordinal > transaction.skip
                && let Ok(Some(table)) = following.applier.table(oid, transaction)
            {
                tables.push((table.clone(), *transaction));
            }
        }
        if tables.is_empty() {
            return Ok(());
        }
        // What was applied before must be in Redis, or in the open batch, to be found.
        if self.settle(false).await? == Recovery::Stopped {
            return Ok(());
        }
        for (table, transaction) in tables {
            let workspace = &mut following.applier.workspace;
            table.overlap.note_told(&transaction, workspace);
            table.count(Operation::Truncate, &transaction);
            if self.remove_keys(&table, transaction, workspace).await? == Recovery::Stopped {
                break;
            }
        }
        Ok(())
    }
}
