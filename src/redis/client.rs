//! Redis, asked: commands whose replies are wanted, wherever their keys are.
//!
//! ```text
//!   call, call_all ──> key ──> hash slot ──> server        one server:  all keys are there
//!                        ^                      │          cluster:     CLUSTER SLOTS, MOVED, ASK
//!                        └──── MOVED, ASK ──────┘          endpoint:    one address, spread behind it
//! ```
//!
//! Here is everything but the batches: checkpoints are read, keys scanned, rows verified over a client.
//! A transaction and the WATCH before it go to one server, so their keys must share a hash slot.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use super::connect::the_only;
use super::resp::{Commands, Reply};
use super::slots::{Redirect, SlotMap, slot};
use super::{Connection, Error};
use crate::config::{RedisHost, Target, Topology};

/// How often a command is sent after a slot that moves.
const ATTEMPTS: usize = 20;

/// Between two attempts at keys that are moving.
const PAUSE: Duration = Duration::from_millis(50);

/// How keys are spread over servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Any keys can be in one transaction.
    Whole,
    /// A proxy with many shards behind it: one address, but a transaction has one hash slot only.
    Endpoint,
    Cluster,
}

#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    spread: Spread,
    connections: BTreeMap<RedisHost, Connection>,
    map: SlotMap,
    /// Where a WATCH stands: the transaction belongs there.
    watching: Option<RedisHost>,
}

/// One command, with the number of its reply.
struct Asked<'a> {
    index: usize,
    arguments: Vec<&'a [u8]>,
    /// ASK sent it there.
    ask: Option<RedisHost>,
}

impl Client {
    pub(crate) async fn open(target: &Target) -> Result<Client, Error> {
        if target.url.topology == Topology::Cluster {
            return Client::open_cluster(target).await;
        }
        let mut connection = Connection::open(target).await?;
        let spread = spread_of(&mut connection, target).await?;
        let host = one_host(target)?;
        Ok(Client {
            target: target.clone(),
            spread,
            connections: BTreeMap::from([(host.clone(), connection)]),
            map: SlotMap::one(host),
            watching: None,
        })
    }

    async fn open_cluster(target: &Target) -> Result<Client, Error> {
        let mut client = Client {
            target: target.clone(),
            spread: Spread::Cluster,
            connections: BTreeMap::new(),
            map: SlotMap::one(one_host(target)?),
            watching: None,
        };
        client.refresh().await?;
        if let Some(hole) = client.map.hole() {
            return Err(Error::Refused {
                doing: "looking for the servers of the cluster".to_owned(),
                reply: format!("CLUSTERDOWN no server has hash slot {hole}"),
            });
        }
        Ok(client)
    }

    pub(crate) fn spread(&self) -> Spread {
        self.spread
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    /// Asks for the layout: those who were known, then those in the configuration.
    pub(super) async fn refresh(&mut self) -> Result<(), Error> {
        let known = self.map.masters().iter().chain(&self.target.url.hosts).cloned();
        let mut hosts: Vec<RedisHost> = Vec::new();
        for host in known {
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        let mut last = None;
        for host in hosts {
            match self.layout_from(&host).await {
                Ok(map) => {
                    self.map = map;
                    return Ok(());
                }
                Err(error) if error.is_transient() => {
                    self.connections.remove(&host);
                    last = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::Setting("target.url names no host".to_owned())))
    }

    async fn layout_from(&mut self, host: &RedisHost) -> Result<SlotMap, Error> {
        let connection = self.connection(host).await?;
        let reply = match connection.call(&[b"CLUSTER", b"SLOTS"]).await {
            Err(Error::Refused { reply, .. })
                if reply.starts_with("ERR This instance has cluster support") =>
            {
                return Err(Error::Setting(format!(
                    "Redis at {host} is no cluster: write redis:// instead of redis-cluster:// in target.url"
                )));
            }
            reply => reply?,
        };
        let mut map = SlotMap::parse(&reply, host).ok_or(connection.nonsense())?;
        let nodes = connection.call(&[b"CLUSTER", b"NODES"]).await?.text().unwrap_or_default();
        map.join(&nodes, host);
        Ok(map)
    }

    async fn connection(&mut self, host: &RedisHost) -> Result<&mut Connection, Error> {
        if !self.connections.contains_key(host) {
            let connection = self.apart(host).await?;
            self.connections.insert(host.clone(), connection);
        }
        self.connections.get_mut(host).ok_or_else(|| Error::Setting(format!("no connection to {host}")))
    }

    /// Sends one command; an error reply is an error.
    pub(crate) async fn call(&mut self, arguments: &[&[u8]]) -> Result<Reply, Error> {
        let mut commands = Commands::default();
        commands.command(arguments);
        let replies = self.call_all(&commands).await?;
        the_only(replies, arguments).unwrap_or_else(|| Err(self.nonsense()))
    }

    /// Sends commands and returns their replies, error replies among them. A transaction is sent as a
    /// whole and alone.
    pub(crate) async fn call_all(&mut self, commands: &Commands) -> Result<Vec<Reply>, Error> {
        if self.spread != Spread::Cluster {
            let host = self.map.masters().first().cloned();
            let host = host.ok_or_else(|| Error::Setting("target.url names no host".to_owned()))?;
            return self.connection(&host).await?.call_all(commands).await;
        }
        let asked: Vec<Vec<&[u8]>> = commands.walk().collect();
        if asked.first().is_some_and(|command| command.first() == Some(&&b"MULTI"[..])) {
            return self.transaction(commands, &asked).await;
        }
        let mut replies = vec![Reply::Nil; asked.len()];
        let mut open: Vec<Asked<'_>> = asked
            .into_iter()
            .enumerate()
            .map(|(index, arguments)| Asked { index, arguments, ask: None })
            .collect();
        for attempt in 0..ATTEMPTS {
            if attempt > 1 {
                sleep(PAUSE).await;
            }
            open = self.ask(open, &mut replies).await?;
            if open.is_empty() {
                break;
            }
        }
        Ok(replies)
    }

    /// Asks each server what is its. Returns what has to be asked elsewhere, or once more.
    async fn ask<'a>(
        &mut self,
        open: Vec<Asked<'a>>,
        replies: &mut [Reply],
    ) -> Result<Vec<Asked<'a>>, Error> {
        let mut by_host: BTreeMap<RedisHost, Vec<Asked<'a>>> = BTreeMap::new();
        for asked in open {
            let host = match &asked.ask {
                Some(host) => host.clone(),
                None => self.host_of(&asked.arguments)?,
            };
            by_host.entry(host).or_default().push(asked);
        }
        let mut again = Vec::new();
        for (host, asked) in by_host {
            let mut commands = Commands::default();
            for one in &asked {
                if one.ask.is_some() {
                    commands.command(&[b"ASKING"]);
                }
                commands.command(&one.arguments);
            }
            let result = match self.connection(&host).await {
                Ok(connection) => connection.call_all(&commands).await,
                Err(error) => Err(error),
            };
            let answers = match result {
                Ok(answers) => answers,
                Err(error) => {
                    self.connections.remove(&host);
                    return Err(error);
                }
            };
            let mut answers = answers.into_iter();
            for mut one in asked {
                if one.ask.take().is_some() {
                    answers.next();
                }
                let answer = answers.next().unwrap_or(Reply::Nil);
                let [is_watch, is_unwatch] =
                    [&b"WATCH"[..], b"UNWATCH"].map(|name| one.arguments.first() == Some(&name));
                if let Reply::Error(reply) = &answer {
                    match Redirect::parse(reply, &host) {
                        Some(Redirect::Moved(slot, to)) => self.map.moved(slot, &to),
                        Some(Redirect::Ask(to)) => one.ask = Some(to),
                        None if reply.starts_with("TRYAGAIN") => {}
                        None => {
                            set(replies, one.index, answer);
                            continue;
                        }
                    }
                    set(replies, one.index, answer);
                    again.push(one);
                    continue;
                }
                if is_watch {
                    self.watching = Some(host.clone());
                } else if is_unwatch {
                    self.watching = None;
                }
                set(replies, one.index, answer);
            }
        }
        Ok(again)
    }

    /// A transaction whose keys have moved away, or are moving, was disturbed: EXEC is nil.
    async fn transaction(&mut self, commands: &Commands, asked: &[Vec<&[u8]>]) -> Result<Vec<Reply>, Error> {
        let host = match self.watching.take() {
            Some(host) => host,
            None => {
                let keyed = asked.iter().find(|command| key_of(command).is_some());
                self.host_of(keyed.map(Vec::as_slice).unwrap_or_default())?
            }
        };
        let mut replies = self.connection(&host).await?.call_all(commands).await?;
        let mut disturbed = false;
        for reply in &replies {
            let Reply::Error(text) = reply else { continue };
            match Redirect::parse(text, &host) {
                Some(Redirect::Moved(slot, to)) => self.map.moved(slot, &to),
                Some(Redirect::Ask(_)) => {}
                None if text.starts_with("TRYAGAIN") => {}
                None => continue,
            }
            disturbed = true;
        }
        if disturbed && let Some(last) = replies.last_mut() {
            *last = Reply::Nil;
        }
        Ok(replies)
    }

    fn host_of(&self, arguments: &[&[u8]]) -> Result<RedisHost, Error> {
        let name = arguments.first().copied().unwrap_or_default();
        if name == b"UNWATCH"
            && let Some(host) = &self.watching
        {
            return Ok(host.clone());
        }
        let host = match key_of(arguments) {
            Some(key) => self.map.host(slot(key)),
            None => self.map.masters().first(),
        };
        host.cloned().ok_or_else(|| Error::Refused {
            doing: String::from_utf8_lossy(name).into_owned(),
            reply: "CLUSTERDOWN no server has the hash slot".to_owned(),
        })
    }

    /// Sends one command to a server of the caller's choice.
    pub(crate) async fn call_at(&mut self, host: &RedisHost, arguments: &[&[u8]]) -> Result<Reply, Error> {
        let result = self.connection(host).await?.call(arguments).await;
        if result.as_ref().is_err_and(|error| matches!(error, Error::Io { .. } | Error::Silent { .. })) {
            self.connections.remove(host);
        }
        result
    }

    /// Opens a connection to this server, unless there is one.
    pub(crate) async fn reach(&mut self, host: &RedisHost) -> Result<(), Error> {
        self.connection(host).await.map(drop)
    }

    /// A connection of its own to the server that this one stands for.
    pub(crate) async fn apart(&self, host: &RedisHost) -> Result<Connection, Error> {
        match self.spread {
            Spread::Cluster => Connection::open_at(&self.target, host).await,
            // Sentinels say where it is now.
            Spread::Whole | Spread::Endpoint => Connection::open(&self.target).await,
        }
    }

    /// How many of the hash slots a server has, of all.
    pub(crate) fn share(&self, host: &RedisHost) -> f64 {
        self.map.share(host)
    }

    /// The servers that have keys.
    pub(crate) fn masters(&self) -> Vec<RedisHost> {
        self.map.masters().to_vec()
    }

    /// What the servers of a cluster say of their slots, those on the move among them. `None` while some
    /// are. Without a cluster nothing ever moves.
    pub(super) async fn layout(&mut self) -> Result<Option<Vec<String>>, Error> {
        if self.spread != Spread::Cluster {
            return Ok(Some(Vec::new()));
        }
        self.refresh().await?;
        let mut layout = Vec::new();
        for host in self.masters() {
            let nodes = self.call_at(&host, &[b"CLUSTER", b"NODES"]).await?.text().unwrap_or_default();
            let own = nodes.lines().find(|line| line.contains("myself"));
            let slots: Vec<&str> = own.unwrap_or_default().split(' ').skip(8).collect();
            if slots.iter().any(|slots| slots.starts_with('[')) {
                return Ok(None);
            }
            layout.push(format!("{host} {}", slots.join(" ")));
        }
        Ok(Some(layout))
    }

    pub(super) fn nonsense(&self) -> Error {
        match self.connections.values().next() {
            Some(connection) => connection.nonsense(),
            None => Error::Setting("Redis' reply is not what its protocol says".to_owned()),
        }
    }
}

fn set(replies: &mut [Reply], index: usize, reply: Reply) {
    if let Some(place) = replies.get_mut(index) {
        *place = reply;
    }
}

fn one_host(target: &Target) -> Result<RedisHost, Error> {
    let host = target.url.hosts.first().cloned();
    host.ok_or_else(|| Error::Setting("target.url names no host".to_owned()))
}

/// The first key of a command; `None` for those that have none.
fn key_of<'a>(arguments: &[&'a [u8]]) -> Option<&'a [u8]> {
    let name = arguments.first()?;
    match *name {
        b"XINFO" | b"OBJECT" | b"MEMORY" => arguments.get(2).copied(),
        b"SCAN" | b"COMMAND" | b"CONFIG" | b"INFO" | b"PING" | b"MULTI" | b"EXEC" | b"UNWATCH"
        | b"MODULE" | b"ACL" | b"CLIENT" | b"CLUSTER" | b"TIME" | b"WAIT" | b"ROLE" => None,
        name if name.starts_with(b"FT.") => None,
        _ => arguments.get(1).copied(),
    }
}

/// Asks two keys of different hash slots in one transaction: what refuses that has spread them.
async fn spread_of(connection: &mut Connection, target: &Target) -> Result<Spread, Error> {
    let mut commands = Commands::default();
    commands.command(&[b"MULTI"]);
    for key in probes(&target.name) {
        commands.command(&[b"GET", key.as_bytes()]);
    }
    commands.command(&[b"EXEC"]);
    let mut crosses = false;
    for reply in connection.call_all(&commands).await? {
        let inner =
            if let Reply::Array(inner) = &reply { inner.as_slice() } else { std::slice::from_ref(&reply) };
        for reply in inner {
            let Reply::Error(text) = reply else { continue };
            if text.starts_with("MOVED") || text.starts_with("CLUSTERDOWN") {
                return Err(is_cluster(&one_host(target)?));
            }
            crosses |= text.starts_with("CROSSSLOT");
        }
    }
    if !crosses {
        return Ok(Spread::Whole);
    }
    // It may be a server of a cluster that has both keys by chance. A proxy does not tell of shards.
    let host = one_host(target)?;
    match connection.call(&[b"CLUSTER", b"SLOTS"]).await {
        Ok(slots) if SlotMap::parse(&slots, &host).is_some_and(|map| map.masters().len() > 1) => {
            Err(is_cluster(&host))
        }
        Ok(_) | Err(Error::Refused { .. }) => Ok(Spread::Endpoint),
        Err(error) => Err(error),
    }
}

/// Two keys of ours that are never written, in different hash slots.
fn probes(name: &str) -> [String; 2] {
    ["1", "2"].map(|tag| format!("redis-connect-postgres:{name}:probe:{{{tag}}}"))
}

fn is_cluster(host: &RedisHost) -> Error {
    Error::Setting(format!(
        "Redis at {host} is a server of a cluster: write redis-cluster:// instead of redis:// in target.url"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_commands() {
        assert_eq!(key_of(&[b"HSET", b"k", b"f", b"v"]), Some(&b"k"[..]));
        assert_eq!(key_of(&[b"XINFO", b"STREAM", b"k"]), Some(&b"k"[..]));
        assert_eq!(key_of(&[b"SCAN", b"0"]), None);
        assert_eq!(key_of(&[b"FT._LIST"]), None);
        assert_eq!(key_of(&[]), None);
        let [one, other] = probes("hr");
        assert_ne!(slot(one.as_bytes()), slot(other.as_bytes()));
    }
}
