//! Failover slots, which PostgreSQL has since 17: a standby that synchronises slots goes on from where the
//! primary was.

use redis_connect_postgres::throwaway::{Shutdown, postgres as pg};

use super::needs;
use super::standby::standby_of;
use crate::harness::{Config, Connector, World};

/// A primary, its standby, and the program, which knows both.
struct Pair {
    world: World,
    standby: pg::Postgres,
    connector: Connector,
}

impl Pair {
    fn begin(version: u32, synchronised: bool) -> Pair {
        let world = World::own_of(version, &[]);
        world.sql(
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'a' FROM generate_series(1, 100) i",
        );
        let switch = if synchronised { "on" } else { "off" };
        let settings = pg::Settings::default()
            .set("primary_slot_name", "standby")
            .set("sync_replication_slots", switch)
            .set("hot_standby_feedback", "on");
        let standby = standby_of(&world, settings);
        world.sql("SELECT pg_create_physical_replication_slot('standby')");
        let url = format!(
            "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/{}",
            world.postgres_port(),
            standby.port(),
            world.name
        );
        world.configure(&Config { source_url: Some(url), source: "retain: 0s", ..Config::default() });
        let connector = world.run();
        world.eventually_equal(&["t"]);
        world.eventually("it streams", || connector.log_contains("streaming from"));
        Pair { world, standby, connector }
    }

    fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.standby.database_url(&self.world.name), postgres::NoTls).unwrap()
    }

    /// The standby has everything, and then the primary is gone.
    fn fail_over(&self) {
        let here: String = self.world.value("SELECT pg_current_wal_lsn()");
        let mut client = self.client();
        self.world.eventually("the standby has everything", || {
            let sql = format!("SELECT pg_last_wal_replay_lsn() >= '{here}'");
            client.query_one(&sql, &[]).unwrap().get(0)
        });
        self.world.postgres().stop(Shutdown::Immediate).unwrap();
        // It comes to the standby before that is promoted, and waits.
        self.world.eventually("it waits", || self.connector.log_contains("it is a standby"));
        self.standby.promote().unwrap();
    }

    fn values(&self) -> Vec<String> {
        let rows = self.client().query("SELECT id || ' ' || v FROM t ORDER BY id", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn redis(&self) -> Vec<String> {
        let keys = self.world.keys("t:*");
        // One that was there may have gone since.
        let row = |key: &String| Some((key[2..].parse().unwrap(), self.world.hash(key).get("v")?.clone()));
        let mut rows: Vec<(i32, String)> = keys.iter().filter_map(row).collect();
        rows.sort();
        rows.into_iter().map(|(id, v)| format!("{id} {v}")).collect()
    }

    fn eventually_equal(&self) {
        let expected = self.values();
        self.world.eventually_eq("Redis has the standby's rows", &expected, || self.redis());
    }
}

fn goes_on(version: u32) {
    let pair = Pair::begin(version, true);
    let slot = pair.world.slot();
    let failover = format!("SELECT failover FROM pg_replication_slots WHERE slot_name = '{slot}'");
    assert!(pair.world.value::<String>(&failover) == "t");
    pair.world.sql("UPDATE t SET v = 'b' WHERE id <= 50");
    pair.world.eventually_equal(&["t"]);
    let synced = format!(
        "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND synced AND NOT temporary"
    );
    let mut client = pair.client();
    pair.world.within(std::time::Duration::from_secs(90), "the slot is synchronised", || {
        // The standby takes the slot when the primary has confirmed something new.
        pair.world.sql("SELECT pg_log_standby_snapshot(); UPDATE t SET v = v || '.' WHERE id = 1");
        client.query_one(&synced, &[]).unwrap().get::<_, i64>(0) == 1
    });
    pair.fail_over();
    let mut client = pair.client();
    client.batch_execute("UPDATE t SET v = 'c' WHERE id > 90; DELETE FROM t WHERE id = 2").unwrap();
    pair.eventually_equal();
    assert!(!pair.connector.log_contains("resnapshot"), "{}", pair.connector.story());
}

#[test]
fn a_synchronised_slot_goes_on_17() {
    needs!(17);
    goes_on(17);
}

#[test]
fn a_synchronised_slot_goes_on_18() {
    needs!(18);
    goes_on(18);
}

/// Without it, what was committed between the failover and the new slot would be missing: a gap.
#[test]
fn without_the_slot_it_is_a_gap() {
    needs!(17);
    let pair = Pair::begin(17, false);
    pair.world.sql("UPDATE t SET v = 'b' WHERE id <= 50");
    pair.world.eventually_equal(&["t"]);
    pair.fail_over();
    let mut client = pair.client();
    client.batch_execute("UPDATE t SET v = 'c' WHERE id > 90; DELETE FROM t WHERE id = 2").unwrap();
    pair.eventually_equal();
    assert!(pair.connector.log_contains("does not exist any more"), "{}", pair.connector.story());
}
