//! The running process as others see it: health, metrics, API; and the commands that speak to it.

mod access;
mod browser;
mod commands;
mod control;
mod letters;
mod prometheus;
mod shown;

use redis_connect_postgres::throwaway::port;

use crate::harness::{Config, Connector, World};
use crate::hashes::Live;
pub(crate) use browser::Browser;

/// A pipeline that answers over HTTP.
struct Served<'a> {
    live: Live<'a>,
    browser: Browser,
}

impl<'a> Served<'a> {
    /// These tables, from now on.
    #[track_caller]
    fn tables(world: &'a World, tables: &str) -> Served<'a> {
        let port = port::free().unwrap();
        let top = format!("http: {{ listen: '127.0.0.1:{port}' }}");
        let live = Live::with(world, &Config { tables, top: &top, ..Config::default() });
        Served { live, browser: Browser::at(port) }
    }

    #[track_caller]
    fn state(&self) -> String {
        self.browser.json("/api/v1/status")["state"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn becomes(&self, state: &str) {
        self.live.eventually_eq("the state", &state.to_owned(), || self.state());
    }

    /// The kinds of events so far.
    fn events(&self) -> Vec<String> {
        let events = self.browser.json("/api/v1/events");
        events.as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
    }
}

const TABLE: &str = "CREATE TABLE emp (id int PRIMARY KEY, name text)";

/// Waits until somebody answers there.
#[track_caller]
fn answers(world: &World, browser: &Browser, connector: &Connector) {
    world.eventually("the port is open", || {
        assert!(connector.is_running(), "{}", connector.story());
        std::net::TcpStream::connect(("127.0.0.1", browser.port)).is_ok()
    });
}
