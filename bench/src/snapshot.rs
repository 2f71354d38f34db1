//! A table, read for the first time, into an empty Redis.

use crate::check;
use crate::connector::{Connector, ONCE};
use crate::error::Result;
use crate::measure::{Servers, measure};
use crate::reference::ReadyMade;
use crate::report::{BOTH, COPY, Group, OURS, REDIS_CLI};
use crate::stream::redis_cli;
use crate::structure::{Content, Origin, Structure};
use crate::{Bench, backlog, reference, servers};

pub(crate) fn snapshot(bench: &Bench, structure: &'static Structure, rows: u32, runs: u32) -> Result<Group> {
    let title = format!("snapshot of a table of {rows} rows");
    eprintln!("{title}, as {}", structure.name);
    let postgres = servers::postgres()?;
    let content = Content { structure, origin: Origin::Snapshot, rows };
    let ready = ReadyMade::write(&bench.directory, content)?;
    eprintln!("  filling the table");
    backlog::write(&postgres, rows, 10_000)?;
    // Or the first reader would do what is left to do about every row's visibility.
    servers::execute(&mut servers::connect(&postgres)?, "VACUUM ANALYZE bench")?;
    servers::settle(&postgres)?;

    let logs = &bench.directory;
    let mut readings = Vec::new();
    for run in 1..=runs {
        let mut order = [COPY, REDIS_CLI, BOTH, OURS];
        order.rotate_left(run as usize % 4);
        for name in order {
            readings.push(match name {
                COPY => {
                    let servers = Servers { postgres: Some(&postgres), redis: None };
                    measure(name, (run, rows), servers, &mut [reference::copy(&postgres)], logs)?
                }
                REDIS_CLI => redis_cli(run, &ready, logs)?,
                BOTH => {
                    let redis = servers::redis_for(structure)?;
                    let servers = Servers { postgres: Some(&postgres), redis: Some(&redis) };
                    let commands = &mut [reference::copy(&postgres), reference::redis_cli(&redis, &ready)?];
                    let reading = measure(name, (run, rows), servers, commands, logs)?;
                    check::holds(&redis, content, None)?;
                    reading
                }
                _ => {
                    let redis = servers::redis_for(structure)?;
                    let servers = Servers { postgres: Some(&postgres), redis: Some(&redis) };
                    let connector =
                        Connector::new(bench, &format!("ours_{run}"), (&postgres, &redis), structure)?;
                    let commands = &mut [connector.run(ONCE)];
                    let reading = measure(name, (run, rows), servers, commands, logs)?;
                    check::holds(&redis, content, Some(&connector))?;
                    let drop = format!("SELECT pg_drop_replication_slot('{}')", connector.slot());
                    servers::execute(&mut servers::connect(&postgres)?, &drop)?;
                    reading
                }
            });
        }
    }
    let references = vec![COPY, REDIS_CLI, BOTH];
    Ok(Group { title, structure: structure.name, references, readings })
}
