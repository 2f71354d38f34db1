//! A backlog of committed transactions, from the log into Redis.
//!
//! ```text
//!  prepare   publication, a slot for each reader, our snapshot of the empty table
//!  write     the backlog, once
//!  measure   every slot sees the same log, every writer begins with an empty Redis
//! ```

use redis_connect_postgres::throwaway::{Directory, Postgres, Redis};

use crate::check;
use crate::connector::{Connector, ONCE, UNTIL_CAUGHT_UP};
use crate::error::Result;
use crate::measure::{Reading, Servers, measure};
use crate::reference::ReadyMade;
use crate::report::{BOTH, Group, OURS, RECVLOGICAL, REDIS_CLI};
use crate::structure::{Content, Origin, Structure};
use crate::{Bench, backlog, reference, servers};

/// What has to exist before the backlog is written, for one run.
struct Prepared {
    alone: String,
    beside: String,
    redis: Redis,
    connector: Connector,
}

pub(crate) fn stream(
    bench: &Bench,
    structure: &'static Structure,
    (rows, size): (u32, u32),
    runs: u32,
) -> Result<Group> {
    let title = format!("stream of a backlog, {rows} rows in transactions of {size}");
    eprintln!("{title}, as {}", structure.name);
    let postgres = servers::postgres()?;
    let content = Content { structure, origin: Origin::Stream, rows };
    let ready = ReadyMade::write(&bench.directory, content)?;
    let prepared: Vec<Prepared> =
        (1..=runs).map(|run| prepare(bench, &postgres, structure, run)).collect::<Result<_>>()?;
    eprintln!("  writing the backlog");
    backlog::write(&postgres, rows, size)?;
    let end = backlog::end(&postgres)?;
    servers::settle(&postgres)?;

    let logs = &bench.directory;
    let mut readings = Vec::new();
    for (run, prepared) in (1..).zip(&prepared) {
        let mut order = [RECVLOGICAL, REDIS_CLI, BOTH, OURS];
        order.rotate_left(run as usize % 4);
        for name in order {
            readings.push(match name {
                RECVLOGICAL => {
                    let servers = Servers { postgres: Some(&postgres), redis: None };
                    let commands = &mut [reference::recvlogical(&postgres, &prepared.alone, &end)];
                    measure(name, (run, rows), servers, commands, logs)?
                }
                REDIS_CLI => redis_cli(run, &ready, logs)?,
                BOTH => {
                    let redis = servers::redis_for(structure)?;
                    let servers = Servers { postgres: Some(&postgres), redis: Some(&redis) };
                    let commands = &mut [
                        reference::recvlogical(&postgres, &prepared.beside, &end),
                        reference::redis_cli(&redis, &ready)?,
                    ];
                    let reading = measure(name, (run, rows), servers, commands, logs)?;
                    check::holds(&redis, content, None)?;
                    reading
                }
                _ => {
                    let (redis, connector) = (&prepared.redis, &prepared.connector);
                    let servers = Servers { postgres: Some(&postgres), redis: Some(redis) };
                    let commands = &mut [connector.run(UNTIL_CAUGHT_UP)];
                    let reading = measure(name, (run, rows), servers, commands, logs)?;
                    check::holds(redis, content, Some(connector))?;
                    empty(redis)?;
                    reading
                }
            });
        }
    }
    let references = vec![RECVLOGICAL, REDIS_CLI, BOTH];
    Ok(Group { title, structure: structure.name, references, readings })
}

fn prepare(bench: &Bench, postgres: &Postgres, structure: &Structure, run: u32) -> Result<Prepared> {
    let (alone, beside) = (format!("alone_{run}"), format!("beside_{run}"));
    reference::create_slot(postgres, &alone)?;
    reference::create_slot(postgres, &beside)?;
    let redis = servers::redis_for(structure)?;
    let connector = Connector::new(bench, &format!("ours_{run}"), (postgres, &redis), structure)?;
    bench.finish(&mut connector.run(ONCE))?;
    Ok(Prepared { alone, beside, redis, connector })
}

/// The writer alone, into a new server.
pub(crate) fn redis_cli(run: u32, ready: &ReadyMade, logs: &Directory) -> Result<Reading> {
    let content = ready.content;
    let redis = servers::redis_for(content.structure)?;
    let servers = Servers { postgres: None, redis: Some(&redis) };
    let commands = &mut [reference::redis_cli(&redis, ready)?];
    let reading = measure(REDIS_CLI, (run, content.rows), servers, commands, logs)?;
    check::holds(&redis, content, None)?;
    Ok(reading)
}

/// Gives the memory of a server back that is not needed any more.
pub(crate) fn empty(redis: &Redis) -> Result<()> {
    use crate::error::Doing;
    let mut connection = servers::redis_connection(redis)?;
    redis::cmd("FLUSHALL").exec(&mut connection).doing(|| "empty Redis".to_owned())
}
