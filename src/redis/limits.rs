//! What Redis does not even take: it would close the connection, and the command would be sent for ever.

use super::resp::Reply;
use super::{Client, Error};

/// How much Redis takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub(crate) argument: usize,
    /// Bytes of the commands of one row. Those of a transaction wait in the query buffer, which is
    /// limited (`client-query-buffer-limit`, 1 GiB), for its end.
    pub(crate) commands: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { argument: 512 << 20, commands: 1 << 30 }
    }
}

impl Limits {
    /// Asks Redis. Where it does not tell, its defaults are taken for granted.
    pub(crate) async fn read(connection: &mut Client) -> Result<Limits, Error> {
        let known = Limits::default();
        let argument = read(connection, b"proto-max-bulk-len").await?.unwrap_or(known.argument);
        let commands = read(connection, b"client-query-buffer-limit").await?.unwrap_or(known.commands);
        Ok(Limits { argument, commands })
    }

    /// With room for a batch and what surrounds it.
    pub(crate) fn beside(self, batch: usize) -> Limits {
        Limits { commands: self.commands.saturating_sub(batch + (1 << 16)), ..self }
    }

    /// Why Redis would not take the command, which is one of some that have `all` bytes.
    pub(crate) fn refuse(&self, command: &[&[u8]], all: usize) -> Option<String> {
        let longest = command.iter().map(|argument| argument.len()).max().unwrap_or(0);
        if longest > self.argument {
            let most = self.argument;
            return Some(format!(
                "a value of {longest} bytes, and Redis takes {most} at most (proto-max-bulk-len)"
            ));
        }
        (all > self.commands).then(|| {
            format!(
                "{all} bytes for one row, which is more than Redis takes at once (client-query-buffer-limit)"
            )
        })
    }
}

async fn read(connection: &mut Client, name: &[u8]) -> Result<Option<usize>, Error> {
    Ok(setting(connection, name).await?.and_then(|text| text.parse().ok()))
}

/// A setting of the server, where it tells.
pub(super) async fn setting(connection: &mut Client, name: &[u8]) -> Result<Option<String>, Error> {
    match connection.call(&[b"CONFIG", b"GET", name]).await {
        Ok(Reply::Array(pair)) => Ok(pair.get(1).and_then(Reply::text)),
        Ok(_) => Ok(None),
        // Not everybody may ask, and hosted servers have no such command.
        Err(Error::Refused { reply, .. }) if reply.starts_with("NOPERM") || reply.starts_with("ERR") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused() {
        let limits = Limits { argument: 4, commands: 100 };
        assert_eq!(limits.refuse(&[b"SET", b"k", b"1234"], 100), None);
        assert!(limits.refuse(&[b"SET", b"k", b"12345"], 10).unwrap().contains("proto-max-bulk-len"));
        assert!(limits.refuse(&[b"SET", b"k", b""], 101).unwrap().contains("client-query-buffer-limit"));
        assert_eq!(Limits::default().beside(1 << 20).commands, (1 << 30) - (1 << 20) - (1 << 16));
    }
}
