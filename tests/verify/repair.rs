//! Mending beside a connector never writes what is older than what the connector has written.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{is_equal, report, verify};
use crate::harness::World;
use crate::hashes::{Live, Writer};

/// A hand spoils the keys of rows that change all the time, and repairs run meanwhile. In the end,
/// every row that was written after the last hand is right.
#[test]
fn repairs_do_not_fight_the_stream() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, n int, v text); INSERT INTO t SELECT g, 0, 'v' FROM generate_series(1, 200) g");
    let live =
        Live::tables(&world, "public.t: [{ type: hash }, { type: sorted_set, key: top, score: \"{n}\" }]");
    let writer = Writer::begin(&world, |count| {
        let from = count * 31 % 200;
        format!("UPDATE t SET n = n + 1, v = 'v{count}' WHERE id BETWEEN {from} AND {from} + 5")
    });
    let done = AtomicBool::new(false);
    let url = world.target_url();
    std::thread::scope(|scope| {
        let done = &done;
        scope.spawn(move || {
            let mut connection = redis::Client::open(url).unwrap().get_connection().unwrap();
            let mut id = 0;
            while !done.load(Relaxed) {
                id = id % 200 + 7;
                redis::cmd("HSET")
                    .arg(format!("t:{id}"))
                    .arg("v")
                    .arg("spoilt")
                    .exec(&mut connection)
                    .unwrap();
                redis::cmd("HSET")
                    .arg(format!("t:{}", id + 1000))
                    .arg("v")
                    .arg("x")
                    .exec(&mut connection)
                    .unwrap();
                redis::cmd("ZREM").arg("top").arg(id + 1).exec(&mut connection).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        });
        for _ in 0..3 {
            // Whatever it finds: it ends, and says so.
            let (code, found) = report(&world, &["--repair"]);
            assert!(code <= 1, "{found:#}");
        }
        done.store(true, Relaxed);
    });
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 0, "{output}");
    assert!(writer.stop() > 10);
    live.settle();
    is_equal(&world);
    world.assert_equal(&["t"]);
}

/// What Redis refuses is told, and mended when it does not refuse any more.
#[test]
fn what_can_not_be_mended_is_told() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    world.config("public.t: { type: hash }");
    world.once();
    world.redis::<i64>(&["HSET", "t:1", "v", "wrong"]);
    world.redis::<i64>(&["HSET", "t:3", "v", "surplus"]);
    world.redis::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("t:1: v is `wrong`, the row has `a`; not mended: OOM "), "{output}");
    // Redis 8 lets room be made.
    let refused = output.contains("t:3: a key of public.t that no row has; not mended: OOM ");
    let made_way = output.contains("t:3: a key of public.t that no row has; mended\n");
    assert!(refused || made_way, "{output}");
    let all = if refused { "compared: 2 different\n" } else { "compared: 2 different, 1 mended\n" };
    assert!(output.ends_with(all), "{output}");
    world.redis::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("t:1: v is `wrong`, the row has `a`; mended\n"), "{output}");
    assert!(made_way || output.contains("t:3: a key of public.t that no row has; mended\n"), "{output}");
    let all = if refused { "compared: 2 different, 2 mended\n" } else { "compared: 1 different, 1 mended\n" };
    assert!(output.ends_with(all), "{output}");
    is_equal(&world);
}

/// A commit can be on disk, and in Redis, before anybody can see it. The row that is seen is then older than
/// what Redis has, and must not replace it.
#[test]
fn a_commit_that_nobody_sees_yet() {
    let world = World::own();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)");
    let live = Live::tables(&world, "public.t: { type: hash }");
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("it is set", || world.value::<String>("SHOW synchronous_standby_names") == "nobody");
    let mut client = world.client();
    let changes = "UPDATE t SET n = 1 WHERE id = 1; INSERT INTO t VALUES (3, 1)";
    let writer = std::thread::spawn(move || client.batch_execute(changes));
    world.eventually("they are in Redis", || {
        world.hash("t:1")["n"] == "1" && world.hash("t:3").contains_key("n")
    });
    assert_eq!(world.value::<i64>("SELECT count(*) FROM t WHERE n = 1"), 0);
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("not mended: its table is written by a transaction that is still open"),
        "{output}"
    );
    assert_eq!(world.hash("t:1")["n"], "1");
    assert_eq!(world.hash("t:3")["n"], "1");
    world.sql("ALTER SYSTEM RESET synchronous_standby_names");
    world.sql("SELECT pg_reload_conf()");
    writer.join().unwrap().unwrap();
    world.redis::<i64>(&["HSET", "t:2", "n", "wrong"]);
    let (code, output) = verify(&world, &["--repair"]);
    assert_eq!(code, 0, "{output}");
    is_equal(&world);
    live.settle();
    world.assert_equal(&["t"]);
}
