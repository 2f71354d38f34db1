//! Certificates of clients.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::{assert_says, role, run, server, url, with_tls};
use crate::harness::Authority;

#[test]
fn instead_of_a_password() {
    let world = server("hostssl all client all cert");
    role(&world, "client", "hunter2");
    let authority = Authority::new(world.directory(), "authority");
    let stranger = Authority::new(world.directory(), "stranger");
    with_tls(&world, &authority, &["localhost"]);
    let options = |certificate: &crate::harness::Certificate| {
        let (file, key) = (certificate.certificate.display(), certificate.key.display());
        format!("sslmode=require&sslcert={file}&sslkey={key}")
    };
    let client = authority.client("client", "client");
    run(&world, &url(&world, "client", &options(&client)), "", &[]).unwrap();
    assert_says(run(&world, &url(&world, "client", "sslmode=require"), "", &[]), &["certificate"]);
    let not_shown = format!("{}&sslcertmode=disable", options(&client));
    assert_says(run(&world, &url(&world, "client", &not_shown), "", &[]), &["certificate"]);
    let unknown = stranger.client("unknown", "client");
    assert_says(run(&world, &url(&world, "client", &options(&unknown)), "", &[]), &["PostgreSQL at"]);
    let other = authority.client("other", "somebody");
    assert_says(run(&world, &url(&world, "client", &options(&other)), "", &[]), &["28000"]);
    // Where libpq looks when nothing is said.
    let usual = world.directory().join(".postgresql");
    fs::create_dir(&usual).unwrap();
    fs::copy(&client.certificate, usual.join("postgresql.crt")).unwrap();
    fs::copy(&client.key, usual.join("postgresql.key")).unwrap();
    run(&world, &url(&world, "client", "sslmode=require"), "", &[]).unwrap();
    fs::set_permissions(&client.key, Permissions::from_mode(0o644)).unwrap();
    let refused = run(&world, &url(&world, "client", &options(&client)), "", &[]);
    assert_says(refused, &["may be read by others", "chmod 600"]);
}
