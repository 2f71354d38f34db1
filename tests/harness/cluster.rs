//! A Redis Cluster: masters, their replicas, slots that move.

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value};
use redis_connect_postgres::throwaway::{Redis, free_port, redis as rd};

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
        let nodes: Vec<RefCell<Redis>> = (0..masters * (1 + replicas))
            .map(|_| {
                let settings = settings
                    .clone()
                    .set("cluster-enabled", "yes")
                    .set("cluster-node-timeout", "2000")
                    .set("cluster-replica-validity-factor", "0")
                    .set("repl-diskless-sync-delay", "0")
                    .set("cluster-port", &free_port().unwrap().to_string());
                RefCell::new(Redis::start(settings).unwrap_or_else(|e| panic!("{e}")))
            })
            .collect();
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

    fn join(&self, masters: usize) {
        for node in 0..self.nodes.len() {
            if node < masters {
                let first = usize::from(SLOTS) * node / masters;
                let last = usize::from(SLOTS) * (node + 1) / masters - 1;
                self.ask::<String>(
                    node,
                    &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()],
                );
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
        let bus = info.split_whitespace().last().unwrap().to_owned();
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
        let settings = rd::Settings::default()
            .set("cluster-enabled", "yes")
            .set("cluster-node-timeout", "2000")
            .set("cluster-port", &free_port().unwrap().to_string());
        self.nodes.push(RefCell::new(Redis::start(settings).unwrap_or_else(|e| panic!("{e}"))));
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
            for node in 0..self.nodes.len() {
                let lines = self.text(node, &["CLUSTER", "NODES"]);
                let own = lines.lines().find(|line| line.contains("myself,master")).unwrap_or_default();
                let has = own.split(' ').skip(8).any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    let number = |text: &str| text.parse::<u16>().ok();
                    number(first)
                        .zip(number(last))
                        .is_some_and(|(first, last)| (first..=last).contains(&slot))
                });
                if has {
                    return node;
                }
            }
            assert!(began.elapsed() < PATIENCE, "nobody has slot {slot}");
        }
    }

    /// Moves a slot with its keys, as redis-cli --cluster reshard does.
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        let from = self.owner(slot);
        if from == to {
            return;
        }
        let slot = slot.to_string();
        let (from_id, to_id) = (self.id(from), self.id(to));
        self.ask::<String>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.ask::<String>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let port = self.port(to).to_string();
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
        for node in [to, from] {
            self.ask::<String>(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
        for node in 0..self.nodes.len() {
            // Replicas don't take it.
            let _ = self.try_ask::<String>(node, &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }
}
