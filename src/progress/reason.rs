//! Why something is tried again, as one of few words: a label of a metric must not grow with messages.

use crate::error::Error;
use crate::{postgres, redis};

/// All that [`of`] says.
#[cfg(test)]
pub(crate) const REASONS: [&str; 27] = [
    "redis_connection",
    "redis_silent",
    "redis_no_master",
    "redis_loading",
    "redis_busy",
    "redis_oom",
    "redis_readonly",
    "redis_misconf",
    "redis_masterdown",
    "redis_clusterdown",
    "redis_tryagain",
    "redis_noreplicas",
    "redis_unkillable",
    "redis_moved",
    "redis_ask",
    "redis_noperm",
    "redis_noauth",
    "redis_wrongpass",
    "redis_denied",
    "redis_forgot",
    "redis_other",
    "postgres_connection",
    "postgres_silent",
    "postgres_standby",
    "postgres_refused",
    "begin_again",
    "other",
];

pub(super) fn of(error: &Error) -> &'static str {
    match error {
        Error::Postgres(error) => match error {
            postgres::Error::Io { .. } | postgres::Error::NoHost { .. } => "postgres_connection",
            postgres::Error::Silent { .. } => "postgres_silent",
            postgres::Error::Standby { .. } => "postgres_standby",
            _ => "postgres_refused",
        },
        Error::Redis(redis::Error::Forgotten { .. }) | Error::Rewound(_) => "redis_forgot",
        Error::Redis(error) => of_redis(error),
        Error::Restart(_) | Error::NotRestored(_) => "begin_again",
        _ => "other",
    }
}

fn of_redis(error: &redis::Error) -> &'static str {
    match error {
        redis::Error::Io { .. } | redis::Error::Tls { .. } => "redis_connection",
        redis::Error::Silent { .. } => "redis_silent",
        redis::Error::NoMaster { .. } => "redis_no_master",
        redis::Error::Refused { reply, .. } => match reply.split([' ', ':']).next().unwrap_or_default() {
            "LOADING" => "redis_loading",
            "BUSY" => "redis_busy",
            "OOM" => "redis_oom",
            "READONLY" => "redis_readonly",
            "MISCONF" => "redis_misconf",
            "MASTERDOWN" => "redis_masterdown",
            "CLUSTERDOWN" => "redis_clusterdown",
            "TRYAGAIN" => "redis_tryagain",
            "NOREPLICAS" => "redis_noreplicas",
            "UNKILLABLE" => "redis_unkillable",
            "MOVED" => "redis_moved",
            "ASK" => "redis_ask",
            "NOPERM" => "redis_noperm",
            "NOAUTH" => "redis_noauth",
            "WRONGPASS" => "redis_wrongpass",
            "DENIED" => "redis_denied",
            _ => "redis_other",
        },
        _ => "redis_other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_its_word() {
        for word in ["LOADING", "OOM", "NOREPLICAS", "WRONGPASS", "ASK"] {
            let reply = format!("{word} some more words");
            let error = redis::Error::Refused { doing: "EXEC".to_owned(), reply };
            let reason = of(&Error::Redis(error));
            assert_eq!(reason, format!("redis_{}", word.to_lowercase()));
            assert!(REASONS.contains(&reason));
        }
        assert_eq!(of(&Error::Restart("so".to_owned())), "begin_again");
    }
}
