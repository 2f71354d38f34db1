//! The dashboard, in a real browser.
//!
//! `TEST_DASHBOARD_IMAGES=docs/images ./test dashboard::images` also writes the pictures of the documentation.

mod access;
mod accessible;
mod browser;
mod controls;
mod images;
mod layout;
mod letters;
mod live;
mod many;

use std::ops::Deref;
use std::time::Instant;

use redis_connect_postgres::throwaway::free_port;
use serde_json::Value;

use crate::harness::{Config, Connector, World};
use browser::{Browser, Installed};

/// A running pipeline, and a browser that shows its dashboard.
pub(crate) struct Page<'a> {
    world: &'a World,
    connector: Connector,
    browser: Browser,
    url: String,
}

/// Chromium, or the end of the test.
macro_rules! chromium {
    () => {
        match $crate::dashboard::browser::installed() {
            Ok(installed) => installed,
            Err(missing) => $crate::harness::skip!("{missing}"),
        }
    };
}
pub(crate) use chromium;

impl<'a> Page<'a> {
    /// Of what the world has now, with further lines under `http:`.
    #[track_caller]
    fn with(installed: &Installed, world: &'a World, http: &str) -> Page<'a> {
        let port = free_port().unwrap();
        let top = format!("http: {{ listen: \"127.0.0.1:{port}\"{http} }}");
        world.configure(&Config { top: &top, ..Config::default() });
        let connector = world.run();
        world.eventually("it streams", || connector.log_contains("streaming from"));
        let browser = Browser::start(installed);
        let page = Page { world, connector, browser, url: format!("http://127.0.0.1:{port}/") };
        page.browser.open(&page.url);
        page
    }

    /// Without a token, when it has shown something.
    #[track_caller]
    fn open(installed: &Installed, world: &'a World) -> Page<'a> {
        let page = Page::with(installed, world, "");
        page.eventually("it is live", "text('#link-text') === 'Live' && text('#rate') !== '–'");
        page
    }

    /// The value of an expression; `one(selector)` is an element, `all(selector)` are elements, `text(selector)` is the
    /// first one's text.
    #[track_caller]
    fn look(&self, expression: &str) -> Value {
        self.browser.value(&with_short_words(expression))
    }

    /// Waits until an expression is true.
    #[track_caller]
    fn eventually(&self, what: &str, expression: &str) {
        let began = Instant::now();
        let expression = with_short_words(expression);
        while self.browser.value(&expression) != Value::Bool(true) {
            if began.elapsed() > crate::harness::PATIENCE {
                let shown = self.browser.value("document.body.innerText");
                let logged = self.browser.log("browser");
                let shown = shown.as_str().unwrap_or_default();
                panic!("never: {what}\n{shown}\n{logged:#?}\n{}", self.world.story());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// What the page wrote to the console as an error or a warning.
    #[track_caller]
    fn complaints(&self) -> Vec<String> {
        let logged = self.browser.log("browser");
        let bad = logged.iter().filter(|entry| matches!(entry["level"].as_str(), Some("SEVERE" | "WARNING")));
        bad.map(|entry| entry["message"].to_string()).collect()
    }
}

fn with_short_words(expression: &str) -> String {
    format!(
        "((one, all, text) => ({expression}))((selector) => document.querySelector(selector), \
         (selector) => [...document.querySelectorAll(selector)], \
         (selector) => document.querySelector(selector)?.textContent ?? '')"
    )
}

impl Deref for Page<'_> {
    type Target = Browser;

    fn deref(&self) -> &Browser {
        &self.browser
    }
}
