//! `sslmode`, with libpq's meaning.

use std::fs;

use super::{assert_says, assert_tls, run, server, url, with_tls};
use crate::harness::{Authority, World};

const HBA: &str = "
    hostssl all tls all trust
    hostnossl all plain all trust
    host all either all trust";

fn world() -> World {
    let world = server(HBA);
    for name in ["tls", "plain", "either"] {
        super::role(&world, name, "hunter2");
    }
    world
}

#[track_caller]
fn connects(world: &World, user: &str, options: &str, tls: bool) {
    let done = run(world, &url(world, user, options), "", &[]);
    done.unwrap_or_else(|log| panic!("{user} {options}: {log}"));
    assert_tls(world, user, tls);
}

#[test]
fn with_and_without() {
    let world = world();
    assert_says(
        run(&world, &url(&world, "either", "sslmode=require"), "", &[]),
        &["does not offer TLS", "ssl = on"],
    );
    connects(&world, "either", "sslmode=prefer", false);
    let authority = Authority::new(world.directory(), "authority");
    with_tls(&world, &authority, &["localhost"]);
    connects(&world, "either", "sslmode=disable", false);
    connects(&world, "either", "sslmode=allow", false);
    connects(&world, "either", "sslmode=prefer", true);
    connects(&world, "either", "sslmode=require", true);
    // What the server refuses one way is tried the other way.
    connects(&world, "tls", "sslmode=allow", true);
    connects(&world, "plain", "sslmode=prefer", false);
    assert_says(run(&world, &url(&world, "tls", "sslmode=disable"), "", &[]), &["no encryption", "28000"]);
    assert_says(run(&world, &url(&world, "plain", "sslmode=require"), "", &[]), &["no pg_hba.conf entry"]);
}

#[test]
fn certificates_are_checked() {
    let world = world();
    let authority = Authority::new(world.directory(), "authority");
    let stranger = Authority::new(world.directory(), "stranger");
    with_tls(&world, &authority, &["localhost"]);
    let with = |mode: &str, file: &Authority| format!("sslmode={mode}&sslrootcert={}", file.file().display());
    for mode in ["require", "verify-ca"] {
        connects(&world, "tls", &with(mode, &authority), true);
        let refused = run(&world, &url(&world, "tls", &with(mode, &stranger)), "", &[]);
        assert_says(refused, &["TLS", "sslrootcert"]);
    }
    // The certificate is for localhost, not for an address.
    let refused = run(&world, &url(&world, "tls", &with("verify-full", &authority)), "", &[]);
    assert_says(refused, &["verify-full"]);
    let named = url(&world, "tls", &with("verify-full", &authority)).replace("127.0.0.1", "localhost");
    run(&world, &named, "", &[]).unwrap();
    // The address can be given beside the name.
    let both = format!("{named}&hostaddr=127.0.0.1");
    run(&world, &both, "", &[]).unwrap();
    let system = run(&world, &named.replace(&authority.file().display().to_string(), "system"), "", &[]);
    assert_says(system, &["TLS"]);
    // With certificates that do not hold, `prefer` goes on without TLS, as libpq does.
    connects(&world, "either", &with("prefer", &stranger), false);
    // A file at the usual place counts like one that is named.
    fs::create_dir(world.directory().join(".postgresql")).unwrap();
    fs::copy(stranger.file(), world.directory().join(".postgresql/root.crt")).unwrap();
    assert_says(run(&world, &url(&world, "tls", "sslmode=require"), "", &[]), &["TLS"]);
}

/// What `openssl req -x509` makes: the server's certificate is its own authority.
#[test]
fn self_signed() {
    let world = world();
    let authority = Authority::new(world.directory(), "self");
    let put = |name: &str, text: String| world.postgres().put_file(name, &text).unwrap();
    put("server.crt", fs::read_to_string(authority.file()).unwrap());
    put("server.key", authority.key());
    world.sql("ALTER SYSTEM SET ssl = on");
    world.sql("SELECT pg_reload_conf()");
    world.eventually("the server has TLS", || world.value::<String>("SHOW ssl") == "on");
    let file = authority.file();
    connects(&world, "tls", &format!("sslmode=verify-ca&sslrootcert={}", file.display()), true);
    let full = url(&world, "tls", &format!("sslmode=verify-full&sslrootcert={}", file.display()));
    assert_says(run(&world, &full, "", &[]), &["verify-full"]);
}

/// TLS from the first byte, which PostgreSQL takes since 17.
#[test]
fn direct() {
    crate::versions::needs!(17);
    let world = World::own_of(17, &[]);
    world.sql("CREATE TABLE t (id int PRIMARY KEY)");
    let authority = Authority::new(world.directory(), "authority");
    with_tls(&world, &authority, &["localhost"]);
    let options =
        format!("sslnegotiation=direct&sslmode=verify-ca&sslrootcert={}", authority.file().display());
    run(&world, &url(&world, "postgres", &options), "", &[]).unwrap();
}
