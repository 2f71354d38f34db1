//! Notes the commands that the program sends to Redis, and passes them on.
//!
//! A Redis without modules can still be shown JSON and index commands: they are noted, and something
//! harmless that the program takes for success is passed on in their place.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub(super) type Command = Vec<Vec<u8>>;

/// Whether the server has RedisJSON and RediSearch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modules {
    Loaded,
    Pretended,
}

/// Listens until the test process ends.
#[derive(Debug)]
pub(super) struct Recorder {
    port: u16,
    noted: Arc<Mutex<Vec<Command>>>,
}

impl Recorder {
    pub(super) fn before(server: (String, u16), modules: Modules) -> Recorder {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let noted = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&noted);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((server.0.as_str(), server.1)) else { continue };
                let (mut replies, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut replies, &mut back);
                    let _ = back.shutdown(Shutdown::Both);
                });
                let notes = Arc::clone(&notes);
                thread::spawn(move || {
                    let _ = pass_on(client, &server, modules, &notes);
                    let _ = server.shutdown(Shutdown::Both);
                });
            }
        });
        Recorder { port, noted }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What was sent since this was asked last.
    pub(super) fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn pass_on(
    mut client: TcpStream,
    mut server: &TcpStream,
    modules: Modules,
    notes: &Mutex<Vec<Command>>,
) -> std::io::Result<()> {
    let (mut unread, mut chunk) = (Vec::new(), [0; 65536]);
    // A transaction whose first command has too few arguments: rights are tried in it, and nothing of it
    // is carried out.
    let mut spoiled = false;
    while let n @ 1.. = client.read(&mut chunk)? {
        unread.extend_from_slice(&chunk[..n]);
        let mut out = Vec::new();
        while let Some((command, length)) = command(&unread) {
            unread.drain(..length);
            let sent = if modules == Modules::Pretended { pretend(&command) } else { None };
            encode(sent.as_ref().unwrap_or(&command), &mut out);
            spoiled |= command == [b"GET"];
            if !spoiled {
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(command);
            }
        }
        server.write_all(&out)?;
    }
    Ok(())
}

/// What a server without modules is sent instead.
fn pretend(command: &Command) -> Option<Command> {
    let index = command.get(1).map_or(&b""[..], Vec::as_slice);
    let instead: &[&[u8]] = match command[0].as_slice() {
        b"COMMAND" => &[b"COMMAND", b"INFO", b"SET"],
        b"FT._LIST" => &[b"SMEMBERS", b"pretended indexes"],
        b"FT.CREATE" => &[b"SADD", b"pretended indexes", index],
        b"FT.DROPINDEX" => &[b"SREM", b"pretended indexes", index],
        name if name.starts_with(b"JSON.") => &[b"ECHO", b"OK"],
        _ => return None,
    };
    Some(instead.iter().map(|word| word.to_vec()).collect())
}

fn encode(command: &Command, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
    for argument in command {
        out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first command, if it is there as a whole, and its length.
fn command(bytes: &[u8]) -> Option<(Command, usize)> {
    let mut at = 0;
    let number = |sign: u8, at: &mut usize| -> Option<usize> {
        let line = &bytes[*at..*at + bytes.get(*at..)?.windows(2).position(|end| end == b"\r\n")?];
        assert_eq!(line[0], sign, "not a command: {:?}", String::from_utf8_lossy(line));
        *at += line.len() + 2;
        Some(std::str::from_utf8(&line[1..]).unwrap().parse().unwrap())
    };
    let count = number(b'*', &mut at)?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let length = number(b'$', &mut at)?;
        arguments.push(bytes.get(at..at + length)?.to_vec());
        bytes.get(at + length..at + length + 2)?;
        at += length + 2;
    }
    Some((arguments, at))
}
