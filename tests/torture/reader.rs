//! Redis as it is in the end: one server, or all masters of a cluster.

use std::cell::RefCell;
use std::collections::BTreeMap;

use redis::FromRedisValue;

use crate::harness::{Cluster, World};

/// Each master, and where each key is.
type Masters = (Vec<RefCell<redis::Connection>>, BTreeMap<String, usize>);

pub(super) struct Reader<'a> {
    world: &'a World,
    cluster: Option<Masters>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(world: &'a World, cluster: Option<&Cluster>) -> Self {
        let cluster = cluster.map(|cluster| {
            let mut masters = cluster.connections();
            let mut keys = BTreeMap::new();
            for (place, master) in masters.iter_mut().enumerate() {
                for key in redis::cmd("KEYS").arg("*").query::<Vec<String>>(master).unwrap() {
                    let other = keys.insert(key.clone(), place);
                    assert!(other.is_none(), "{key} is at two masters");
                }
            }
            (masters.into_iter().map(RefCell::new).collect(), keys)
        });
        Self { world, cluster }
    }

    pub(super) fn keys(&self) -> Vec<String> {
        match &self.cluster {
            None => self.world.keys("*").into_iter().collect(),
            Some((_, keys)) => keys.keys().cloned().collect(),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        match &self.cluster {
            None => self.world.redis(&["EXISTS", key]),
            Some((_, keys)) => keys.contains_key(key),
        }
    }

    /// A command whose first argument is a key.
    #[track_caller]
    pub(super) fn redis<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let Some((masters, keys)) = &self.cluster else { return self.world.redis(command) };
        let place = keys.get(command[1]).copied().unwrap_or(0);
        let mut master = masters[place].borrow_mut();
        let reply = redis::cmd(command[0]).arg(&command[1..]).query(&mut *master);
        reply.unwrap_or_else(|e| panic!("{command:?}: {e}"))
    }

    /// A key of the program's own that may be left in the end.
    pub(super) fn is_own(&self, key: &str) -> bool {
        let Some(what) = key.strip_prefix(&format!("redis-connect-postgres:{}:", self.world.name)) else {
            let beside = format!("{{redis-connect-postgres:{}:checkpoint}}:epoch", self.world.name);
            return self.cluster.is_some() && key == beside;
        };
        let marker = what.starts_with("shard:{") && self.cluster.is_some();
        assert!(marker || ["checkpoint", "epoch"].contains(&what), "{key}: {}", self.dead_letters(key));
        true
    }

    fn dead_letters(&self, key: &str) -> String {
        format!("{:?}", self.redis::<redis::Value>(&["XRANGE", key, "-", "+"]))
    }
}
