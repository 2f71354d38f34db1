//! The tools of PostgreSQL and Redis that do one half of the work each.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use redis_connect_postgres::throwaway::{Directory, Postgres, Redis};

use crate::commands;
use crate::error::{Doing, Result};
use crate::servers::{PUBLICATION, connect, execute};
use crate::structure::Content;

/// Makes a slot from which [`recvlogical`] reads what is committed later.
pub(crate) fn create_slot(postgres: &Postgres, slot: &str) -> Result<()> {
    let sql = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    execute(&mut connect(postgres)?, &sql)
}

/// Reads the stream up to a position, to nowhere.
pub(crate) fn recvlogical(postgres: &Postgres, slot: &str, end: &str) -> Command {
    recvlogical_of(postgres, &postgres.url(), (slot, PUBLICATION), end)
}

/// The same of another publication, at that address of the server.
pub(crate) fn recvlogical_of(
    postgres: &Postgres,
    url: &str,
    (slot, publication): (&str, &str),
    end: &str,
) -> Command {
    let mut command = Command::new(tool(postgres, "pg_recvlogical"));
    command
        .args(["--start", "--no-loop", "--file=/dev/null", "--option=proto_version=1"])
        .arg(format!("--option=publication_names={publication}"))
        .arg(format!("--slot={slot}"))
        .arg(format!("--endpos={end}"))
        .arg(format!("--dbname={url}"));
    quiet(command)
}

/// Reads the table, to nowhere.
pub(crate) fn copy(postgres: &Postgres) -> Command {
    let mut command = Command::new(tool(postgres, "psql"));
    command.args(["--no-psqlrc", "--quiet", "--command=COPY bench TO STDOUT"]);
    command.arg(format!("--dbname={}", postgres.url()));
    quiet(command)
}

/// Sends ready-made commands as fast as Redis takes them.
pub(crate) fn redis_cli(redis: &Redis, ready: &ReadyMade) -> Result<Command> {
    let file = File::open(&ready.path).doing(|| format!("open {}", ready.path.display()))?;
    let mut command = Command::new("redis-cli");
    command.args(["-h", "127.0.0.1", "-p"]).arg(redis.port().to_string()).arg("--pipe");
    command.stdin(file).stdout(Stdio::null());
    Ok(command)
}

/// The file for [`redis_cli`]; removed when dropped.
#[derive(Debug)]
pub(crate) struct ReadyMade {
    pub(crate) content: Content,
    path: PathBuf,
}

impl ReadyMade {
    pub(crate) fn write(directory: &Directory, content: Content) -> Result<Self> {
        eprintln!("  writing the ready-made commands of {} rows", content.rows);
        let path = directory.path().join(format!("commands-{}", content.structure.name));
        let file = File::create(&path).doing(|| format!("create {}", path.display()))?;
        let ready = Self { content, path };
        commands::write(content, &mut BufWriter::with_capacity(1 << 20, file))?;
        Ok(ready)
    }
}

impl Drop for ReadyMade {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A program of the server's version. The server may be a link into its package, beside which there
/// need not be links to all of its programs.
fn tool(postgres: &Postgres, name: &str) -> PathBuf {
    let beside = postgres.program(name);
    let server = postgres.program("postgres").canonicalize().unwrap_or_default();
    let packaged = server.with_file_name(name);
    [beside, packaged].into_iter().find(|path| path.exists()).unwrap_or_else(|| name.into())
}

fn quiet(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
