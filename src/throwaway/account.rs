//! As whom the servers run: ourselves, or an unprivileged user when we are root.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Doing, Error, Result};

/// The user that runs a server.
#[derive(Debug, Clone, Copy)]
pub(super) enum Account {
    /// The user that runs us.
    Ours,
    /// Another one, because PostgreSQL refuses to run as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    pub(super) fn unprivileged() -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ours);
        }
        for user in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", user), id("-g", user)) {
                return Ok(Self::Other { uid, gid });
            }
        }
        Err(Error::NoAccount)
    }

    /// Makes a command run as this account.
    pub(super) fn run<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if let Self::Other { uid, gid } = *self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives a directory to this account.
    pub(super) fn own(&self, path: &Path) -> Result<()> {
        match *self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid } => {
                chown(path, Some(uid), Some(gid)).doing(|| format!("give {} to user {uid}", path.display()))
            }
        }
    }
}

/// Asks `id`, which knows users from directories and networks too.
fn id(flag: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([flag, user]).stderr(Stdio::null()).output().ok()?;
    // `nobody` is -2 on macOS; the kernel wants the same bits unsigned.
    let id: i64 = std::str::from_utf8(&output.stdout).ok()?.trim().parse().ok()?;
    u32::try_from(id & i64::from(u32::MAX)).ok()
}
