//! A throwaway Redis (or Valkey).

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::Account;
use super::home::{Directory, write_private};
use super::process::{Process, port_taken};
use super::{Result, find, port};

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The program and its first arguments, instead of the installed server: one that has modules. It
    /// takes the options of redis-server, and must become the server (`exec`), not start it.
    pub command: Vec<String>,
    /// Lines of a configuration file, which the server may rewrite: a sentinel keeps there what it knows.
    /// Nobody else may read it, so a password can be in it.
    pub configuration: Option<String>,
    /// Run as the user that runs PostgreSQL, also when we are root. The program must be within its reach.
    pub unprivileged: bool,
    /// Keep every write across a kill -9: an append-only file, synced before each reply.
    pub durable: bool,
    /// Further arguments for the server, such as `["--maxmemory", "10mb"]`.
    pub arguments: Vec<String>,
}

impl Settings {
    /// A server that keeps every confirmed write.
    pub fn durable() -> Self {
        Self { durable: true, ..Self::default() }
    }

    /// Adds one setting, such as `("maxmemory", "10mb")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(format!("--{name}"));
        self.arguments.push(value.to_owned());
        self
    }
}

/// A server on 127.0.0.1 that is stopped and removed when dropped.
#[derive(Debug)]
pub struct Redis {
    // Before the directory, so that nothing is written while it is removed.
    process: Option<Process>,
    directory: Directory,
    account: Account,
    program: PathBuf,
    settings: Settings,
    port: u16,
}

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(20);

impl Redis {
    /// Starts a server and returns when it answers.
    pub fn start(settings: Settings) -> Result<Self> {
        let program = match settings.command.first() {
            Some(program) => PathBuf::from(program),
            None => find::redis()?,
        };
        let account = if settings.unprivileged { Account::unprivileged()? } else { Account::Ours };
        let mut redis = Self {
            process: None,
            directory: Directory::owned_by(account, "redis")?,
            account,
            program,
            settings,
            port: port::free()?,
        };
        loop {
            match redis.launch() {
                // Ports are given once, so this ends at the latest when they are used up.
                Err(e) if port_taken(&e) => redis.port = port::free()?,
                other => return other.map(|()| redis),
            }
        }
    }

    /// Starts the server again after it was stopped or killed: same port, same data.
    pub fn start_again(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.launch() {
                Err(e) if port_taken(&e) && began.elapsed() < STOP => {
                    thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .args(self.settings.command.iter().skip(1))
            .args(self.configuration()?)
            .arg("--bind")
            .arg("127.0.0.1")
            .arg("--port")
            .arg(self.port.to_string())
            .arg("--dir")
            .arg(self.directory.path())
            .args(["--save", "", "--daemonize", "no"])
            .current_dir(self.directory.path());
        if self.settings.durable {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        command.args(&self.settings.arguments);
        self.account.run(&mut command);
        let name = format!("Redis on port {}", self.port);
        let mut process = Process::spawn(name, &mut command, &self.log_file(), Signal::KILL)?;
        let port = self.port;
        process.until_ready(START, |pid| answers(port, pid).unwrap_or(false))?;
        self.process = Some(process);
        Ok(())
    }

    /// The configuration file; one that is there stays as the server left it.
    fn configuration(&self) -> Result<Option<PathBuf>> {
        let Some(lines) = &self.settings.configuration else { return Ok(None) };
        let path = self.directory.path().join("server.conf");
        if !path.exists() {
            write_private(&path, lines)?;
            self.account.own(&path)?;
        }
        Ok(Some(path))
    }

    /// Ends the server as a crash would.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends the server as its administrator would.
    pub fn shutdown(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::TERM);
            process.until_exited(STOP)?;
        }
        Ok(())
    }

    /// Freezes the server (SIGSTOP): connections stay, nothing answers.
    pub fn pause(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::STOP);
        }
    }

    /// Lets a frozen server go on.
    pub fn resume(&self) {
        if let Some(process) = &self.process {
            process.signal(Signal::CONT);
        }
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| matches!(p.exited(), Ok(None)))
    }

    /// The program that runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where to connect.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The directory of its data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything the server has logged.
    pub fn log(&self) -> String {
        fs::read(self.log_file())
            .map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

/// True when this very process answers on the port and has loaded its data. Asking for the process
/// id tells it from a stranger who took the port first.
fn answers(port: u16, pid: u32) -> std::io::Result<bool> {
    let limit = Some(Duration::from_secs(2));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    stream.write_all(b"PING\r\nINFO server\r\n")?;
    // A sentinel knows no QUIT.
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let reply = String::from_utf8_lossy(&reply);
    // A password was set: that it asks for it is answer enough.
    Ok(reply.starts_with("-NOAUTH")
        || (reply.starts_with("+PONG") && reply.contains(&format!("\nprocess_id:{pid}\r\n"))))
}
