//! The part of the checks that `run` performs itself, before it makes anything: what would end it later,
//! with the same words, and what its user should know, as warnings in the log.
//!
//! It costs one query, one exchange with each server of Redis and what is known anyway, so that the start stays quick.

use std::collections::BTreeMap;

use super::contact::user;
use super::server::Server;
use super::target::info::Info;
use super::{nodes, rights, secret_files, source, target};
use crate::config::Config;
use crate::error::{Error, Problem};
use crate::pipeline::Captured;
use crate::pipeline::checkpoint::Keys;
use crate::plan::Strictness;
use crate::postgres::Connection;
use crate::redis;

/// Asks PostgreSQL about itself. Once a run goes on, only what can't be waited for ends it.
pub(crate) async fn postgres(
    control: &mut Connection,
    (config, file): (&Config, &str),
    strictness: Strictness,
) -> Result<Server, Error> {
    let server = Server::read(control, &config.source.slot).await?;
    let mut problems = vec![source::wal_level::problem(&server)];
    if strictness == Strictness::Start {
        secret_files::warn(config, file);
        if source::encoding::is_none(&server) {
            tracing::warn!("{}; {}", source::encoding::FOUND, source::encoding::MEND);
        }
        problems.push(source::replication_right::problem(&server));
        // That no walsender is free is waited for: those of others end by themselves.
        problems.push(source::slots::problem(&server));
    }
    refuse(problems.into_iter().flatten())?;
    Ok(server)
}

/// What the catalog told of the tables.
pub(crate) fn tables(server: &Server, captured: &BTreeMap<u32, Captured>) -> Result<(), Error> {
    refuse(captured.values().filter_map(|one| source::row_security::problem(&one.table, &server.role)))
}

/// Asks Redis about itself and about our rights.
pub(crate) async fn redis(
    redis: &mut redis::Client,
    (config, file): (&Config, &str),
    captured: &BTreeMap<u32, Captured>,
) -> Result<(), Error> {
    let keys = Keys::new(&config.name, redis.spread());
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for host in redis.masters() {
        let mut found = Vec::new();
        match Info::read(redis, &host).await {
            Ok(info) => {
                found.extend(target::version::problem(&info));
                warnings.extend(target::eviction::problem(&info).map(|problem| (host.to_string(), problem)));
            }
            // It may not be asked.
            Err(redis::Error::Refused { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let apart = redis.apart(&host).await?;
        // One after the other: of very many tables the plans are large.
        let written = captured.values().filter_map(|one| Some((one.plan(file).ok()?, &*one.outputs)));
        let missing =
            rights::missing(apart, (&keys, redis.spread(), config.target.durability), written).await?;
        found.extend(rights::problem(&missing, user(&config.target.url)));
        problems.extend(found.into_iter().map(|problem| (host.to_string(), problem)));
    }
    for problem in nodes::problems(redis, warnings) {
        tracing::warn!("{problem}");
    }
    refuse(nodes::problems(redis, problems).into_iter())
}

/// One line, as every error is; where there are more, it says so.
fn refuse(mut problems: impl Iterator<Item = Problem>) -> Result<(), Error> {
    let Some(Problem { found, mend }) = problems.next() else { return Ok(()) };
    let mend = match problems.count() {
        0 => mend,
        more => format!("{mend} ({more} more to mend: redis-connect-postgres check tells all)"),
    };
    Err(Problem { found, mend }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_many_problems() {
        let problem = |found: &str| Problem { found: found.to_owned(), mend: "mend it".to_owned() };
        assert!(refuse(std::iter::empty()).is_ok());
        assert_eq!(refuse([problem("a")].into_iter()).unwrap_err().to_string(), "a: mend it");
        let two = refuse([problem("a"), problem("b")].into_iter()).unwrap_err().to_string();
        assert_eq!(two, "a: mend it (1 more to mend: redis-connect-postgres check tells all)");
    }
}
