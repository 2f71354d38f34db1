//! A throwaway PostgreSQL.
//!
//! `initdb` takes a second and a start a tenth of that, so the first server of a version makes a
//! template directory and every server is a copy of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::account::Account;
use super::find::{self, Installation};
use super::home::Directory;
use super::port;
use super::process::{Process, port_taken, send};
use super::{Doing, Error, Result};

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// A major version; without it the first one found.
    pub version: Option<u32>,
    /// Write through to the disk. Off, a kill -9 of the server is still survived, a power cut not.
    pub fsync: bool,
    /// Trust nobody but the user that runs the server (and root), who comes by the Unix socket; whoever
    /// comes by TCP needs a password. Otherwise everybody on this machine is trusted.
    pub private: bool,
    /// Further lines for `postgresql.conf`.
    pub options: Vec<(String, String)>,
}

impl Settings {
    /// Adds one setting, such as `("max_connections", "300")`; the last one of a name counts.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a server is to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// Disconnects everybody and writes a checkpoint.
    Fast,
    /// Drops everything; the next start recovers from the log.
    Immediate,
}

/// What [`Settings::private`] puts into `pg_hba.conf`; the permissions of the socket keep others from it.
const PRIVATE: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A server on 127.0.0.1 that is stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    // Before the directory, so that nothing is written while it is removed.
    process: Option<Process>,
    directory: Directory,
    installation: Installation,
    account: Account,
    port: u16,
}

// Long enough for the recovery of a large backlog on a slow machine.
const START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(60);

impl Postgres {
    /// Starts a server and returns when it accepts connections.
    pub fn start(settings: Settings) -> Result<Self> {
        let installation = find::postgres(settings.version)?;
        let account = Account::unprivileged()?;
        let template = template(&installation, account)?;
        Self::start_copy_of(&template, &settings, installation, account)
    }

    /// Starts a hot standby of this server, which is stopped for a moment to be copied.
    pub fn standby(&mut self, settings: Settings) -> Result<Self> {
        self.stop(Shutdown::Fast)?;
        let signal = self.data_directory().join("standby.signal");
        fs::write(&signal, "").doing(|| format!("write {}", signal.display()))?;
        let primary = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.port);
        let settings = settings.set("primary_conninfo", &primary).set("hot_standby_feedback", "on");
        // It waits for the primary until that is started again.
        let copied =
            Self::start_copy_of(&self.data_directory(), &settings, self.installation.clone(), self.account);
        fs::remove_file(&signal).doing(|| format!("remove {}", signal.display()))?;
        self.start_again()?;
        copied
    }

    /// Makes a standby a primary.
    pub fn promote(&self) -> Result<()> {
        let mut command = Command::new(self.program("pg_ctl"));
        command.args(["promote", "-w", "-D"]).arg(self.data_directory()).current_dir(self.directory.path());
        clean(&mut command);
        run(self.account.run(&mut command))
    }

    fn start_copy_of(
        template: &Path,
        settings: &Settings,
        installation: Installation,
        account: Account,
    ) -> Result<Self> {
        let mut postgres = Self {
            process: None,
            directory: Directory::owned_by(account, "pg")?,
            installation,
            account,
            port: port::free()?,
        };
        let data = postgres.data_directory();
        let mut copy = Command::new("cp");
        copy.arg("-R").arg(template).arg(&data);
        run(account.run(&mut copy))?;
        let file = data.join("postgresql.conf");
        OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut f| f.write_all(configuration(settings, postgres.directory.path()).as_bytes()))
            .doing(|| format!("write {}", file.display()))?;
        if settings.private {
            postgres.put_file("pg_hba.conf", PRIVATE)?;
        }
        loop {
            match postgres.launch() {
                // Ports are given once, so this ends at the latest when they are used up.
                Err(e) if port_taken(&e) => postgres.port = port::free()?,
                other => return other.map(|()| postgres),
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
        let data = self.data_directory();
        let mut command = Command::new(self.program("postgres"));
        command.arg("-D").arg(&data).arg("-p").arg(self.port.to_string()).current_dir(self.directory.path());
        clean(&mut command);
        self.account.run(&mut command);
        let name = format!("PostgreSQL {} on port {}", self.installation.version, self.port);
        // SIGQUIT lets it take its children and its shared memory along.
        let mut process = Process::spawn(name, &mut command, &self.log_file(), Signal::QUIT)?;
        process.until_ready(START, |pid| accepts(&data, pid))?;
        self.process = Some(process);
        Ok(())
    }

    /// Stops the server and keeps its data.
    pub fn stop(&mut self, how: Shutdown) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.signal(match how {
                Shutdown::Fast => Signal::INT,
                Shutdown::Immediate => Signal::QUIT,
            });
            let stopped = process.until_exited(STOP);
            if stopped.is_err() {
                self.kill_tree(process);
            }
            stopped?;
        }
        Ok(())
    }

    /// Stops the server and starts it again on the same port.
    pub fn restart(&mut self, how: Shutdown) -> Result<()> {
        self.stop(how)?;
        self.start_again()
    }

    /// Ends the server and all its children as a crash of the machine would.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            self.kill_tree(process);
        }
    }

    fn kill_tree(&self, mut process: Process) {
        // Frozen first, so that it starts no more children while we look at them.
        process.signal(Signal::STOP);
        let children = children(process.id());
        process.kill();
        for child in &children {
            let _ = send(*child, Signal::KILL);
        }
        // The next start refuses while one of them still holds the shared memory.
        let began = Instant::now();
        while children.iter().any(|&c| alive(c)) && began.elapsed() < STOP {
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// True while the server runs.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|p| matches!(p.exited(), Ok(None)))
    }

    /// Where to connect: the superuser and the database `postgres`.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// Where to connect for another database.
    pub fn database_url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1, and the one in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.installation.version
    }

    /// A program of the same version, such as `pg_recvlogical`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.installation.bin.join(name)
    }

    /// The directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        self.directory.path()
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Writes a file beside the data, which only the server's user may read: a key, or `pg_hba.conf`.
    pub fn put_file(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.data_directory().join(name);
        fs::write(&path, contents)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .doing(|| format!("write {}", path.display()))?;
        self.account.own(&path)?;
        Ok(path)
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

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.stop(Shutdown::Immediate);
        // A server that was killed -9 leaves a piece of System V shared memory in the kernel; its
        // id is the last word of line 7 of the file that the server also left.
        let file = fs::read_to_string(self.data_directory().join("postmaster.pid"));
        if let Some(id) = file.ok().as_deref().and_then(|f| f.lines().nth(6)?.split_whitespace().nth(1)) {
            let _ =
                Command::new("ipcrm").args(["-m", id]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// True when the postmaster with this pid has written that it accepts connections: what `pg_ctl -w`
/// waits for too. The pid tells its file from one that a killed server left behind.
fn accepts(data: &Path, pid: u32) -> bool {
    fs::read_to_string(data.join("postmaster.pid")).is_ok_and(|file| {
        let mut lines = file.lines();
        lines.next().and_then(|l| l.trim().parse().ok()) == Some(pid)
            && lines.nth(6).is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
    })
}

/// The directory that servers of this version are copied from.
fn template(installation: &Installation, account: Account) -> Result<PathBuf> {
    // Never dropped: the janitor removes them.
    static TEMPLATES: Mutex<Option<HashMap<PathBuf, Directory>>> = Mutex::new(None);
    // Held during initdb, so that whoever comes meanwhile waits for it instead of doing it again.
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    let templates = templates.get_or_insert_default();
    if let Some(directory) = templates.get(&installation.bin) {
        return Ok(directory.path().join("data"));
    }
    let directory = Directory::owned_by(account, "template")?;
    let data = directory.path().join("data");
    let initdb = |locale: &str| {
        let mut command = Command::new(installation.bin.join("initdb"));
        command
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-sync", "--lc-messages=C"])
            .arg(format!("--locale={locale}"))
            .arg("-D")
            .arg(&data)
            .current_dir(directory.path());
        clean(&mut command);
        run(account.run(&mut command))
    };
    // Not every system has C.UTF-8.
    initdb("C.UTF-8").or_else(|_| initdb("C"))?;
    templates.insert(installation.bin.clone(), directory);
    Ok(data)
}

fn configuration(settings: &Settings, sockets: &Path) -> String {
    let switch = if settings.fsync { "on" } else { "off" };
    let own = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", &sockets.to_string_lossy()),
        ("unix_socket_permissions", if settings.private { "0700" } else { "0777" }),
        ("wal_level", "logical"),
        ("max_wal_senders", "20"),
        ("max_replication_slots", "20"),
        ("fsync", switch),
        ("full_page_writes", switch),
        // Files in the data directory go with it; those in /dev/shm would outlive a kill -9.
        ("dynamic_shared_memory_type", "mmap"),
        ("timezone", "UTC"),
        ("log_timezone", "UTC"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut text = String::from("\n");
    for (name, value) in own.iter().chain(&settings.options) {
        let value = value.replace('\\', "\\\\").replace('\'', "''");
        let _ = writeln!(text, "{name} = '{value}'");
    }
    text
}

/// Our own PostgreSQL variables and language must not reach a server.
fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("PG") || text.starts_with("LC_") || text == "LANG" {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C");
}

fn run(command: &mut Command) -> Result<()> {
    let words = || {
        let program = command.get_program().to_string_lossy().into_owned();
        command.get_args().fold(program, |mut words, argument| {
            let _ = write!(words, " {}", argument.to_string_lossy());
            words
        })
    };
    let words = words();
    let output = command.stdin(Stdio::null()).output().doing(|| format!("run {words}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Command { command: words, status: output.status, output: said.trim().to_owned() })
}

/// The children of a process. PostgreSQL's leave its process group, so there is no shorter way.
fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return children_by_ps(parent);
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| state(pid).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// The same where there is no `/proc`.
fn children_by_ps(parent: u32) -> Vec<u32> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let text = output.map_or_else(|_| Vec::new(), |o| o.stdout);
    String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|n| n.parse::<u32>().ok());
            let (pid, of) = (numbers.next()??, numbers.next()??);
            (of == parent).then_some(pid)
        })
        .collect()
}

/// State and parent of a process, after its name, which may contain anything.
fn state(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// True for a process that can still do something; one that is only waiting to be reaped cannot.
fn alive(pid: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        return state(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'));
    }
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}
