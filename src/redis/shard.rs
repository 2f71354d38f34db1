//! One server among many: what is sent to it, what it replied, and who else writes to it.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use super::error::is_passing;
use super::lane::RETAINED;
use super::resp::{Element, Reply, Unread, element, reply};
use super::slots::Redirect;
use super::transcript::missing;
use super::{Connection, Error};
use crate::config::{Durability, RedisHost, Target};

/// Why a command has to be sent again, or never will be.
#[derive(Debug)]
pub(super) enum Trouble {
    Ask(RedisHost),
    Failed(String),
    /// Nothing can be written at present, or we may not.
    Refused(String),
}

/// What servers have against the commands of a round.
#[derive(Debug, Default)]
pub(super) struct Objections {
    /// With the place of the command.
    pub(super) troubles: Vec<(usize, Trouble)>,
    /// The first of what WAIT or WAITAOF told that is not enough.
    pub(super) unacknowledged: Option<String>,
}

impl Objections {
    pub(super) fn is_empty(&self) -> bool {
        self.troubles.is_empty() && self.unacknowledged.is_none()
    }
}

/// What a reply is to.
#[derive(Debug)]
enum Expected {
    Asking,
    Command(usize),
    Multi,
    /// A command of a transaction.
    Queued,
    /// The transaction of these commands.
    Exec(Vec<usize>),
    Wait(Durability),
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) host: RedisHost,
    pub(super) connection: Connection,
    out: Vec<u8>,
    sent: usize,
    /// What the replies are to that are still to come.
    expected: VecDeque<Expected>,
    /// Why the transaction whose replies are being read is not carried out.
    aborted: Option<String>,
    /// Something has been received since this was looked at.
    heard: bool,
}

impl Shard {
    /// Opens a connection that has the name by which a successor finds it.
    pub(super) async fn open(target: &Target, host: RedisHost, name: &str) -> Result<Shard, Error> {
        let mut connection = Connection::open_at(target, &host).await?;
        match connection.call(&[b"CLIENT", b"SETNAME", name.as_bytes()]).await {
            Err(Error::Refused { reply, .. }) if reply.starts_with("ERR") => {}
            result => {
                result?;
            }
        }
        let expected = VecDeque::new();
        Ok(Shard { host, connection, out: Vec::new(), sent: 0, expected, aborted: None, heard: false })
    }

    /// Adds a command; `place` comes back with what is wrong with it.
    pub(super) fn queue(&mut self, command: &[u8], place: usize, asking: bool) {
        if asking {
            self.out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
            self.expected.push_back(Expected::Asking);
        }
        self.out.extend_from_slice(command);
        self.expected.push_back(Expected::Command(place));
    }

    /// Adds commands for one key that are carried out all together or not at all.
    pub(super) fn queue_together<'c>(
        &mut self,
        commands: impl Iterator<Item = (usize, &'c [u8])>,
        asking: bool,
    ) {
        if asking {
            self.out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n");
            self.expected.push_back(Expected::Asking);
        }
        self.out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        self.expected.push_back(Expected::Multi);
        let mut places = Vec::new();
        for (place, command) in commands {
            self.out.extend_from_slice(command);
            self.expected.push_back(Expected::Queued);
            places.push(place);
        }
        self.out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        self.expected.push_back(Expected::Exec(places));
    }

    /// Adds the command that waits for replicas or the disk.
    pub(super) fn wait(&mut self, command: &[u8], durability: Durability) {
        self.out.extend_from_slice(command);
        self.expected.push_back(Expected::Wait(durability));
    }

    /// Replies are still to come.
    pub(super) fn is_busy(&self) -> bool {
        !self.expected.is_empty()
    }

    /// Something has been received since this was asked last.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Sends what is queued and reads the replies; ready when all were read.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        objections: &mut Objections,
        moved: &mut Vec<(u16, RedisHost)>,
    ) -> Poll<Result<(), Error>> {
        if self.expected.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.connection.poll_send(cx, &self.out, &mut self.sent)?;
        loop {
            let unread = self.connection.input.unread();
            let (mut read, mut wanted) = (0, 1);
            while let Some(expected) = self.expected.front() {
                let rest = unread.get(read..).unwrap_or_default();
                match answer(rest) {
                    Ok((error, length)) => {
                        match (error, expected) {
                            (Some(error), Expected::Command(place)) => {
                                objections.troubles.push((*place, trouble(error, &self.host, moved)));
                            }
                            (error, Expected::Wait(durability)) => {
                                let told = error.is_none().then(|| rest.get(..length)).flatten();
                                let missing = match error {
                                    Some(error) => Some(String::from_utf8_lossy(error).into_owned()),
                                    None => missing(*durability, &numbers(told.unwrap_or_default())),
                                };
                                objections.unacknowledged = objections.unacknowledged.take().or(missing);
                            }
                            (Some(error), Expected::Multi | Expected::Queued) => {
                                let error = || String::from_utf8_lossy(error).into_owned();
                                self.aborted.get_or_insert_with(error);
                            }
                            (_, Expected::Exec(places)) => {
                                let told = rest.get(..length).unwrap_or_default();
                                let aborted = self.aborted.take();
                                for (place, error) in executed(places, told, aborted) {
                                    objections
                                        .troubles
                                        .push((place, trouble(error.as_bytes(), &self.host, moved)));
                                }
                            }
                            (_, Expected::Asking)
                            | (None, Expected::Command(_) | Expected::Multi | Expected::Queued) => {}
                        }
                        self.expected.pop_front();
                        read += length;
                    }
                    Err(Unread::Incomplete(more)) => {
                        wanted = more;
                        break;
                    }
                    Err(Unread::Nonsense) => return Poll::Ready(Err(self.connection.nonsense())),
                }
            }
            self.connection.input.consume(read);
            if self.expected.is_empty() {
                self.out.clear();
                self.out.shrink_to(RETAINED);
                self.sent = 0;
                return Poll::Ready(Ok(()));
            }
            match ready!(self.connection.poll_fill(cx, wanted)) {
                Ok(_) => self.heard = true,
                Err(e) => return Poll::Ready(Err(self.connection.io_error(e))),
            }
        }
    }
}

/// What is wrong with the commands of a transaction, by its reply and what was said when they were queued.
fn executed(places: &[usize], told: &[u8], aborted: Option<String>) -> Vec<(usize, String)> {
    let all = |text: String| places.iter().map(|place| (*place, text.clone())).collect();
    match reply(told) {
        Ok((Reply::Array(replies), _)) => {
            let failed = |(place, reply): (&usize, Reply)| match reply {
                Reply::Error(text) => Some((*place, text)),
                _ => None,
            };
            places.iter().zip(replies).filter_map(failed).collect()
        }
        // What was said first is the reason.
        Ok((Reply::Error(text), _)) => all(aborted.unwrap_or(text)),
        _ => all("TRYAGAIN the transaction was disturbed".to_owned()),
    }
}

/// What WAIT or WAITAOF replied.
fn numbers(bytes: &[u8]) -> Vec<i64> {
    let integer = |reply: &Reply| if let Reply::Integer(number) = reply { Some(*number) } else { None };
    match reply(bytes) {
        Ok((Reply::Array(all), _)) => all.iter().filter_map(integer).collect(),
        Ok((one, _)) => integer(&one).into_iter().collect(),
        Err(_) => Vec::new(),
    }
}

/// An error reply or none, and how long the reply is.
#[inline]
fn answer(bytes: &[u8]) -> Result<(Option<&[u8]>, usize), Unread> {
    match element(bytes)? {
        (Element::Error(text), length) => Ok((Some(text), length)),
        (Element::Array(_), _) => reply(bytes).map(|(_, length)| (None, length)),
        (_, length) => Ok((None, length)),
    }
}

#[cold]
fn trouble(error: &[u8], host: &RedisHost, moved: &mut Vec<(u16, RedisHost)>) -> Trouble {
    let error = String::from_utf8_lossy(error).into_owned();
    match Redirect::parse(&error, host) {
        Some(Redirect::Moved(slot, to)) => {
            moved.push((slot, to));
            Trouble::Refused(error)
        }
        Some(Redirect::Ask(to)) => Trouble::Ask(to),
        None if is_passing(&error) || ["NOPERM", "NOAUTH"].iter().any(|word| error.starts_with(word)) => {
            Trouble::Refused(error)
        }
        None => Trouble::Failed(error),
    }
}

/// Closes all other connections of this name.
pub(super) async fn close_others(connection: &mut Connection, name: &str) -> Result<(), Error> {
    let own = match connection.call(&[b"CLIENT", b"ID"]).await {
        Ok(Reply::Integer(id)) => id.to_string(),
        Ok(_) => return Ok(()),
        Err(Error::Refused { reply, .. }) if reply.starts_with("ERR") => {
            tracing::warn!(
                "Redis does not name its connections ({reply}): those of an instance that sleeps can't be closed when \
                 another takes over"
            );
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let list = connection.call(&[b"CLIENT", b"LIST", b"TYPE", b"normal"]).await?.text().unwrap_or_default();
    for line in list.lines() {
        let field = |wanted: &str| {
            line.split(' ').find_map(|field| field.split_once('=').filter(|(name, _)| *name == wanted))
        };
        let (Some((_, id)), Some((_, named))) = (field("id"), field("name")) else { continue };
        if named == name && id != own {
            match connection.call(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]).await {
                // Gone by itself.
                Err(Error::Refused { reply, .. }) if reply.starts_with("ERR No such client") => {}
                result => {
                    result?;
                }
            }
        }
    }
    Ok(())
}
