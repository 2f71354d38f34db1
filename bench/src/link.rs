//! How the connector reaches the servers of a measurement.

use std::time::Duration;

use redis_connect_postgres::throwaway::{Postgres, Redis};

use crate::error::Result;
use crate::relay::relay;

/// The way to both servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// Both on 127.0.0.1.
    Tcp,
    /// Both by their sockets in the file system.
    Sockets,
    /// A [`relay`] before each, with this delay in each direction.
    Relayed { postgres: Duration, redis: Duration },
}

const NONE: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_millis(1);

impl Link {
    pub(crate) const ALL: [Link; 6] = [
        Link::Tcp,
        Link::Sockets,
        Link::Relayed { postgres: NONE, redis: NONE },
        Link::Relayed { postgres: LONG, redis: NONE },
        Link::Relayed { postgres: NONE, redis: LONG },
        Link::Relayed { postgres: LONG, redis: LONG },
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Link::Tcp => "TCP",
            Link::Sockets => "sockets",
            Link::Relayed { postgres: NONE, redis: NONE } => "relays, no delay",
            Link::Relayed { redis: NONE, .. } => "1 ms to PostgreSQL",
            Link::Relayed { postgres: NONE, .. } => "1 ms to Redis",
            Link::Relayed { .. } => "1 ms to both",
        }
    }

    /// URLs of the two.
    pub(crate) fn addresses(self, postgres: &Postgres, redis: &Redis) -> Result<(String, String)> {
        Ok(match self {
            Link::Tcp => (postgres.url(), redis.url()),
            Link::Sockets => {
                let directory = postgres.socket_directory().display();
                (
                    format!("postgresql://postgres@/postgres?host={directory}&port={}", postgres.port()),
                    format!("redis+unix://{}/{}", redis.directory().display(), crate::servers::REDIS_SOCKET),
                )
            }
            Link::Relayed { postgres: there, redis: here } => {
                let postgres = relay(postgres.port(), there)?;
                let redis = relay(redis.port(), here)?;
                (
                    format!("postgresql://postgres@127.0.0.1:{postgres}/postgres"),
                    format!("redis://127.0.0.1:{redis}"),
                )
            }
        })
    }
}
