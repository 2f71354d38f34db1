//! One directory for all servers of this process, and the janitor that clears it when we end.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::Signal;

use super::account::Account;
use super::{Doing, Error, Result};

/// Waits for the end of its input, which is the end of us. Each file in `leashes` is named
/// `PID.SIGNAL`: the process and the signal that lets it end cleanly, which for PostgreSQL means
/// without leaving children and shared memory. Stopped processes are continued to hear it, and those
/// that are only waiting to be reaped are not waited for: not every container has someone to reap.
const JANITOR: &str = r#"
trap '' HUP INT TERM
cat >/dev/null
cd "$1/leashes" || exit
for f in *.*; do kill -s "${f#*.}" "${f%.*}"; kill -s CONT "${f%.*}"; done
n=0
while [ $n -lt 200 ]; do
    alive=
    for f in *.*; do
        kill -s 0 "${f%.*}" && ! grep -q ') Z ' "/proc/${f%.*}/stat" && alive=1
    done
    [ "$alive" ] || break
    sleep 0.05
    n=$((n + 1))
done
for f in *.*; do kill -s KILL "${f%.*}"; done
cd / && rm -rf "$1"
"#;

#[derive(Debug)]
struct Home {
    path: PathBuf,
    /// Holds the pipe whose closing tells the janitor that we are gone.
    janitor: Child,
}

static HOME: Mutex<Option<Home>> = Mutex::new(None);

/// The directory of this process; made, with its janitor, when first asked for.
fn home() -> Result<PathBuf> {
    let mut home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(home) = home.as_ref() {
        return Ok(home.path.clone());
    }
    let path = create()?;
    let janitor = Command::new("/bin/sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(&path)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C and a test runner's kill go to our group; the janitor must outlive both.
        .process_group(0)
        .spawn()
        .doing(|| "start /bin/sh".to_owned())?;
    *home = Some(Home { path: path.clone(), janitor });
    Ok(path)
}

fn create() -> Result<PathBuf> {
    let parent = parent()?;
    let id = std::process::id();
    let mut attempt = 0;
    loop {
        // Short, because the path of a Unix socket may have about a hundred bytes.
        let path = parent.join(format!("throwaway-{id}-{attempt}"));
        match fs::DirBuilder::new().mode(0o755).create(&path) {
            Ok(()) => {
                // Whatever the umask, the servers' user must get through.
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                    .and_then(|()| fs::create_dir(path.join("leashes")))
                    .doing(|| format!("prepare {}", path.display()))?;
                return Ok(path);
            }
            // Left by a process of the same number whose janitor was killed too.
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && attempt < 1_000 => {
                attempt += 1;
            }
            Err(e) => return Err(e).doing(|| format!("create {}", path.display())),
        }
    }
}

/// Lets the janitor do its work now and waits for it, for those who want to see nothing left when they end.
/// All servers must have been dropped, and no more can be started.
pub fn clear_up() {
    let home = HOME.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Home { mut janitor, .. }) = home {
        drop(janitor.stdin.take());
        let _ = janitor.wait();
    }
}

/// The temporary directory, unless the servers' user cannot enter it or it is too deep for sockets.
fn parent() -> Result<PathBuf> {
    let wanted = env::temp_dir();
    for candidate in [wanted.clone(), PathBuf::from("/tmp")] {
        let path = fs::canonicalize(&candidate).unwrap_or(candidate);
        if path.as_os_str().len() <= 55 && enterable(&path)? {
            return Ok(path);
        }
    }
    Err(Error::Unreachable(wanted))
}

fn enterable(path: &Path) -> Result<bool> {
    Ok(match Account::unprivileged()? {
        Account::Ours => true,
        Account::Other { .. } => path
            .ancestors()
            .all(|directory| fs::metadata(directory).is_ok_and(|m| m.permissions().mode() & 0o001 != 0)),
    })
}

/// A directory of one server or one test, removed when dropped or when we end.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// A new empty directory; the word is the beginning of its name.
    pub fn new(kind: &str) -> Result<Self> {
        Self::owned_by(Account::Ours, kind)
    }

    pub(super) fn owned_by(account: Account, kind: &str) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = home()?.join(format!("{kind}{number}"));
        fs::DirBuilder::new().mode(0o755).create(&path).doing(|| format!("create {}", path.display()))?;
        account.own(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file in it that only we may read.
    pub fn put_private(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        write_private(&path, contents)?;
        Ok(path)
    }
}

pub(super) fn write_private(path: &Path, contents: &str) -> Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened
        .and_then(|mut file| file.write_all(contents.as_bytes()))
        .doing(|| format!("write {}", path.display()))
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed now the janitor tries again.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// While this lives, the process it was made for ends when we end, also when we are killed -9.
#[derive(Debug)]
pub struct Leash(PathBuf);

impl Leash {
    /// For a child that a plain kill is good enough for.
    pub fn new(child: &Child) -> Result<Self> {
        Self::ending_with(child, Signal::KILL)
    }

    pub(super) fn ending_with(child: &Child, signal: Signal) -> Result<Self> {
        let name = match signal {
            Signal::QUIT => "QUIT",
            Signal::TERM => "TERM",
            _ => "KILL",
        };
        let path = home()?.join("leashes").join(format!("{}.{name}", child.id()));
        File::create(&path).doing(|| format!("create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
