//! TLS to Redis: whom we trust, whom the server trusts, and what is said when one of them doesn't.

use redis_connect_postgres::throwaway::{Directory, free_port, redis as rd};

use super::fails;
use crate::harness::{Authority, Certificate, Config, Settings, Table, World};

/// A Redis with a port for TLS beside the plain one, over which the test itself looks.
struct Encrypted {
    world: World,
    directory: Directory,
    authority: Authority,
    port: u16,
}

impl Encrypted {
    /// `clients`: `tls-auth-clients`.
    fn new(clients: &str, certificate: impl Fn(&Authority) -> Certificate) -> Encrypted {
        let directory = Directory::new("certificates").unwrap();
        let authority = Authority::new(directory.path(), "authority");
        let Certificate { certificate, key } = certificate(&authority);
        let port = free_port().unwrap();
        let redis = rd::Settings::default()
            .set("tls-port", &port.to_string())
            .set("tls-cert-file", certificate.to_str().unwrap())
            .set("tls-key-file", key.to_str().unwrap())
            .set("tls-ca-cert-file", authority.file().to_str().unwrap())
            .set("tls-auth-clients", clients);
        let world = World::with(Settings { redis, ..Settings::default() });
        world.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')");
        Encrypted { world, directory, authority, port }
    }

    /// Writes a configuration with this under `target.tls`, if anything.
    fn configure(&self, scheme: &str, host: &str, tls: &str) {
        let target_url = Some(format!("{scheme}://{host}:{}/0", self.port));
        let target = if tls.is_empty() { String::new() } else { format!("tls: {{ {tls} }}") };
        self.world.configure(&Config { target_url, target: &target, ..Config::default() });
    }

    fn trusting(&self, also: &str) -> String {
        format!("ca_file: {}{also}", self.authority.file().display())
    }

    #[track_caller]
    fn arrives(&self) {
        self.world.sql("INSERT INTO t SELECT 1 + max(id), 'more' FROM t");
        self.world.run_until_caught_up();
        self.world.assert_table(&Table::new("t"));
    }
}

fn local(authority: &Authority) -> Certificate {
    authority.server("server", &["localhost", "127.0.0.1"])
}

fn named(authority: &Authority) -> Certificate {
    authority.server("server", &["redis.example"])
}

#[test]
fn the_right_authority() {
    let it = Encrypted::new("no", local);
    for host in ["localhost", "127.0.0.1"] {
        it.configure("rediss", host, &it.trusting(""));
        it.arrives();
    }
    // Any certificate will do: nothing about authorities has to be known.
    it.configure("rediss", "localhost", "verify: none");
    it.arrives();
}

/// What nobody configured is what the system trusts; here a file that the variable names.
#[test]
fn the_systems_roots() {
    let it = Encrypted::new("no", local);
    it.configure("rediss", "localhost", "");
    let mut command = crate::harness::Connector::command();
    command.env("SSL_CERT_FILE", it.authority.file());
    command.args(["run", "--once", "-c", it.world.config_file().to_str().unwrap()]);
    let connector = it.world.spawn(command);
    let status = connector.wait(std::time::Duration::from_secs(30));
    assert!(status.success(), "{}", connector.story());
    it.world.assert_table(&Table::new("t"));
}

#[test]
fn an_unknown_authority() {
    let it = Encrypted::new("no", local);
    let stranger = Authority::new(it.directory.path(), "stranger");
    it.configure("rediss", "localhost", &format!("ca_file: {}", stranger.file().display()));
    fails(&it.world, &["TLS", "stranger.crt (target.tls.ca_file)", "name the PEM file"]);
    it.configure("rediss", "localhost", &format!("ca_file: {}, verify: ca", stranger.file().display()));
    fails(&it.world, &["stranger.crt (target.tls.ca_file)"]);
    it.configure("rediss", "localhost", "");
    fails(&it.world, &["TLS", "target.tls.ca_file"]);
    it.configure("rediss", "localhost", "ca_file: /nonexistent/ca.pem");
    fails(&it.world, &["target.tls", "/nonexistent/ca.pem", "No such file"]);
    it.configure("rediss", "localhost", &format!("ca_file: {}", it.world.config_file().display()));
    fails(&it.world, &["target.tls", "config.yaml", "no certificate"]);
}

#[test]
fn another_name() {
    let it = Encrypted::new("no", named);
    it.configure("rediss", "localhost", &it.trusting(""));
    fails(&it.world, &["not for localhost, but for redis.example", "target.tls.server_name"]);
    it.configure("rediss", "127.0.0.1", &it.trusting(""));
    fails(&it.world, &["not for 127.0.0.1", "target.tls.server_name"]);
    it.configure("rediss", "localhost", &it.trusting(", server_name: redis.example"));
    it.arrives();
    it.configure("rediss", "localhost", &it.trusting(", verify: ca"));
    it.arrives();
}

#[test]
fn expired() {
    let it = Encrypted::new("no", |authority| authority.expired_server("old", &["localhost"]));
    it.configure("rediss", "localhost", &it.trusting(""));
    fails(&it.world, &["TLS", "has expired", "renew it"]);
    it.configure("rediss", "localhost", &it.trusting(", verify: ca"));
    fails(&it.world, &["has expired"]);
}

#[test]
fn clients_show_certificates() {
    let it = Encrypted::new("yes", local);
    it.configure("rediss", "localhost", &it.trusting(""));
    fails(&it.world, &["TLS", "target.tls.cert_file", "target.tls.key_file"]);

    let files = |Certificate { certificate, key }: Certificate| {
        it.trusting(&format!(", cert_file: {}, key_file: {}", certificate.display(), key.display()))
    };
    let stranger = Authority::new(it.directory.path(), "stranger");
    it.configure("rediss", "localhost", &files(stranger.client("spy", "app")));
    fails(&it.world, &["TLS", "does not accept the certificate in target.tls.cert_file", "tls-ca-cert-file"]);

    let good = it.authority.client("client", "app");
    it.configure("rediss", "localhost", &files(good.clone()));
    it.arrives();
    let swapped = Certificate { certificate: good.key, key: good.certificate };
    it.configure("rediss", "localhost", &files(swapped));
    fails(&it.world, &["target.tls", "client.key"]);
}

#[test]
fn the_wrong_port() {
    let it = Encrypted::new("no", local);
    it.configure("redis", "localhost", "");
    fails(&it.world, &["rediss://"]);
    let target_url = Some(format!("rediss://localhost:{}/0", it.world.redis_port()));
    it.world.configure(&Config { target_url, ..Config::default() });
    fails(&it.world, &["TLS", "write redis://"]);
}
