//! What goes wrong meanwhile: each fault begins, lasts for a while and ends.
//!
//! Several can be on at once, as long as they are not two of the same place: a Redis that is killed
//! can't be frozen. In the end everything works again, and the program must too.

use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::{Redis, Shutdown, redis as rd};

use super::cluster::{self, Nodes};
use crate::faults::Random;
use crate::harness::{Cluster, Connector, Proxy, Toward, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    KillProgram,
    StopProgram,
    FreezeProgram,
    /// A second instance waits, and the first is killed.
    TakeOverFromDead,
    /// A second instance waits, and the first sleeps until it has been replaced.
    TakeOverFromFrozen,
    KillRedis,
    FreezeRedis,
    FullRedis,
    /// A replica that has everything takes the place of the primary.
    FailOver,
    KillPostgres,
    RestartPostgres(Shutdown),
    Net(Way, Trouble),
    InCluster(cluster::Fault),
}

/// Between the program and which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Redis,
    Postgres,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    Cut,
    Stall,
    StallThenCut,
    Throttle(u64),
    Delay(u64),
    HalfClose(Toward),
    Refuse,
}

/// Where a fault happens; one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Program,
    Redis,
    Postgres,
    WayToRedis,
    WayToPostgres,
    Slots,
}

impl Fault {
    /// `cluster` is how Redis is, where it is one.
    fn random(random: &mut Random, cluster: Option<cluster::Kind>) -> Self {
        if let Some(kind) = cluster
            && random.chance(40)
        {
            return Fault::InCluster(cluster::Fault::random(random, kind));
        }
        let found = Self::of_one_redis(random);
        match (cluster, found) {
            (
                Some(kind),
                Fault::KillRedis
                | Fault::FreezeRedis
                | Fault::FullRedis
                | Fault::FailOver
                | Fault::Net(Way::Redis, _),
            ) => Fault::InCluster(cluster::Fault::random(random, kind)),
            (_, found) => found,
        }
    }

    fn of_one_redis(random: &mut Random) -> Self {
        match random.within(1, 100) {
            1..=18 => Fault::KillProgram,
            19..=21 => Fault::StopProgram,
            22..=25 => Fault::FreezeProgram,
            26..=30 => Fault::TakeOverFromDead,
            31..=34 => Fault::TakeOverFromFrozen,
            35..=42 => Fault::KillRedis,
            43..=45 => Fault::FreezeRedis,
            46..=50 => Fault::FullRedis,
            51..=55 => Fault::FailOver,
            56..=62 => Fault::KillPostgres,
            63..=65 => Fault::RestartPostgres(Shutdown::Fast),
            66..=67 => Fault::RestartPostgres(Shutdown::Immediate),
            _ => {
                let way = if random.chance(60) { Way::Redis } else { Way::Postgres };
                Fault::Net(way, Trouble::random(random))
            }
        }
    }

    /// One to three that can be on at once.
    pub(super) fn some(random: &mut Random, cluster: Option<cluster::Kind>) -> Vec<Self> {
        let count = match random.within(1, 10) {
            1..=5 => 1,
            6..=8 => 2,
            _ => 3,
        };
        let mut faults: Vec<Self> = Vec::new();
        while faults.len() < count {
            let fault = Self::random(random, cluster);
            let taken = |place| faults.iter().any(|other| other.places().contains(place));
            if !fault.places().iter().any(taken) {
                faults.push(fault);
            }
        }
        faults
    }

    fn places(self) -> &'static [Place] {
        match self {
            Fault::KillProgram
            | Fault::StopProgram
            | Fault::FreezeProgram
            | Fault::TakeOverFromDead
            | Fault::TakeOverFromFrozen => &[Place::Program],
            Fault::KillRedis | Fault::FreezeRedis | Fault::FullRedis => &[Place::Redis],
            Fault::FailOver => &[Place::Redis, Place::WayToRedis],
            Fault::KillPostgres | Fault::RestartPostgres(_) => &[Place::Postgres],
            Fault::Net(Way::Redis, _) => &[Place::WayToRedis],
            Fault::Net(Way::Postgres, _) => &[Place::WayToPostgres],
            Fault::InCluster(cluster::Fault::MoveSlots(..)) => &[Place::Slots],
            Fault::InCluster(fault) if fault.is_alone() => &[Place::Redis, Place::Slots],
            Fault::InCluster(_) => &[Place::Redis],
        }
    }
}

impl Trouble {
    pub(super) fn random(random: &mut Random) -> Self {
        match random.within(1, 9) {
            1 | 2 => Trouble::Cut,
            3 => Trouble::Stall,
            4 => Trouble::StallThenCut,
            5 => Trouble::Throttle(random.within(20, 300) * 1_000),
            6 => Trouble::Delay(random.within(1, 30)),
            7 => Trouble::HalfClose(Toward::Server),
            8 => Trouble::HalfClose(Toward::Client),
            _ => Trouble::Refuse,
        }
    }
}

impl Trouble {
    pub(super) fn begin(self, proxy: &mut Proxy) {
        match self {
            Trouble::Cut => proxy.cut(),
            Trouble::Stall | Trouble::StallThenCut => proxy.stall(true),
            Trouble::Throttle(rate) => proxy.throttle(rate),
            Trouble::Delay(ms) => proxy.delay(ms),
            Trouble::HalfClose(toward) => proxy.half_close(toward),
            Trouble::Refuse => {
                proxy.refuse(true);
                proxy.cut();
            }
        }
    }

    pub(super) fn end(self, proxy: &mut Proxy) {
        if self == Trouble::StallThenCut {
            proxy.cut();
        }
        proxy.stall(false);
        proxy.throttle(0);
        proxy.delay(0);
        proxy.refuse(false);
    }
}

/// Redis, and the way to it.
pub(super) enum Target {
    One(Proxy),
    Cluster(Box<Nodes>),
}

/// The program and the ways between it and the servers.
pub(super) struct Stage<'a> {
    world: &'a World,
    redis: Target,
    postgres: Proxy,
    program: Connector,
    /// The instance that slept while `program` took over.
    replaced: Option<Connector>,
    /// There were two instances, of which each can have replaced the other, also in its last moment.
    replacing: bool,
    /// Logs of instances that have ended, the oldest first.
    logs: Vec<String>,
}

/// What the program says when it has reached both servers.
const SIGNS_OF_LIFE: [&str; 4] = ["streaming", "snapshot", "waiting to take over", "trying again"];

/// What PostgreSQL itself says when it can't decode its log: where tables were rewritten beside a crash, or
/// beside the making of a slot, versions up to 15 at least forget for a slot which transactions changed the
/// catalog. No reader can do anything about it. So it is the one gap that is allowed here: it must be told
/// in these words, and mended as `on_gap: resnapshot` says.
pub(super) const UNDECODABLE: [&str; 2] = ["could not map filenode", "pg_attribute catalog is missing"];

pub(super) fn is_undecodable(text: &str) -> bool {
    UNDECODABLE.iter().any(|words| text.contains(words))
}

/// From now on tables are read again after a gap.
pub(super) fn allow_gaps(world: &World) {
    let yaml = std::fs::read_to_string(world.config_file()).unwrap();
    std::fs::write(world.config_file(), yaml.replace("on_gap: fail", "on_gap: resnapshot")).unwrap();
}

/// How long one of two instances may take to give up: it may have to notice that a connection is silent.
const PATIENCE: Duration = Duration::from_secs(60);

fn was_replaced(program: &Connector) -> bool {
    program.log_contains("another instance has taken over")
}

fn has_begun(program: &Connector) -> bool {
    program.log_contains("streaming") || program.log_contains("snapshot")
}

impl<'a> Stage<'a> {
    pub(super) fn new(world: &'a World, (redis, postgres): (Target, Proxy)) -> Self {
        let program = world.run();
        Self { world, redis, postgres, program, replaced: None, replacing: false, logs: Vec::new() }
    }

    pub(super) fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::KillProgram => {
                self.program.kill9();
                self.restart();
            }
            Fault::StopProgram => {
                self.stop_program();
                self.restart();
            }
            Fault::FreezeProgram => self.program.stop(),
            Fault::TakeOverFromDead | Fault::TakeOverFromFrozen => {
                let second = self.world.run();
                self.replacing = true;
                let began = Instant::now();
                // Under other faults it may not come so far.
                while began.elapsed() < Duration::from_secs(1) && !second.log_contains("waiting to take over")
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                let first = std::mem::replace(&mut self.program, second);
                if fault == Fault::TakeOverFromDead {
                    first.kill9();
                    self.logs.push(first.log());
                } else {
                    first.stop();
                    self.replaced = Some(first);
                }
            }
            Fault::KillRedis => self.world.redis_server().kill9(),
            Fault::FreezeRedis => self.world.redis_server().pause(),
            Fault::FullRedis => self.world.redis(&["CONFIG", "SET", "maxmemory", "1"]),
            Fault::FailOver => self.fail_over(),
            Fault::KillPostgres => self.world.postgres().kill9(),
            Fault::RestartPostgres(how) => self.world.postgres().stop(how).unwrap(),
            Fault::Net(way, trouble) => trouble.begin(self.way(way)),
            Fault::InCluster(fault) => {
                let world = self.world;
                self.nodes().begin(world, fault);
            }
        }
    }

    pub(super) fn end(&mut self, fault: Fault) {
        match fault {
            Fault::FreezeProgram => self.program.cont(),
            Fault::KillRedis => self.world.redis_server().start_again().unwrap(),
            Fault::FreezeRedis => self.world.redis_server().resume(),
            Fault::FullRedis => self.world.redis(&["CONFIG", "SET", "maxmemory", "0"]),
            Fault::KillPostgres | Fault::RestartPostgres(_) => self.world.postgres().start_again().unwrap(),
            Fault::Net(way, trouble) => trouble.end(self.way(way)),
            Fault::InCluster(fault) => self.nodes().end(fault),
            Fault::KillProgram
            | Fault::StopProgram
            | Fault::TakeOverFromDead
            | Fault::TakeOverFromFrozen
            | Fault::FailOver => {}
        }
    }

    /// After the faults have ended: the program runs, and of two instances one has given up or waits.
    pub(super) fn recover(&mut self) {
        if let Target::Cluster(nodes) = &mut self.redis {
            nodes.recover();
        }
        if let Some(first) = self.replaced.take() {
            self.world.eventually("the second one is at work", || {
                self.keep_running();
                has_begun(&self.program)
            });
            if has_begun(&first) {
                first.cont();
                self.settle(first);
            } else {
                // It never had anything to lose.
                first.kill9();
                self.logs.push(first.log());
            }
        }
        self.keep_running();
    }

    /// One of the two ends, or waits: the first, unless it had the slot back before it fell asleep. An
    /// instance lets go of it for a moment when it reads a table again.
    fn settle(&mut self, first: Connector) {
        let waits = |one: &Connector| {
            one.log().lines().next_back().is_some_and(|line| line.contains("waiting to take over"))
        };
        let began = Instant::now();
        loop {
            let both = || format!("{}\n{}", first.story(), self.program.story());
            if !first.is_running() {
                let status = first.wait(Duration::from_secs(1));
                let fine = status.code() == Some(1) && (was_replaced(&first) || self.is_helpless(&first));
                assert!(fine, "one that slept: {}", both());
                break;
            }
            if waits(&first) {
                first.kill9();
                break;
            }
            if !self.program.is_running() && was_replaced(&self.program) {
                let second = std::mem::replace(&mut self.program, first);
                self.logs.push(second.log());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "one that slept goes on: {}", both());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.logs.push(first.log());
    }

    /// An instance that did not reach both servers when it began has given up, and one that was replaced.
    fn keep_running(&mut self) {
        if self.program.is_running() {
            return;
        }
        let status = self.program.wait(Duration::from_secs(1));
        let alive = SIGNS_OF_LIFE.iter().any(|sign| self.program.log_contains(sign));
        let replaced = self.replacing && was_replaced(&self.program);
        let fine = status.code() == Some(1) && (!alive || replaced || self.is_helpless(&self.program));
        assert!(fine, "it ended by itself: {}", self.program.story());
        self.restart();
    }

    /// It has ended because PostgreSQL can't decode its log, and said so; the next one may begin again.
    fn is_helpless(&self, program: &Connector) -> bool {
        let log = program.log();
        let mut lines = log.lines();
        let helpless = lines.any(|line| is_undecodable(line) && line.contains("set on_gap: resnapshot"));
        if helpless {
            allow_gaps(self.world);
        }
        helpless
    }

    /// Everything works: no instance ends any more. Returns the logs of all.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.recover();
        self.world.eventually("it works", || {
            self.keep_running();
            SIGNS_OF_LIFE.iter().any(|sign| self.program.log_contains(sign))
        });
        self.stop_program();
        self.logs.push(self.program.log());
        self.logs.clone()
    }

    fn restart(&mut self) {
        self.logs.push(self.program.log());
        self.program = self.world.run();
    }

    fn stop_program(&mut self) {
        if !self.program.is_running() {
            self.keep_running();
        }
        self.program.term();
        let status = self.program.wait(Duration::from_secs(30));
        let alive = SIGNS_OF_LIFE.iter().any(|sign| self.program.log_contains(sign));
        // One that is just starting does not know signals yet.
        let fine = status.code() == Some(0) || !alive || self.is_helpless(&self.program);
        assert!(fine, "after SIGTERM: {}", self.program.story());
    }

    /// Redis is reached as quickly as it can be.
    pub(super) fn open_the_way(&mut self) {
        if let Target::One(redis) = &self.redis {
            redis.throttle(0);
        }
    }

    /// The cluster, where Redis is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.redis {
            Target::One(_) => None,
            Target::Cluster(nodes) => Some(&nodes.cluster),
        }
    }

    fn nodes(&mut self) -> &mut Nodes {
        match &mut self.redis {
            Target::Cluster(nodes) => nodes,
            Target::One(_) => panic!("Redis is no cluster"),
        }
    }

    fn way(&mut self, way: Way) -> &mut Proxy {
        match way {
            Way::Redis => self.one_redis(),
            Way::Postgres => &mut self.postgres,
        }
    }

    fn one_redis(&mut self) -> &mut Proxy {
        match &mut self.redis {
            Target::One(proxy) => proxy,
            Target::Cluster(_) => panic!("each node of a cluster has its own way"),
        }
    }

    fn fail_over(&mut self) {
        self.world.redis::<()>(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let mut replica = Redis::start(rd::Settings::durable()).unwrap();
        let ask = |port: u16, command: &[&str]| -> String {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            redis::cmd(command[0]).arg(&command[1..]).query(&mut client.get_connection().unwrap()).unwrap()
        };
        let field = |port: u16, name: &str| {
            let info = ask(port, &["INFO"]);
            info.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).map(str::to_owned)
        };
        let is = |port: u16, name: &str, value: &str| field(port, name).is_some_and(|found| found == value);
        let (old, new) = (self.world.redis_port(), replica.port());
        // Not in its settings: started again, it would look for its former primary.
        ask(new, &["REPLICAOF", "127.0.0.1", &old.to_string()]);
        self.world.eventually("the replica follows, and would survive a kill -9", || {
            is(new, "master_link_status", "up")
                && is(new, "aof_enabled", "1")
                && is(new, "aof_rewrite_in_progress", "0")
                && is(new, "aof_rewrite_scheduled", "0")
        });
        self.one_redis().refuse(true);
        self.one_redis().cut();
        self.world.eventually("the replica has everything", || {
            // What the program had sent is carried out, since its connection is gone.
            let offset = field(old, "master_repl_offset");
            let connected = ask(old, &["CLIENT", "LIST", "TYPE", "normal"]).lines().count();
            connected <= 2
                && field(new, "slave_repl_offset") == offset
                && field(old, "master_repl_offset") == offset
        });
        std::mem::swap(&mut *self.world.redis_server(), &mut replica);
        replica.kill9();
        ask(new, &["REPLICAOF", "NO", "ONE"]);
        self.one_redis().lead_to(new);
        self.one_redis().refuse(false);
    }
}
