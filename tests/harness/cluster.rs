//! A Redis Cluster: masters, their replicas, slots that move.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value};
use redis_connect_postgres::throwaway::{Redis, free_port, redis as rd};

use super::modules::{self, Modules};
use super::skipped;
use super::world::PATIENCE;

/// The number of hash slots.
const SLOTS: u16 = 16_384;

pub(crate) struct Cluster {
    nodes: Vec<RefCell<Redis>>,
    masters: usize,
}

impl Cluster {
    /// So many masters with the slots divided among them, and as many replicas of each.
    pub(crate) fn start(masters: usize, replicas: usize) -> Self {
        Self::with(masters, replicas, &rd::Settings::default())
    }

    pub(crate) fn with(masters: usize, replicas: usize, settings: &rd::Settings) -> Self {
        Self::with_each(masters, replicas, || start(settings.clone()))
    }

    /// Nodes with RedisJSON and RediSearch; `None`, noted, where no command starts one.
    pub(crate) fn with_modules(masters: usize) -> Option<Self> {
        match modules::named()? {
            Modules::Command(command) => {
                Some(Self::with(masters, 0, &rd::Settings { command, ..rd::Settings::default() }))
            }
            Modules::Server(_) => {
                skipped("a cluster with modules", "needs a command in TEST_REDIS_STACK");
                None
            }
        }
    }

    /// Each node is made by itself, with [`Cluster::node`].
    pub(crate) fn with_each(masters: usize, replicas: usize, mut node: impl FnMut() -> Redis) -> Self {
        let nodes: Vec<RefCell<Redis>> =
            (0..masters * (1 + replicas)).map(|_| RefCell::new(node())).collect();
        let cluster = Self { nodes, masters };
        cluster.join(masters);
        for replica in masters..cluster.nodes.len() {
            let master = cluster.id(replica % masters);
            cluster.wait("the replica knows its master", || {
                cluster.text(replica, &["CLUSTER", "NODES"]).contains(&master)
            });
            cluster.ask::<String>(replica, &["CLUSTER", "REPLICATE", &master]);
        }
        cluster.wait("the cluster is whole", || cluster.is_whole());
        cluster
    }

    /// A node that knows no other yet.
    pub(crate) fn node(settings: rd::Settings) -> Redis {
        start(settings)
    }

    fn join(&self, masters: usize) {
        for node in 0..self.nodes.len() {
            if node < masters {
                let first = usize::from(SLOTS) * node / masters;
                let last = usize::from(SLOTS) * (node + 1) / masters - 1;
                let slots: Vec<String> = (first..=last).map(|slot| slot.to_string()).collect();
                let slots: Vec<&str> = slots.iter().map(String::as_str).collect();
                self.ask::<String>(node, &[&["CLUSTER", "ADDSLOTS"], &slots[..]].concat());
                // Else two could have the same, and the one with the lower ID would win.
                self.ask::<String>(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()]);
            }
            if node > 0 {
                self.meet(node);
            }
        }
    }

    fn meet(&self, node: usize) {
        let port = self.port(0).to_string();
        let info = self.text(0, &["CONFIG", "GET", "cluster-port"]);
        let bus = match info.split_whitespace().last() {
            Some(port) => port.to_owned(),
            None => (self.port_of_nodes(0) + 10_000).to_string(),
        };
        self.ask::<String>(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }

    /// Every node knows every slot, and replicas have caught up.
    fn is_whole(&self) -> bool {
        (0..self.nodes.len()).all(|node| {
            let nodes = self.text(node, &["CLUSTER", "NODES"]);
            self.text(node, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
                && nodes.lines().count() == self.nodes.len()
                && nodes.lines().filter(|line| line.contains("slave")).count()
                    == self.nodes.len() - self.masters
                && (node < self.masters
                    || self.text(node, &["INFO", "replication"]).contains("link_status:up"))
        })
    }

    /// Waits until every node takes commands.
    pub(crate) fn settle(&self) {
        self.wait("every node takes commands", || {
            (0..self.nodes.len())
                .all(|node| self.text(node, &["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
    }

    /// One more master, without slots.
    pub(crate) fn add(&mut self) -> usize {
        self.add_node(start(rd::Settings::default()))
    }

    pub(crate) fn add_node(&mut self, node: Redis) -> usize {
        self.nodes.push(RefCell::new(node));
        let node = self.nodes.len() - 1;
        self.meet(node);
        self.wait("the new one takes part", || {
            self.text(node, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        self.wait("all know each other", || {
            (0..self.nodes.len())
                .all(|node| self.text(node, &["CLUSTER", "NODES"]).lines().count() == self.nodes.len())
        });
        node
    }

    #[track_caller]
    fn wait(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> =
            (0..self.nodes.len()).map(|n| format!("127.0.0.1:{}", self.port(n))).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    pub(crate) fn port(&self, node: usize) -> u16 {
        self.nodes[node].borrow().port()
    }

    /// The port that other nodes connect to.
    fn port_of_nodes(&self, node: usize) -> u16 {
        let setting = |name: &str| {
            let found = self.text(node, &["CONFIG", "GET", name]);
            found.split(' ').next_back().unwrap_or_default().to_owned()
        };
        match &*setting("tls-cluster") {
            "yes" => setting("tls-port").parse().unwrap(),
            _ => self.port(node),
        }
    }

    pub(crate) fn server(&self, node: usize) -> std::cell::RefMut<'_, Redis> {
        self.nodes[node].borrow_mut()
    }

    pub(crate) fn id(&self, node: usize) -> String {
        self.ask(node, &["CLUSTER", "MYID"])
    }

    /// One command to one node.
    #[track_caller]
    pub(crate) fn ask<T: FromRedisValue>(&self, node: usize, command: &[&str]) -> T {
        self.try_ask(node, command).unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    pub(crate) fn try_ask<T: FromRedisValue>(&self, node: usize, command: &[&str]) -> redis::RedisResult<T> {
        let mut connection = redis::Client::open(format!("redis://127.0.0.1:{}", self.port(node)))?
            .get_connection_with_timeout(Duration::from_secs(5))?;
        let mut wanted = redis::cmd(command[0]);
        wanted.arg(&command[1..]);
        wanted.query(&mut connection)
    }

    fn text(&self, node: usize, command: &[&str]) -> String {
        match self.try_ask::<Value>(node, command) {
            Ok(Value::Array(parts)) => parts
                .into_iter()
                .map(|part| String::from_redis_value(part).unwrap_or_default())
                .collect::<Vec<_>>()
                .join(" "),
            Ok(value) => String::from_redis_value(value).unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// One command about a key, to whoever has it.
    #[track_caller]
    pub(crate) fn get<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let began = Instant::now();
        loop {
            for node in 0..self.nodes.len() {
                if !self.server(node).is_running() {
                    continue;
                }
                match self.try_ask::<T>(node, command) {
                    Ok(found) => return found,
                    Err(error) if began.elapsed() > PATIENCE => panic!("{command:?}: {error}"),
                    Err(_) => {}
                }
            }
        }
    }

    /// How many keys each node has.
    pub(crate) fn sizes(&self) -> Vec<i64> {
        (0..self.nodes.len()).map(|node| self.ask(node, &["DBSIZE"])).collect()
    }

    /// The node that has a slot now.
    pub(crate) fn owner(&self, slot: u16) -> usize {
        let began = Instant::now();
        loop {
            if let Some(node) = self.owner_now(slot) {
                return node;
            }
            assert!(began.elapsed() < PATIENCE, "nobody has slot {slot}");
        }
    }

    /// The same, if it answers at the moment.
    pub(crate) fn owner_now(&self, slot: u16) -> Option<usize> {
        let has = |node: &usize| {
            self.myself(*node).iter().skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let number = |text: &str| text.parse::<u16>().ok();
                number(first).zip(number(last)).is_some_and(|(first, last)| (first..=last).contains(&slot))
            })
        };
        self.all_masters().into_iter().find(has)
    }

    /// Moves a slot with its keys, as redis-cli --cluster reshard does.
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from == to {
            return;
        }
        let slot = slot.to_string();
        self.announce_move(&slot, from, to);
        let port = self.port_of_nodes(to).to_string();
        loop {
            let keys: Vec<Vec<u8>> = self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, "10"]);
            if keys.is_empty() {
                break;
            }
            for key in keys {
                let mut connection = redis::Client::open(format!("redis://127.0.0.1:{}", self.port(from)))
                    .unwrap()
                    .get_connection()
                    .unwrap();
                let _: Value = redis::cmd("MIGRATE")
                    .arg("127.0.0.1")
                    .arg(&port)
                    .arg(key)
                    .arg(0)
                    .arg(5000)
                    .query(&mut connection)
                    .unwrap();
            }
        }
        self.give_slot(&slot, from, to);
    }

    /// From now on its keys are at the one or the other.
    pub(crate) fn announce_move(&self, slot: &str, from: usize, to: usize) {
        let (from_id, to_id) = (self.id(from), self.id(to));
        self.ask::<String>(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &from_id]);
        self.ask::<String>(from, &["CLUSTER", "SETSLOT", slot, "MIGRATING", &to_id]);
    }

    /// All its keys are there: it is another's.
    pub(crate) fn give_slot(&self, slot: &str, from: usize, to: usize) {
        let to_id = self.id(to);
        for node in [to, from] {
            let given = self.try_ask::<String>(node, &["CLUSTER", "SETSLOT", slot, "NODE", &to_id]);
            // A master that has given its last slot away becomes a replica.
            let is_replica = || self.myself(node).get(2).is_some_and(|flags| flags.contains("slave"));
            if let Err(error) = given
                && !is_replica()
            {
                let nodes = self.text(node, &["CLUSTER", "NODES"]);
                panic!(
                    "slot {slot} from {from} to {to}: {node}: {error}\n{nodes}\n{}",
                    self.server(node).log()
                );
            }
        }
        for node in 0..self.nodes.len() {
            // Replicas don't take it.
            let _ = self.try_ask::<String>(node, &["CLUSTER", "SETSLOT", slot, "NODE", &to_id]);
        }
    }

    /// Takes a slot, of which it has the keys, although nobody gives it.
    pub(crate) fn claim_slot(&self, slot: &str, from: usize, to: usize) {
        self.ask::<String>(to, &["CLUSTER", "SETSLOT", slot, "IMPORTING", &self.id(from)]);
        self.ask::<String>(to, &["CLUSTER", "SETSLOT", slot, "NODE", &self.id(to)]);
    }

    /// All nodes know the same masters by the same epochs, and no two have the same.
    pub(crate) fn wait_for_agreement(&self) {
        let epochs = |node: usize| {
            let nodes = self.text(node, &["CLUSTER", "NODES"]);
            let lines = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
            let masters = lines.filter(|fields| fields.get(2).is_some_and(|flags| flags.contains("master")));
            let epoch =
                |fields: Vec<&str>| Some(((*fields.get(6)?).to_owned(), (*fields.first()?).to_owned()));
            masters.filter_map(epoch).collect::<BTreeMap<_, _>>()
        };
        let count = self.all_masters().len();
        self.wait("nodes agree", || {
            let first = epochs(0);
            first.len() == count && (1..self.nodes.len()).all(|node| epochs(node) == first)
        });
    }

    /// What a running node says of itself: its fields, as CLUSTER NODES has them.
    fn myself(&self, node: usize) -> Vec<String> {
        if !self.server(node).is_running() {
            return Vec::new();
        }
        let nodes = self.text(node, &["CLUSTER", "NODES"]);
        let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
        own.split(' ').map(str::to_owned).collect()
    }

    /// The masters, also those without slots.
    pub(crate) fn all_masters(&self) -> Vec<usize> {
        let is_master =
            |node: &usize| self.myself(*node).get(2).is_some_and(|flags| flags.contains("master"));
        (0..self.nodes.len()).filter(is_master).collect()
    }

    /// The masters that have slots.
    pub(crate) fn masters(&self) -> Vec<usize> {
        let has_slots = |node: &usize| self.myself(*node).get(8).is_some_and(|slots| !slots.starts_with('['));
        self.all_masters().into_iter().filter(has_slots).collect()
    }

    pub(crate) fn replica_of(&self, master: usize) -> usize {
        let id = self.id(master);
        let is_its = |node: &usize| self.myself(*node).get(3) == Some(&id);
        let found = (0..self.nodes.len()).find(is_its);
        found.unwrap_or_else(|| panic!("{master} has no replica"))
    }

    /// Every replica has what its master has.
    pub(crate) fn wait_for_replicas(&self) {
        self.wait("replicas have caught up", || {
            (0..self.nodes.len()).all(|node| {
                let info = self.text(node, &["INFO", "replication"]);
                info.contains("role:master") || info.contains("master_link_status:up")
            })
        });
    }

    /// A connection to each of the masters.
    pub(crate) fn connections(&self) -> Vec<redis::Connection> {
        let open = |node: usize| {
            let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port(node))).unwrap();
            client.get_connection().unwrap()
        };
        self.masters().into_iter().map(open).collect()
    }
}

/// One node that knows no other yet.
fn start(mut settings: rd::Settings) -> Redis {
    if !settings.arguments.iter().any(|argument| argument == "--cluster-node-timeout") {
        settings = settings.set("cluster-node-timeout", "2000");
    }
    let settings = settings
        .set("cluster-enabled", "yes")
        .set("cluster-replica-validity-factor", "0")
        .set("repl-diskless-sync-delay", "0");
    let settings = match is_old() {
        // The bus is 10,000 above the port.
        true => settings,
        false => settings.set("cluster-port", &free_port().unwrap().to_string()),
    };
    Redis::start(settings).unwrap_or_else(|e| panic!("{e}"))
}

/// A Redis before 7.0, which has no `cluster-port`.
fn is_old() -> bool {
    static OLD: OnceLock<bool> = OnceLock::new();
    *OLD.get_or_init(|| {
        let server = Redis::start(rd::Settings::default()).unwrap_or_else(|e| panic!("{e}"));
        let client = redis::Client::open(server.url()).unwrap();
        let found: Vec<String> = redis::cmd("CONFIG")
            .arg(&["GET", "cluster-port"])
            .query(&mut client.get_connection().unwrap())
            .unwrap();
        found.is_empty()
    })
}
