//! Passwords where others could look.

use crate::harness::World;

/// The list of processes, which everybody can read.
#[test]
#[cfg(target_os = "linux")]
fn a_password_that_was_typed() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let source = world.source_url().replace("postgres@", "postgres:s3cr3t@");
    let target = world.target_url();
    let connector = world.start(&["run", "--source", &source, &format!("--target={target}")]);
    world.eventually("it runs", || !world.hash("t:1").is_empty());
    let file = |name: &str| std::fs::read(format!("/proc/{}/{name}", connector.pid())).unwrap();
    let arguments = String::from_utf8(file("cmdline")).unwrap();
    assert!(arguments.contains("run") && arguments.contains("--target=redis://"), "{arguments}");
    assert!(!arguments.contains("s3cr3t"), "{arguments}");
    assert!(!connector.log().contains("s3cr3t"), "{}", connector.log());
    connector.term();
    assert!(connector.wait(std::time::Duration::from_secs(30)).success(), "{}", connector.story());
}
