//! What INFO tells.

use std::collections::BTreeMap;

use crate::config::RedisHost;
use crate::redis::{Client, Error};

#[derive(Debug, Default)]
pub(in crate::check) struct Info(BTreeMap<String, String>);

impl Info {
    pub(in crate::check) async fn read(redis: &mut Client, host: &RedisHost) -> Result<Info, Error> {
        let text = redis.call_at(host, &[b"INFO"]).await?.text().unwrap_or_default();
        Ok(Info::parse(&text))
    }

    pub(super) fn parse(text: &str) -> Info {
        let pairs = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Info(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(in crate::check) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(in crate::check) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }
}

/// What lets it be read.
pub(super) const MEND: &str = "+info for the user lets it be seen";
