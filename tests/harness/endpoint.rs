//! One address with shards behind it, as Redis Enterprise's proxy has: commands go to whichever shard has
//! their key, but a transaction has one hash slot, and nobody is told of the shards.
//!
//! A stand-in: one Redis, and a proxy that refuses what crosses slots.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

pub(crate) struct Endpoint {
    port: u16,
}

impl Endpoint {
    /// Goes on until the process ends.
    pub(crate) fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, server));
                if let Ok(upstream) = upstream {
                    thread::spawn(move || serve(client, upstream));
                }
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// One command after the other, until either side ends.
fn serve(client: TcpStream, upstream: TcpStream) -> Option<()> {
    client.set_nodelay(true).ok()?;
    upstream.set_nodelay(true).ok()?;
    let (mut to_client, mut to_server) = (client.try_clone().ok()?, upstream.try_clone().ok()?);
    let (mut client, mut upstream) = (BufReader::new(client), BufReader::new(upstream));
    // The slot of the transaction; whether it crossed.
    let mut transaction: Option<(Option<u16>, bool)> = None;
    loop {
        let (command, bytes) = command(&mut client)?;
        let name = String::from_utf8_lossy(&command[0]).to_uppercase();
        let crossing: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
        match (name.as_str(), &mut transaction) {
            ("CLUSTER", _) => {
                to_client.write_all(b"-ERR unknown command\r\n").ok()?;
                continue;
            }
            ("MULTI", None) => transaction = Some((None, false)),
            ("EXEC", Some((_, true))) => {
                transaction = None;
                to_server.write_all(b"*1\r\n$7\r\nDISCARD\r\n").ok()?;
                reply(&mut upstream)?;
                to_client
                    .write_all(b"-EXECABORT Transaction discarded because of previous errors.\r\n")
                    .ok()?;
                continue;
            }
            ("EXEC" | "DISCARD", Some(_)) => transaction = None,
            (_, Some((slot, crossed))) => {
                let this = command.get(1).map(|key| hash_slot(key));
                if slot.is_some() && this.is_some() && *slot != this {
                    *crossed = true;
                    to_client.write_all(crossing).ok()?;
                    continue;
                }
                *slot = slot.or(this);
            }
            ("WATCH", None) if command[1..].iter().any(|key| hash_slot(key) != hash_slot(&command[1])) => {
                to_client.write_all(crossing).ok()?;
                continue;
            }
            _ => {}
        }
        to_server.write_all(&bytes).ok()?;
        to_client.write_all(&reply(&mut upstream)?).ok()?;
    }
}

fn line(from: &mut impl BufRead, bytes: &mut Vec<u8>) -> Option<(u8, i64)> {
    let start = bytes.len();
    from.read_until(b'\n', bytes).ok().filter(|length| *length > 0)?;
    let line = std::str::from_utf8(&bytes[start + 1..]).ok().unwrap_or_default();
    Some((bytes[start], line.trim_end().parse().unwrap_or(0)))
}

fn bulk(from: &mut impl BufRead, length: usize, bytes: &mut Vec<u8>) -> Option<()> {
    let start = bytes.len();
    bytes.resize(start + length + 2, 0);
    from.read_exact(&mut bytes[start..]).ok()
}

fn command(from: &mut impl BufRead) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let (_, count) = line(from, &mut bytes)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(line(from, &mut bytes)?.1).ok()?;
        let start = bytes.len();
        bulk(from, length, &mut bytes)?;
        arguments.push(bytes[start..start + length].to_vec());
    }
    (!arguments.is_empty()).then_some((arguments, bytes))
}

fn reply(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let (mut bytes, mut left) = (Vec::new(), 1);
    while left > 0 {
        left -= 1;
        match line(from, &mut bytes)? {
            (b'$', length @ 0..) => bulk(from, usize::try_from(length).ok()?, &mut bytes)?,
            (b'*', count @ 0..) => left += count,
            _ => {}
        }
    }
    Some(bytes)
}

/// The hash slot of a key, bit by bit.
fn hash_slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let length = key[open + 1..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then(|| &key[open + 1..open + 1 + length])
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}
