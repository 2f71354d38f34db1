//! The ways to PostgreSQL: TLS, passwords, certificates, files and variables of libpq, several hosts.
//!
//! Each test has a server with its own `pg_hba.conf`, on which the test's superuser is trusted and other roles
//! are not; the server's log tells which connections had TLS.

mod certificates;
mod given;
mod hosts;
mod passwords;
mod tls;

use std::fs;
use std::time::Duration;

use redis_connect_postgres::throwaway::postgres as pg;

use crate::harness::{Authority, Config, Connector, Settings, World};

/// A server that lets roles in as `hba` says, and the test as ever.
pub(crate) fn server(hba: &str) -> World {
    let postgres = pg::Settings::default().set("log_connections", "on");
    let world = World::with(Settings { postgres: Some(postgres), ..Settings::default() });
    world.sql("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let lines = format!("{hba}\nhost all postgres all trust\nlocal all postgres trust\n");
    world.postgres().put_file("pg_hba.conf", &lines).unwrap();
    world.sql("SELECT pg_reload_conf()");
    world
}

/// Gives the server a certificate of this authority.
fn with_tls(world: &World, authority: &Authority, names: &[&str]) {
    let server = authority.server("server", names);
    let put = |name: &str, path| world.postgres().put_file(name, &fs::read_to_string(path).unwrap()).unwrap();
    put("server.crt", server.certificate);
    put("server.key", server.key);
    put("ca.crt", authority.file());
    world.sql("ALTER SYSTEM SET ssl = on");
    world.sql("ALTER SYSTEM SET ssl_ca_file = 'ca.crt'");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("the server has TLS", || world.value::<String>("SHOW ssl") == "on");
}

fn role(world: &World, name: &str, password: &str) {
    world.sql(&format!("CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{password}'"));
}

/// The URL of this role, with options.
fn url(world: &World, user: &str, options: &str) -> String {
    format!("postgresql://{user}@127.0.0.1:{}/{}?{options}", world.postgres_port(), world.name)
}

/// Runs the program once; its log if it succeeded, else its error.
fn run(world: &World, url: &str, source: &str, variables: &[(&str, &str)]) -> Result<String, String> {
    world.configure(&Config { source_url: Some(format!("\"{url}\"")), source, ..Config::default() });
    let mut command = Connector::command();
    command.args(["run", "--until-caught-up", "-c"]).arg(world.config_file());
    // Files of the developer's must not count.
    command.env("HOME", world.directory()).envs(variables.iter().copied());
    let connector = Connector::spawn(command);
    let status = connector.wait(Duration::from_secs(60));
    if status.success() { Ok(connector.log()) } else { Err(connector.log()) }
}

/// What the server says of the last connection of a role that it let in.
fn last_login(world: &World, user: &str) -> String {
    let log = world.postgres_log();
    let authorized = format!("connection authorized: user={user} ");
    log.lines().rfind(|line| line.contains(&authorized)).unwrap_or_default().to_owned()
}

#[track_caller]
fn assert_tls(world: &World, user: &str, expected: bool) {
    world.eventually("the login is in the log", || !last_login(world, user).is_empty());
    let line = last_login(world, user);
    assert_eq!(line.contains("SSL enabled"), expected, "{line}");
}

#[track_caller]
fn assert_says(result: Result<String, String>, words: &[&str]) {
    let log = result.expect_err("it should not have connected");
    for word in words {
        assert!(log.contains(word), "{word} is missing in\n{log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}
