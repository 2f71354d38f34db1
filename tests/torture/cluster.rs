//! What goes wrong in a Redis Cluster: slots move while rows are written, and masters are killed, frozen,
//! full, replaced by their replicas, or behind a bad network.
//!
//! ```text
//!   program ──[proxy]──> master 1   slots ─┐
//!           ──[proxy]──> master 2   <──────┘ half of the keys here, half there, until the fault ends
//!           ──[proxy]──> master 3   without slots at first
//!           ──[proxy]──> replicas   in some clusters
//! ```
//!
//! Nodes announce the ports of their proxies, so that whoever follows the layout comes by them. Slots that
//! are in use are moved: those of streams, of large sets, of the checkpoint and of single rows.

use std::thread;
use std::time::{Duration, Instant};

use redis::Value;
use redis_connect_postgres::throwaway::redis as rd;

use super::faults::Trouble;
use crate::faults::Random;
use crate::harness::{Cluster, PATIENCE, Proxy, World};

/// The n-th of the masters that have slots is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// So many hash slots, by this seed. Keys are at both masters until it ends.
    MoveSlots(u64, u64),
    KillMaster(usize),
    FreezeMaster(usize),
    FullMaster(usize),
    /// Its replica takes its place, as an administrator would have it.
    FailOver(usize),
    /// It is killed, and is back as a replica when its own has taken its place.
    LoseMaster(usize),
    Net(usize, Trouble),
}

/// How the cluster is made, and what may be lost in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) replicas: bool,
    /// Replicas are waited for (`durability.wait`).
    pub(super) waits: bool,
}

impl Kind {
    pub(super) fn random(random: &mut Random) -> Self {
        let replicas = random.chance(40);
        Self { replicas, waits: replicas && random.chance(50) }
    }

    /// A master that is lost takes along what its replica has not got.
    pub(super) fn can_lose(self) -> bool {
        self.replicas && !self.waits
    }
}

impl Fault {
    pub(super) fn random(random: &mut Random, kind: Kind) -> Self {
        let place = random.within(0, 3) as usize;
        match random.within(1, 100) {
            1..=45 => Fault::MoveSlots(random.within(1, 12), random.next()),
            46..=53 => Fault::FullMaster(place),
            54..=60 => Fault::FreezeMaster(place),
            61..=80 => Fault::Net(place, Trouble::random(random)),
            _ if !kind.replicas => Fault::KillMaster(place),
            81..=88 => Fault::FailOver(place),
            _ => Fault::LoseMaster(place),
        }
    }

    /// Nothing else may happen to slots meanwhile. That a slot is on its way, a replica does not know: keys that
    /// have moved already would be there twice when it takes over.
    pub(super) fn is_alone(self) -> bool {
        matches!(self, Fault::FailOver(_) | Fault::LoseMaster(_) | Fault::FreezeMaster(_))
    }
}

/// A slot on its way.
#[derive(Debug)]
struct Move {
    slot: String,
    from: usize,
    to: usize,
}

pub(super) struct Nodes {
    pub(super) cluster: Cluster,
    proxies: Vec<Proxy>,
    moving: Vec<Move>,
    /// Whom the fault that is on has struck.
    struck: Option<usize>,
}

impl Nodes {
    /// Three masters with slots and one without; or three with a replica each.
    pub(super) fn start(kind: Kind) -> Self {
        let (masters, replicas) = if kind.replicas { (3, 1) } else { (3, 0) };
        let mut proxies: Vec<Proxy> = Vec::new();
        let mut node = || {
            let proxy = Proxy::to(1);
            // No replica may take over by itself while slots are on their way.
            let settings = rd::Settings::durable().set("cluster-node-timeout", "5000");
            let node = Cluster::node(settings.set("cluster-announce-port", &proxy.port().to_string()));
            proxy.lead_to(node.port());
            proxies.push(proxy);
            node
        };
        let mut cluster = Cluster::with_each(masters, replicas, &mut node);
        if !kind.replicas {
            cluster.add_node(node());
        }
        Self { cluster, proxies, moving: Vec::new(), struck: None }
    }

    pub(super) fn url(&self) -> String {
        let hosts: Vec<String> = self.proxies.iter().map(|p| format!("127.0.0.1:{}", p.port())).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    fn master(&self, number: usize) -> usize {
        let masters = self.cluster.masters();
        masters[number % masters.len()]
    }

    pub(super) fn begin(&mut self, world: &World, fault: Fault) {
        match fault {
            Fault::MoveSlots(count, seed) => self.begin_moves(world, count, Random::new(seed)),
            Fault::KillMaster(number) => {
                let node = self.strike(number);
                self.cluster.server(node).kill9();
            }
            Fault::FreezeMaster(number) => {
                let node = self.strike(number);
                self.cluster.server(node).pause();
            }
            Fault::FullMaster(number) => {
                let node = self.strike(number);
                self.cluster.ask::<String>(node, &["CONFIG", "SET", "maxmemory", "1"]);
            }
            Fault::FailOver(number) => self.fail_over(self.master(number)),
            Fault::LoseMaster(number) => {
                let node = self.strike(number);
                self.cluster.server(node).kill9();
            }
            Fault::Net(number, trouble) => {
                let node = self.strike(number);
                trouble.begin(&mut self.proxies[node]);
            }
        }
    }

    fn strike(&mut self, number: usize) -> usize {
        let node = self.master(number);
        self.struck = Some(node);
        node
    }

    pub(super) fn end(&mut self, fault: Fault) {
        let struck = match fault {
            // Everybody must be there for it.
            Fault::MoveSlots(..) | Fault::FailOver(_) => return,
            _ => self.struck.take().unwrap(),
        };
        match fault {
            Fault::KillMaster(_) => self.cluster.server(struck).start_again().unwrap(),
            Fault::FreezeMaster(_) => self.cluster.server(struck).resume(),
            Fault::FullMaster(_) => {
                self.cluster.ask::<String>(struck, &["CONFIG", "SET", "maxmemory", "0"]);
            }
            Fault::LoseMaster(_) => {
                self.until("a replica has taken over", |nodes| {
                    nodes.cluster.masters().iter().all(|master| *master != struck)
                        && nodes.cluster.masters().len() >= 3
                });
                self.cluster.server(struck).start_again().unwrap();
            }
            Fault::Net(_, trouble) => trouble.end(&mut self.proxies[struck]),
            Fault::MoveSlots(..) | Fault::FailOver(_) => {}
        }
    }

    /// After the faults have ended: slots arrive, and all nodes agree.
    pub(super) fn recover(&mut self) {
        self.cluster.settle();
        let moving = std::mem::take(&mut self.moving);
        for one in &moving {
            self.until("the keys of a slot have moved", |nodes| nodes.migrate(one, usize::MAX));
            self.cluster.give_slot(&one.slot, one.from, one.to);
        }
        // Two masters can have chosen the same epoch for what they got. Then the one that takes the next has its
        // former slots once more, for everybody but itself: those belong to nobody until they are claimed again.
        loop {
            self.cluster.settle();
            self.cluster.wait_for_agreement();
            let lost = |one: &&Move| self.cluster.owner_now(one.slot.parse().unwrap()) != Some(one.to);
            let lost: Vec<&Move> = moving.iter().filter(lost).collect();
            if lost.is_empty() {
                break;
            }
            lost.iter().for_each(|one| self.cluster.claim_slot(&one.slot, one.from, one.to));
        }
        self.cluster.wait_for_replicas();
    }

    #[track_caller]
    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn begin_moves(&mut self, world: &World, count: u64, mut random: Random) {
        let checkpoint = format!("redis-connect-postgres:{}:checkpoint", world.name);
        let masters: Vec<usize> = self.cluster.all_masters();
        for _ in 0..count {
            let row = random.within(1, 60);
            let key = match random.within(1, 12) {
                1 => checkpoint.clone(),
                2 => ["all", "flat", "debezium"][random.within(0, 2) as usize].to_owned(),
                3 => ["account-set", "account-rank", "part-rank", "swap-rank"][random.within(0, 3) as usize]
                    .to_owned(),
                4 => format!("{{{}}}", random.within(0, 6)),
                5 => format!("whole-set:{}", ["a", "b", "c"][random.within(0, 2) as usize]),
                6 => format!("pair-rank:{}", random.within(0, 5)),
                7 => format!("swap:{row}"),
                8 => format!("whole:{row}"),
                _ => format!("account:{row}"),
            };
            let slot: u16 = self.cluster.ask(masters[0], &["CLUSTER", "KEYSLOT", &key]);
            let Some(from) = self.cluster.owner_now(slot) else { continue };
            let to = masters[random.within(0, masters.len() as u64 - 1) as usize];
            let slot = slot.to_string();
            if from == to || self.moving.iter().any(|moving| moving.slot == slot) {
                continue;
            }
            self.cluster.announce_move(&slot, from, to);
            let moving = Move { slot, from, to };
            self.migrate(&moving, random.within(0, 3) as usize);
            self.moving.push(moving);
        }
    }

    /// Moves so many keys at most; true when none is left.
    fn migrate(&self, moving: &Move, most: usize) -> bool {
        let port = self.cluster.port(moving.to).to_string();
        let mut moved = 0;
        loop {
            let keys = self
                .cluster
                .try_ask::<Vec<String>>(moving.from, &["CLUSTER", "GETKEYSINSLOT", &moving.slot, "100"]);
            let Ok(keys) = keys else { return false };
            if keys.is_empty() {
                return true;
            }
            for key in keys {
                if moved >= most {
                    return false;
                }
                let command = ["MIGRATE", "127.0.0.1", &port, &key, "0", "5000", "REPLACE"];
                if self.cluster.try_ask::<Value>(moving.from, &command).is_err() {
                    // One of the two is full.
                    return false;
                }
                moved += 1;
            }
        }
    }

    fn fail_over(&self, master: usize) {
        let replica = self.cluster.replica_of(master);
        self.cluster.ask::<String>(replica, &["CLUSTER", "FAILOVER"]);
        self.until("the replica has taken over", |nodes| nodes.cluster.masters().contains(&replica));
    }
}
