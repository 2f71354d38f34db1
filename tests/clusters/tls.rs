//! A cluster that speaks TLS: every node is verified by the name or address under which the cluster names it.

use redis_connect_postgres::throwaway::{Directory, free_port, redis as rd};

use super::{Entries, TABLES, settle};
use crate::faults::Workload;
use crate::harness::{Authority, Cluster, Config, World, skip};

struct Encrypted {
    cluster: Cluster,
    ports: Vec<u16>,
    world: World,
    /// Holds the certificates.
    _directory: Directory,
    authority: Authority,
}

impl Encrypted {
    /// The certificate is for these names. Nodes have a plain port, too, over which the test itself looks.
    fn new(names: &[&str]) -> Self {
        let directory = Directory::new("certificates").unwrap();
        let authority = Authority::new(directory.path(), "authority");
        let (server, client) = (authority.server("server", names), authority.client("client", "node"));
        let mut ports = Vec::new();
        let cluster = Cluster::with_each(3, 0, || {
            ports.push(free_port().unwrap());
            let settings = [
                ("tls-port", ports.last().unwrap().to_string()),
                ("tls-cluster", "yes".to_owned()),
                ("tls-cert-file", server.certificate.display().to_string()),
                ("tls-key-file", server.key.display().to_string()),
                // For what nodes say to each other.
                ("tls-client-cert-file", client.certificate.display().to_string()),
                ("tls-client-key-file", client.key.display().to_string()),
                ("tls-ca-cert-file", authority.file().display().to_string()),
                ("tls-auth-clients", "no".to_owned()),
            ];
            let set = |all: rd::Settings, (name, value): &(&str, String)| all.set(name, value);
            Cluster::node(settings.iter().fold(rd::Settings::default(), set))
        });
        let world = World::new();
        Workload::prepare(&world, 1_000);
        world.sql("CREATE TABLE entry (id serial PRIMARY KEY)");
        Self { cluster, ports, world, _directory: directory, authority }
    }

    fn configure(&self, host: &str, tls: &str) {
        let ca = self.authority.file();
        let target = format!("tls: {{ ca_file: {}{tls} }}", ca.display());
        self.world.configure(&Config {
            target_url: Some(format!("rediss-cluster://{host}:{}", self.ports[0])),
            tables: TABLES,
            target: &target,
            ..Config::default()
        });
    }

    /// Nodes name each other by this name. False where the server knows no names.
    fn announce(&self, name: &str) -> bool {
        (0..3).all(|node| {
            let set = |setting: &str, value: &str| {
                self.cluster.try_ask::<String>(node, &["CONFIG", "SET", setting, value]).is_ok()
            };
            set("cluster-announce-hostname", name) && set("cluster-preferred-endpoint-type", "hostname")
        })
    }

    /// Rows come, also where slots move meanwhile.
    fn works(&self) {
        let (workload, entries) = (Workload::start(&self.world), Entries::start(&self.world));
        let connector = self.world.run();
        self.world.eventually("it streams", || connector.log_contains("streaming"));
        for key in ["log", "by_n", "account:1", "account:2"] {
            let slot: u16 = self.cluster.ask(0, &["CLUSTER", "KEYSLOT", key]);
            let to = (self.cluster.owner(slot) + 1) % 3;
            self.cluster.move_slot(slot, to);
            entries.goes_on(&self.world, 20);
        }
        settle(&self.world, &self.cluster, (workload, entries), &connector);
    }

    /// What `check` says about TLS.
    fn checked(&self) -> (Option<i32>, String) {
        let file = self.world.config_file();
        let (code, connector) = self.world.finish(&["check", "-c", &file.to_string_lossy()]);
        let found = connector.stdout();
        let from = found.find("TLS to Redis").unwrap_or_else(|| panic!("{found}"));
        (code, found[from..].lines().next().unwrap().to_owned())
    }
}

#[test]
fn nodes_named_by_their_addresses() {
    let it = Encrypted::new(&["localhost", "127.0.0.1"]);
    it.configure("localhost", "");
    let (code, found) = it.checked();
    assert_eq!(code, Some(0), "{found}");
    it.works();
}

#[test]
fn nodes_named_by_host_names() {
    let it = Encrypted::new(&["localhost"]);
    // The first one is reached by the name of the URL, the others by what the cluster calls them.
    it.configure("localhost", "");
    let (code, found) = it.checked();
    assert_eq!(code, Some(1), "{found}");
    for words in ["127.0.0.1", "not for 127.0.0.1", "localhost"] {
        assert!(found.contains(words), "{found}");
    }
    if !it.announce("localhost") {
        skip!("this Redis does not know cluster-announce-hostname");
    }
    it.works();
    let (code, found) = it.checked();
    assert_eq!((code, found.contains("encrypted")), (Some(0), true), "{found}");
}

#[test]
fn one_certificate_for_all_nodes() {
    let it = Encrypted::new(&["redis.internal"]);
    for tls in [", server_name: redis.internal", ", verify: ca"] {
        it.configure("127.0.0.1", tls);
        let (code, found) = it.checked();
        assert_eq!(code, Some(0), "{found}");
    }
    it.works();
}
