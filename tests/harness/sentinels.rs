//! Replicas and sentinels for the Redis of a world.
//!
//! ```text
//!   world's Redis (master) ── two replicas
//!        └──── three sentinels, of which two must agree
//! ```

use std::thread;
use std::time::{Duration, Instant};

use redis::FromRedisValue;
use redis_connect_postgres::throwaway::{Redis, redis as rd};

use super::World;

/// The name that the sentinels know the master by.
pub(crate) const SERVICE: &str = "shop";

/// How a sentinel is started that knows the master at this port; `lines` are further ones of its configuration.
pub(crate) fn sentinel_settings(master: u16, quorum: u32, lines: &str) -> rd::Settings {
    let configuration = format!(
        "sentinel monitor {SERVICE} 127.0.0.1 {master} {quorum}\n\
         sentinel down-after-milliseconds {SERVICE} 1500\n\
         sentinel failover-timeout {SERVICE} 4000\n{lines}\n"
    );
    // Takes the place that the first option has behind the file.
    rd::Settings {
        configuration: Some(configuration),
        arguments: vec!["--sentinel".to_owned()],
        ..Default::default()
    }
}

#[derive(Debug)]
pub(crate) struct Sentinels {
    pub(crate) replicas: Vec<Redis>,
    pub(crate) sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Returns when everybody knows everybody.
    pub(crate) fn over(world: &World) -> Self {
        let master = world.redis_port();
        let replicas: Vec<Redis> = (0..2)
            .map(|_| {
                let mut settings = rd::Settings::durable();
                settings.arguments =
                    ["--replicaof", "127.0.0.1", &master.to_string()].map(str::to_owned).to_vec();
                Redis::start(settings).unwrap()
            })
            .collect();
        let sentinels = (0..3).map(|_| Redis::start(sentinel_settings(master, 2, "")).unwrap()).collect();
        let all = Self { replicas, sentinels };
        for sentinel in &all.sentinels {
            wait(|| {
                let details: Vec<String> = ask(sentinel.port(), &["SENTINEL", "MASTER", SERVICE])?;
                let field =
                    |name: &str| details.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
                Some(field("num-slaves")? == "2" && field("num-other-sentinels")? == "2")
            });
        }
        for replica in &all.replicas {
            wait(|| {
                Some(
                    ask::<String>(replica.port(), &["INFO", "replication"])?
                        .contains("master_link_status:up"),
                )
            });
        }
        all
    }

    /// A URL that names all of them.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        format!("redis-sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// Waits until a replica is the master, and returns its port.
    pub(crate) fn failed_over(&self) -> u16 {
        let mut port = 0;
        wait(|| {
            let is_master = |replica: &&Redis| {
                ask::<String>(replica.port(), &["INFO", "replication"])
                    .is_some_and(|text| text.contains("role:master"))
            };
            port = self.replicas.iter().find(is_master)?.port();
            Some(true)
        });
        port
    }
}

/// One command to a port of this machine; `None` when there is no answer, or another one.
pub(crate) fn ask<T: FromRedisValue>(port: u16, command: &[&str]) -> Option<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).ok()?;
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    redis::cmd(command[0]).arg(&command[1..]).query(&mut connection).ok()
}

#[track_caller]
fn wait(mut condition: impl FnMut() -> Option<bool>) {
    let began = Instant::now();
    while condition() != Some(true) {
        assert!(began.elapsed() < Duration::from_secs(60), "the sentinels are not ready");
        thread::sleep(Duration::from_millis(20));
    }
}
