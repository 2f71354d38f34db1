//! Passwords: how they are proven, and how they are changed.

use std::fs;

use super::{assert_says, role, run, server, url, with_tls};
use crate::harness::{Authority, Config, World};

const HBA: &str = "
    host all scram all scram-sha-256
    host all hashed all md5
    host all clear all password
    host all trusted all trust";

fn world() -> World {
    let world = server(HBA);
    for name in ["scram", "clear", "trusted"] {
        role(&world, name, "hunter2");
    }
    world.sql("SET password_encryption = 'md5'");
    role(&world, "hashed", "hunter2");
    world.sql("RESET password_encryption");
    world
}

const GIVEN: &str = "password: hunter2";

#[test]
fn every_method() {
    let world = world();
    for user in ["scram", "hashed", "clear", "trusted"] {
        let log = run(&world, &url(&world, user, ""), GIVEN, &[]).unwrap();
        assert_eq!(log.contains("the password is sent as it is"), user == "clear", "{user}: {log}");
        if user != "trusted" {
            assert_says(run(&world, &url(&world, user, ""), "password: nothunter", &[]), &["28P01"]);
            assert_says(
                run(&world, &url(&world, user, ""), "", &[]),
                &["asks for a password", "source.password_file"],
            );
        }
    }
    for (user, allowed, succeeds) in [
        ("scram", "scram-sha-256", true),
        ("hashed", "scram-sha-256", false),
        ("hashed", "scram-sha-256,md5", true),
        ("clear", "!password", false),
        ("scram", "!password,!md5", true),
        ("trusted", "scram-sha-256", false),
        ("trusted", "none", true),
    ] {
        let done = run(&world, &url(&world, user, &format!("require_auth={allowed}")), GIVEN, &[]);
        match done {
            Ok(_) => assert!(succeeds, "{user} {allowed}"),
            Err(log) => assert!(!succeeds && log.contains("require_auth"), "{user} {allowed}: {log}"),
        }
    }
}

#[test]
fn channel_binding() {
    let world = world();
    let plain = run(&world, &url(&world, "scram", "channel_binding=require"), GIVEN, &[]);
    assert_says(plain, &["channel_binding=require", "SCRAM-SHA-256-PLUS"]);
    let authority = Authority::new(world.directory(), "authority");
    with_tls(&world, &authority, &["localhost"]);
    for binding in ["disable", "prefer", "require"] {
        let options = format!("sslmode=require&channel_binding={binding}");
        run(&world, &url(&world, "scram", &options), GIVEN, &[]).unwrap();
    }
    for user in ["hashed", "clear", "trusted"] {
        let options = "sslmode=require&channel_binding=require";
        assert_says(run(&world, &url(&world, user, options), GIVEN, &[]), &["channel_binding=require"]);
    }
}

/// The password is changed on the server, then in the file, and connections are cut in between.
#[test]
fn a_password_is_changed_while_it_streams() {
    let world = world();
    let file = world.directory().join("password");
    fs::write(&file, "hunter2\n").unwrap();
    let source = format!("password_file: {}", file.display());
    let source_url = Some(url(&world, "scram", ""));
    world.configure(&Config { source_url, source: &source, ..Config::default() });
    let connector = world.run();
    world.eventually("it streams", || connector.log_contains("streaming from"));
    world.sql("ALTER ROLE scram PASSWORD 'hunter22'");
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'scram'");
    world.eventually("the old password is refused", || connector.log_contains("28P01"));
    fs::write(&file, "hunter22").unwrap();
    world.sql("INSERT INTO t VALUES (2)");
    world.eventually_equal(&["t"]);
    assert!(!connector.log_contains("hunter2"), "{}", connector.story());
}
