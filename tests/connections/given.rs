//! Where settings come from: the words of libpq, its variables, its password file and its service file.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::{assert_says, role, run, server};

#[test]
fn words_variables_and_files() {
    let world = server("host all app all scram-sha-256");
    role(&world, "app", "hun:ter2");
    let (port, name) = (world.postgres_port().to_string(), world.name.clone());
    let words = format!("host=127.0.0.1 port={port} dbname={name} user=app");
    run(&world, &words, "password: hun:ter2", &[]).unwrap();
    run(&world, &format!("{words} password='hun:ter2'"), "", &[]).unwrap();

    let variables = [
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGDATABASE", &name),
        ("PGUSER", "app"),
        ("PGAPPNAME", "named"),
    ];
    run(&world, "postgresql://", "password: hun:ter2", &variables).unwrap();
    let log = world.postgres_log();
    assert!(log.contains("application_name=named"), "{log}");
    // What is written counts more than a variable.
    let wrong = [("PGHOST", "no.such.host.invalid"), ("PGPASSWORD", "hun:ter2"), ("PGDATABASE", "none")];
    run(&world, &words, "", &wrong).unwrap();
    let refused = run(&world, &words, "", &[("PGSSLMODE", "nonsense")]);
    assert_says(refused, &["sslmode is not one of", "PGSSLMODE"]);

    let passfile = world.directory().join(".pgpass");
    let lines =
        format!("# a comment\n127.0.0.1:1:*:app:wrong\n*:{port}:{name}:app:hun\\:ter2\n*:*:*:*:later\n");
    fs::write(&passfile, lines).unwrap();
    fs::set_permissions(&passfile, Permissions::from_mode(0o644)).unwrap();
    assert_says(run(&world, &words, "", &[]), &["asks for a password", "chmod 600"]);
    fs::set_permissions(&passfile, Permissions::from_mode(0o600)).unwrap();
    run(&world, &words, "", &[]).unwrap();
    let elsewhere = world.directory().join("elsewhere");
    fs::rename(&passfile, &elsewhere).unwrap();
    run(&world, &words, "", &[("PGPASSFILE", elsewhere.to_str().unwrap())]).unwrap();
    run(&world, &format!("{words} passfile={}", elsewhere.display()), "", &[]).unwrap();

    let services = world.directory().join("services");
    let text = format!(
        "# a comment\n[other]\nhost=no.such.host.invalid\n\n[mine]\n{}\npassword=hun:ter2\n[last]\nx=y\n",
        words.replace(' ', "\n")
    );
    fs::write(&services, text).unwrap();
    let file = services.to_str().unwrap().to_owned();
    run(&world, "service=mine", "", &[("PGSERVICEFILE", &file)]).unwrap();
    run(&world, "postgresql:///?service=mine", "", &[("PGSERVICEFILE", &file), ("PGPORT", "1")]).unwrap();
    run(&world, "postgresql://", "", &[("PGSERVICEFILE", &file), ("PGSERVICE", "mine")]).unwrap();
    run(&world, &format!("service=mine servicefile={file}"), "", &[]).unwrap();
    assert_says(run(&world, "service=none", "", &[("PGSERVICEFILE", &file)]), &["no service file"]);
    assert_says(run(&world, "service=last", "", &[("PGSERVICEFILE", &file)]), &["not known", "service file"]);
}

#[test]
fn unix_sockets_and_ipv6() {
    let world = server("local all app scram-sha-256\nhost all app ::1/128 scram-sha-256");
    role(&world, "app", "hunter2");
    let sockets = world.postgres().socket_directory().to_str().unwrap().to_owned();
    let (port, name) = (world.postgres_port(), world.name.clone());
    let words = format!("host={sockets} port={port} dbname={name} user=app sslmode=verify-full");
    // There is no TLS on a socket of the machine.
    run(&world, &words, "password: hunter2", &[]).unwrap();
    let passfile = world.directory().join(".pgpass");
    fs::write(&passfile, format!("{sockets}:{port}:*:app:hunter2\n")).unwrap();
    fs::set_permissions(&passfile, Permissions::from_mode(0o600)).unwrap();
    run(&world, &words, "", &[]).unwrap();
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    world.sql("ALTER SYSTEM SET listen_addresses = '127.0.0.1,::1'");
    world.postgres().restart(redis_connect_postgres::throwaway::Shutdown::Fast).unwrap();
    let url = format!("postgresql://app@[::1]:{port}/{name}");
    run(&world, &url, "password: hunter2", &[]).unwrap();
}
