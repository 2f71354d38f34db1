//! A Redis that has RedisJSON and RediSearch, for tests of what needs them.
//!
//! `TEST_REDIS_STACK` is the command that starts one, given the options of redis-server, such as
//! `/opt/redis-stack/bin/redis-server --loadmodule …`; it must become the server (`exec`). Then each
//! world has its own. Or it is the URL of one that runs, such as a CI service; then worlds take turns,
//! and each begins by removing everything that is in it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use super::skipped;

pub(super) enum Modules {
    Command(Vec<String>),
    Server(Given),
}

/// A server that somebody else has started, ours alone among the tests of this process.
#[derive(Debug)]
pub(super) struct Given {
    url: String,
    /// Host and port.
    address: (String, u16),
    _turn: MutexGuard<'static, ()>,
}

static TURN: Mutex<()> = Mutex::new(());

/// What the variable names; without it, notes that the test could not run.
pub(super) fn named() -> Option<Modules> {
    let named = std::env::var("TEST_REDIS_STACK").unwrap_or_default();
    if named.contains("://") {
        return Some(Modules::Server(Given::take(named)));
    }
    let command: Vec<String> = named.split_whitespace().map(str::to_owned).collect();
    if !command.is_empty() {
        return Some(Modules::Command(command));
    }
    let thread = thread::current();
    skipped(
        thread.name().unwrap_or("a test"),
        "needs RedisJSON and RediSearch: set TEST_REDIS_STACK to a command that starts such a Redis, or to the URL \
         of one that may be emptied",
    );
    None
}

impl Given {
    fn take(url: String) -> Given {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let client = redis::Client::open(url.as_str()).unwrap_or_else(|e| panic!("TEST_REDIS_STACK: {e}"));
        let address = match client.get_connection_info().addr() {
            redis::ConnectionAddr::Tcp(host, port) => (host.clone(), *port),
            other => panic!("TEST_REDIS_STACK: {other} has no port"),
        };
        let mut connection = client.get_connection().unwrap_or_else(|e| panic!("TEST_REDIS_STACK: {e}"));
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        Given { url, address, _turn: turn }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.address.0, self.address.1)
    }
}
