//! A role that may log in, replicate and read the captured tables, and a publication that their owner
//! made: with that, everything works.

use redis_connect_postgres::throwaway::{postgres as pg, redis as rd};

use crate::harness::{Config, Settings, World};

struct Owner<'a>(&'a World);

impl Owner<'_> {
    fn run(&self, statements: &str) {
        self.0.sql(&format!("SET ROLE app; {statements}; RESET ROLE"));
    }
}

#[test]
fn everything_works() {
    let world =
        World::with(Settings { postgres: Some(pg::Settings::default()), redis: rd::Settings::default() });
    world.sql(&format!(
        "CREATE ROLE app; CREATE ROLE repl LOGIN REPLICATION; CREATE SCHEMA shop AUTHORIZATION app;
         GRANT CREATE ON DATABASE {} TO app; REVOKE ALL ON SCHEMA public FROM PUBLIC",
        world.name
    ));
    let owner = Owner(&world);
    owner.run(
        "CREATE TABLE shop.t (id int PRIMARY KEY, v text); INSERT INTO shop.t SELECT i, 'x' FROM generate_series(1, 3000) i;
         CREATE TABLE shop.hidden (id int PRIMARY KEY); GRANT USAGE ON SCHEMA shop TO repl; GRANT SELECT ON shop.t TO repl;
         CREATE PUBLICATION shop FOR TABLE shop.t",
    );
    let url = format!("postgresql://repl@127.0.0.1:{}/{}", world.postgres_port(), world.name);
    world.configure(&Config {
        source_url: Some(url),
        source: "publication: shop",
        tables: "shop.*: [{ type: hash }, { type: stream, key: 'events:{table}' }, { type: string, key: 's:{table}:{id}' }]",
        top: "snapshot: { range_rows: 1000 }",
        ..Config::default()
    });
    let file = world.config_file().to_string_lossy().into_owned();
    let command = |arguments: &[&str]| {
        let (command, rest) = arguments.split_first().unwrap();
        let (code, ended) = world.finish(&[&[*command, "-c", &file], rest].concat());
        (code, format!("{}{}", ended.stdout(), ended.log()))
    };
    let (code, told) = command(&["check"]);
    assert_eq!(code, Some(0), "{told}");
    let connector = world.run();
    world.eventually("the snapshot is read", || connector.log_contains("streaming from"));
    // Values that an UPDATE leaves alone are read again, which the role may.
    owner.run("ALTER TABLE shop.t ALTER v SET STORAGE EXTERNAL; UPDATE shop.t SET v = repeat('y', 100000) WHERE id = 1");
    owner.run(
        "UPDATE shop.t SET id = -1 WHERE id = 1; DELETE FROM shop.t WHERE id = 2; INSERT INTO shop.t VALUES (0, 'new')",
    );
    world.eventually("the key has changed", || {
        world.keys("s:shop.t:-1").len() == 1
            && world.keys("s:shop.t:1").is_empty()
            && world.keys("shop.t:0").len() == 1
    });
    // A new table: its owner is told what to run.
    owner.run("CREATE TABLE shop.u (id int PRIMARY KEY); INSERT INTO shop.u VALUES (7); GRANT SELECT ON shop.u TO repl");
    world.eventually("the statement is told", || {
        connector.log_contains(r#"ALTER PUBLICATION "shop" ADD TABLE ONLY "shop"."u""#)
    });
    owner.run("ALTER PUBLICATION shop ADD TABLE shop.u");
    world.eventually("the row is there", || !world.hash("shop.u:7").is_empty());
    // A row that Redis refuses, read again when it is replayed.
    world.redis::<()>(&["SET", "shop.t:9000", "x"]);
    owner.run("INSERT INTO shop.t VALUES (9000, 'poison')");
    let letters = format!("redis-connect-postgres:{}:dlq", world.name);
    world.eventually("the letter is there", || world.redis::<u32>(&["XLEN", &letters]) == 1);
    let (code, told) = command(&["dlq", "list"]);
    assert!(code == Some(0) && told.contains("shop.t") && told.contains("WRONGTYPE"), "{told}");
    world.redis::<()>(&["DEL", "shop.t:9000"]);
    let (code, told) = command(&["dlq", "replay"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(world.hash("shop.t:9000")["v"], "poison");
    let (code, told) = command(&["snapshot", "shop.t"]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = command(&["verify"]);
    assert_eq!(code, Some(0), "{told}");
    world.redis::<()>(&["DEL", "shop.t:500"]);
    let (code, told) = command(&["verify", "--repair"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(world.hash("shop.t:500")["v"], "x");
    assert!(world.keys("*hidden*").is_empty());
    connector.term();
    assert!(connector.wait(std::time::Duration::from_secs(30)).success(), "{}", connector.story());
    let (code, told) = command(&["reset", "--yes"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("publication shop kept"), "{told}");
    assert_eq!(world.value::<i64>("SELECT count(*) FROM pg_replication_slots"), 0);
    world.once();
}
