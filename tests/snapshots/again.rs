//! A table is read again while others are streamed: these don't wait, and it ends right.

use std::collections::BTreeMap;
use std::thread;

use super::state;
use crate::harness::{Config, Proxy, World};
use crate::hashes::Live;
use crate::structures::entries;

const TABLES: &str = "public.t: [{ type: hash }, { type: stream, key: log }]\npublic.other: { type: hash }";

fn ask(world: &World, table: &str) {
    let requests = format!("redis-connect-postgres:{}:requests", world.name);
    world.redis::<i64>(&["HSET", &requests, &format!("snapshot:public.{table}"), "1"]);
}

fn is_read(world: &World) -> bool {
    state(world, "public.t").unwrap()["complete"] == true
}

/// Asks for both tables, and keeps them from being read: they are read together, and somebody is writing to one
/// until this client commits.
fn keep_unread(world: &World) -> postgres::Client {
    let mut writer = world.client();
    writer.batch_execute("BEGIN; INSERT INTO other VALUES (1, 0)").unwrap();
    ask(world, "t");
    ask(world, "other");
    world.eventually("it is to be read", || !is_read(world));
    writer
}

/// Rows of `t` in ranges of 1000, by way of a proxy, and a table that has nothing to do with it.
fn begin<'a>(world: &'a World, proxy: &Proxy, rows: u32, tables: &str) -> Live<'a> {
    world.sql(&format!(
        "CREATE TABLE other (id int PRIMARY KEY, v int); CREATE TABLE t (id int PRIMARY KEY, v text);
         INSERT INTO t SELECT i, repeat('v', 100) FROM generate_series(1, {rows}) i; ANALYZE t"
    ));
    Live::with(
        world,
        &Config {
            target_url: Some(world.target_url_at(proxy.port())),
            tables,
            top: "snapshot: { range_rows: 1000 }",
            ..Config::default()
        },
    )
}

/// Operations in the order of the stream, for each key.
fn told(world: &World) -> BTreeMap<String, String> {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    for (_, fields) in entries(world, "log") {
        told.entry(fields["key"].clone()).or_default().push_str(&fields["op"]);
    }
    told
}

/// With events, each change of its own and the rows in between.
#[test]
fn others_go_on_while_it_is_read() {
    const ROWS: u32 = 20_000;
    let world = World::new();
    let proxy = Proxy::to(world.redis_port());
    let live = begin(&world, &proxy, ROWS, TABLES);
    // It takes some seconds now.
    proxy.throttle(2_000_000);
    ask(&world, "t");
    world.eventually("it is being read", || !is_read(&world));
    for id in 1..=5 {
        world.sql(&format!(
            "INSERT INTO other VALUES ({id}, 0); UPDATE t SET v = '{id}' WHERE id IN ({id}, {ROWS} - {id});
             DELETE FROM t WHERE id = 100 + {id}; INSERT INTO t VALUES ({ROWS} + {id}, 'new')"
        ));
        world.eventually("another table goes on", || world.hash(&format!("other:{id}")).contains_key("v"));
        assert!(!is_read(&world), "it was read before row {id} of another table came");
    }
    proxy.throttle(0);
    world.eventually("it is read", || is_read(&world));
    live.settle();
    live.assert_equal(&["t", "other"]);
    let told = told(&world);
    let count = |key: u32, op: char| told[&key.to_string()].chars().filter(|c| *c == op).count();
    for key in 1..=ROWS + 5 {
        let (changed, gone, new) =
            (key <= 5 || (ROWS - 5..ROWS).contains(&key), (101..=105).contains(&key), key > ROWS);
        assert_eq!(count(key, 'u'), usize::from(changed), "{key}: {}", told[&key.to_string()]);
        assert_eq!(count(key, 'd'), usize::from(gone), "{key}: {}", told[&key.to_string()]);
        assert_eq!(count(key, 'c'), usize::from(new), "{key}: {}", told[&key.to_string()]);
        let rows = count(key, 'r');
        // Of what came and went meanwhile, as the reading has found it.
        assert!(if gone || new { rows <= 2 } else { rows == 2 }, "{key}: {}", told[&key.to_string()]);
        assert!(gone || !told[&key.to_string()].ends_with('d'));
    }
}

/// Keys of a former template are looked for while changes arrive; those of rows that come meanwhile stay.
#[test]
fn others_go_on_while_it_is_swept() {
    const ROWS: u32 = 20_000;
    let world = World::new();
    let proxy = Proxy::to(world.redis_port());
    let prefix = "a:rather:long:name:".repeat(5);
    let mut live = begin(
        &world,
        &proxy,
        ROWS,
        &format!("public.t: {{ type: hash, key: \"{prefix}{{id}}\" }}\npublic.other: {{ type: hash }}"),
    );
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    let key = format!("{prefix}now:{{id}}");
    world.configure(&Config {
        target_url: Some(world.target_url_at(proxy.port())),
        tables: &format!("public.t: {{ type: hash, key: \"{key}\" }}\npublic.other: {{ type: hash }}\npublic.marker: {{ type: hash }}"),
        top: "snapshot: { range_rows: 1000 }",
        ..Config::default()
    });
    live.start_again();
    world.eventually("it is swept", || live.connector.log_contains("looking for keys without a row"));
    proxy.throttle(500_000);
    let mut rows = 0;
    while !live.connector.log_contains("keys without a row removed") {
        rows += 1;
        world.sql(&format!(
            "INSERT INTO t VALUES ({ROWS} + {rows}, 'new'); INSERT INTO other VALUES ({rows}, 0)"
        ));
        world.eventually("another table goes on", || world.hash(&format!("other:{rows}")).contains_key("v"));
    }
    assert!(rows > 2, "only {rows} rows came while it was swept");
    proxy.throttle(0);
    live.settle();
    live.assert_equal(&["other"]);
    let keys = world.keys(&format!("{prefix}*"));
    let expected = (1..=ROWS + rows).map(|id| format!("{prefix}now:{id}")).collect();
    assert!(keys == expected, "{} keys for {} rows", keys.len(), expected.len());
}

/// A commit that nobody sees yet, and that Redis has, is not undone by a row from before it.
#[test]
fn a_commit_that_nobody_sees_yet() {
    for begun in [false, true] {
        let world = World::own();
        let proxy = Proxy::to(world.redis_port());
        let live = begin(&world, &proxy, 10_000, TABLES);
        if begun {
            proxy.throttle(1_000_000);
            ask(&world, "t");
            world.eventually("it is being read", || {
                state(&world, "public.t").unwrap()["rows"].as_u64() > Some(0) && !is_read(&world)
            });
        }
        world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        world.sql("SELECT pg_reload_conf()");
        world.eventually("it is set", || world.value::<String>("SHOW synchronous_standby_names") == "nobody");
        let mut client = world.client();
        let writer = thread::spawn(move || client.batch_execute("UPDATE t SET v = 'new' WHERE id = 9999"));
        world.eventually("it is in Redis", || world.hash("t:9999").get("v").is_some_and(|v| v == "new"));
        assert_ne!(world.value::<String>("SELECT v FROM t WHERE id = 9999"), "new");
        proxy.throttle(0);
        if !begun {
            ask(&world, "t");
            world.eventually("it is to be read", || !is_read(&world));
        }
        for id in 1..=20 {
            world.sql(&format!("SET synchronous_commit = local; INSERT INTO other VALUES ({id}, 0)"));
            world
                .eventually("another table goes on", || world.hash(&format!("other:{id}")).contains_key("v"));
        }
        assert!(!is_read(&world));
        assert_eq!(world.hash("t:9999")["v"], "new");
        world.sql("ALTER SYSTEM RESET synchronous_standby_names");
        world.sql("SELECT pg_reload_conf()");
        writer.join().unwrap().unwrap();
        world.eventually("it is read", || is_read(&world));
        live.settle();
        live.assert_equal(&["t", "other"]);
    }
}

/// A key of another table that the former template can have made is not taken away from it.
#[test]
fn keys_of_another_table_stay() {
    let world = World::new();
    world.sql(
        "CREATE TABLE a (id int PRIMARY KEY, name text NOT NULL UNIQUE); ALTER TABLE a REPLICA IDENTITY FULL; INSERT INTO a VALUES (1, 'n'), (2, 'm')",
    );
    world.sql("CREATE TABLE b (id int PRIMARY KEY); INSERT INTO b VALUES (1), (3)");
    world.config("public.a: { type: hash, key: \"x:{name}\" }");
    world.run_until_caught_up();
    world.config("public.a: { type: hash, key: \"a:{id}\" }\npublic.b: { type: hash, key: \"x:{id}\" }");
    world.run_until_caught_up();
    let mut keys = world.keys("*:*");
    keys.retain(|key| !key.starts_with("redis-connect"));
    assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["a:1", "a:2", "x:1", "x:3"]);
}

/// ALTER TABLE … TYPE … USING gives every row another value, and the stream says nothing of it.
#[test]
fn rows_are_written_anew_by_alter_table() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, n int); INSERT INTO t SELECT i, 'v', i FROM generate_series(1, 100) i");
    let mut live = Live::begin(&world);
    // Nothing of this changes a value.
    let noted = |what: &str| state(&world, "public.t").unwrap()[what].as_str().unwrap().to_owned();
    for statement in ["VACUUM FULL t", "CLUSTER t USING t_pkey"] {
        world.sql(statement);
        let now = "SELECT pg_relation_filenode('t')::text";
        world.eventually("it is noticed", || noted("files") == world.value::<String>(now));
    }
    world.sql("ALTER TABLE t ALTER n SET STATISTICS 10");
    assert!(!live.connector.log_contains("written anew"), "{}", live.connector.story());
    // Values from before arrive behind the catalog's.
    world.sql("UPDATE t SET v = 'w' WHERE id < 10; ALTER TABLE t ALTER v TYPE text USING upper(v)");
    world.eventually_equal(&["t"]);
    assert_eq!(world.hash("t:1")["v"], "W");
    assert_eq!(world.hash("t:50")["v"], "V");
    // Of the key, while nobody looks.
    live.settle();
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    world.sql("UPDATE t SET n = 0 WHERE id < 5; ALTER TABLE t ALTER id TYPE int USING id + 1000");
    live.start_again();
    world.eventually_equal(&["t"]);
    assert!(world.hash("t:1").is_empty());
    live.settle();
    live.assert_equal(&["t"]);
}

/// Definitions that come and go before the table is read leave neither fields nor keys behind.
#[test]
fn what_was_written_before_it_is_read() {
    let world = World::new();
    let proxy = Proxy::to(world.redis_port());
    let live =
        begin(&world, &proxy, 100, "public.t: { type: hash, key: \"t:{pk}\" }\npublic.other: { type: hash }");
    let mut writer = keep_unread(&world);
    world.sql("ALTER TABLE t ADD x text DEFAULT 'x'; INSERT INTO t VALUES (1000, 'new', 'x')");
    world.eventually("the column is written", || world.hash("t:1000").contains_key("x"));
    world.sql("ALTER TABLE t DROP x; UPDATE t SET v = 'w' WHERE id = 1");
    world.eventually("it is not any more", || world.hash("t:1").get("v").is_some_and(|v| v == "w"));
    world.sql("ALTER TABLE t ADD k int; UPDATE t SET k = id + 5000");
    world.eventually("the next column is written", || world.hash("t:100").contains_key("k"));
    world.sql("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (k)");
    world.sql("INSERT INTO t VALUES (2000, 'new', 7000)");
    world.eventually("the next key is written", || world.hash("t:7000").contains_key("v"));
    assert!(!is_read(&world), "{}", live.connector.story());
    writer.batch_execute("COMMIT").unwrap();
    world.eventually("it is read", || is_read(&world));
    live.settle();
    live.assert_equal(&["other"]);
    let (keys, rows) = (world.keys("t:*"), world.value::<i64>("SELECT count(*) FROM t"));
    assert_eq!((keys.len() as i64, rows), (rows, 102), "{keys:?}");
    let fields = |key: &str| world.hash(key).into_keys().collect::<Vec<_>>().join(" ");
    for key in &keys {
        assert!(
            key.len() == 6 && fields(key) == "id k v",
            "{key}: {}\n{}",
            fields(key),
            live.connector.story()
        );
    }
}

/// The configuration changes before it is read: what was written for the former one goes.
#[test]
fn configured_anew_before_it_is_read() {
    let world = World::new();
    let proxy = Proxy::to(world.redis_port());
    let tables =
        |key: &str| format!("public.t: {{ type: hash, key: \"{key}\" }}\npublic.other: {{ type: hash }}");
    let mut live = begin(&world, &proxy, 100, &tables("t:{id}"));
    let mut writer = keep_unread(&world);
    world.sql("INSERT INTO t VALUES (101, 'new')");
    world.eventually("a row comes before", || world.hash("t:101").contains_key("v"));
    live.connector.term();
    live.connector.wait(std::time::Duration::from_secs(30));
    assert!(!is_read(&world), "{}", live.connector.story());
    let marker = "public.marker: { type: hash }";
    world.configure(&Config {
        tables: &format!("{}\n{marker}", tables("t2:{id}")),
        top: "snapshot: { range_rows: 1000 }",
        ..Config::default()
    });
    live.start_again();
    writer.batch_execute("COMMIT").unwrap();
    world.eventually("it is read", || is_read(&world));
    live.settle();
    live.assert_equal(&["other"]);
    assert_eq!((world.keys("t:*").len(), world.keys("t2:*").len()), (0, 101), "{}", live.connector.story());
}

/// A table that is dropped and made anew before it is read: its stream is told, and former rows are removed.
#[test]
fn made_anew_before_it_is_read() {
    let world = World::new();
    let proxy = Proxy::to(world.redis_port());
    let live = begin(&world, &proxy, 100, TABLES);
    let mut writer = keep_unread(&world);
    world.sql("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (7, 'seven')");
    // The publication is not the one that the table was in.
    world.eventually("it is noticed", || live.connector.log_contains("made anew or changed"));
    assert!(!is_read(&world), "{}", live.connector.story());
    writer.batch_execute("COMMIT").unwrap();
    world.eventually("it is read", || is_read(&world));
    live.settle();
    live.assert_equal(&["t", "other"]);
    let told: Vec<String> =
        entries(&world, "log").into_iter().map(|(_, fields)| fields["op"].clone()).collect();
    assert_eq!(told.iter().filter(|op| *op == "g").count(), 1, "{told:?}");
    assert_eq!(told[told.len() - 2..], ["g", "r"]);
}
