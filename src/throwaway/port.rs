//! Ports for servers that must find the same port free again after they were down.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Mutex, PoisonError};

use super::{Error, Result};

// Below 32768, where Linux begins to take ports for outgoing connections: none of those can slip
// in while a server restarts.
const FROM: u16 = 15_000;
const TO: u16 = 31_999;

/// A port that nobody listens on and that this process has not handed out before. Another process
/// may still take it first; the servers' start tries again then.
pub fn free() -> Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    let span = u64::from(TO - FROM) + 1;
    for _ in 0..1_000 {
        // The standard library's only randomness, and good enough to keep processes apart.
        let random = RandomState::new().build_hasher().finish() % span;
        let port = FROM + u16::try_from(random).unwrap_or(0);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(Error::NoPort { from: FROM, to: TO })
}
