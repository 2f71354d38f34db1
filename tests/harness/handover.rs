//! A proxy before Redis that outlives a failover: whoever is connected to it stays connected, and goes on with another
//! server from the next command on. So do the endpoint of Redis Enterprise and some that HAProxy can be made to be.
//!
//! It never changes inside a transaction, or while replies are missing. What the former server knew of the connection
//! (WATCH) is gone; the client is told nothing.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Listens until the test process ends.
#[derive(Debug)]
pub(crate) struct Handover {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: AtomicU16,
    connections: AtomicU64,
    moved: AtomicU64,
}

impl Handover {
    /// Leads to this port of this machine.
    pub(crate) fn to(port: u16) -> Handover {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(port),
            connections: AtomicU64::new(0),
            moved: AtomicU64::new(0),
        });
        let of_listener = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&of_listener);
                thread::spawn(move || {
                    let _ = serve(&client, &shared);
                    let _ = client.shutdown(Shutdown::Both);
                });
            }
        });
        Handover { port: own, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Every connection goes on at this port, from its next command outside a transaction on.
    pub(crate) fn move_to(&self, port: u16) {
        self.shared.upstream.store(port, SeqCst);
    }

    /// Connections made so far by clients.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// Connections that went on at another server.
    pub(crate) fn moved(&self) -> u64 {
        self.shared.moved.load(SeqCst)
    }
}

/// A server behind a connection, and how many replies have come from it.
struct Backend {
    port: u16,
    socket: TcpStream,
    replies: Arc<Mutex<Counter>>,
}

impl Backend {
    fn connect(port: u16, client: &TcpStream) -> std::io::Result<Backend> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nodelay(true)?;
        let replies = Arc::new(Mutex::new(Counter::default()));
        let (mut from, mut to, counted) = (socket.try_clone()?, client.try_clone()?, Arc::clone(&replies));
        thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(n @ 1..) = from.read(&mut chunk) {
                // Counted first: what the client has received is never still missing.
                counted.lock().unwrap_or_else(PoisonError::into_inner).take(&chunk[..n]);
                if to.write_all(&chunk[..n]).is_err() {
                    return;
                }
            }
            // Left by us, or the end of the server: then it is the client's end too.
            if !counted.lock().unwrap_or_else(PoisonError::into_inner).left {
                let _ = to.shutdown(Shutdown::Both);
            }
        });
        Ok(Backend { port, socket, replies })
    }

    fn replies(&self) -> std::sync::MutexGuard<'_, Counter> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(mut client: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    shared.connections.fetch_add(1, SeqCst);
    let mut backend = Backend::connect(shared.upstream.load(SeqCst), client)?;
    let mut commands = Counter::default();
    let mut chunk = vec![0; 64 * 1024];
    while let n @ 1.. = client.read(&mut chunk)? {
        let wanted = shared.upstream.load(SeqCst);
        let between = commands.is_between() && commands.items == backend.replies().items;
        if wanted != backend.port && between {
            backend.replies().left = true;
            let _ = backend.socket.shutdown(Shutdown::Both);
            backend = Backend::connect(wanted, client)?;
            commands = Counter::default();
            shared.moved.fetch_add(1, SeqCst);
        }
        commands.take(&chunk[..n]);
        backend.socket.write_all(&chunk[..n])?;
    }
    backend.replies().left = true;
    let _ = backend.socket.shutdown(Shutdown::Both);
    Ok(())
}

/// Counts commands, or replies, in RESP that comes in pieces.
#[derive(Debug, Default)]
struct Counter {
    line: Vec<u8>,
    /// Bytes of a text that are still to come, its line end included.
    skip: usize,
    text: Vec<u8>,
    /// Elements of the present item that are still to come.
    open: u64,
    /// The first text of the present item is still to come.
    at_name: bool,
    in_transaction: bool,
    items: u64,
    left: bool,
}

impl Counter {
    fn is_between(&self) -> bool {
        self.open == 0 && self.skip == 0 && self.line.is_empty() && !self.in_transaction
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.skip > 0 {
                let (now, later) = bytes.split_at(self.skip.min(bytes.len()));
                if self.at_name {
                    self.text.extend_from_slice(now);
                }
                self.skip -= now.len();
                bytes = later;
                if self.skip == 0 {
                    self.ended();
                }
                continue;
            }
            self.line.push(*first);
            bytes = &bytes[1..];
            if *first == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.header(line[0], String::from_utf8_lossy(&line[1..]).trim_end().parse().unwrap_or(-1));
            }
        }
    }

    fn header(&mut self, kind: u8, number: i64) {
        if self.open == 0 {
            self.open = 1;
            self.at_name = true;
            self.text.clear();
        }
        match kind {
            b'$' if number >= 0 => self.skip = usize::try_from(number).unwrap() + 2,
            b'*' if number > 0 => self.open += u64::try_from(number).unwrap() - 1,
            _ => self.ended(),
        }
    }

    fn ended(&mut self) {
        if std::mem::take(&mut self.at_name) {
            match self.text.trim_ascii_end() {
                b"MULTI" => self.in_transaction = true,
                b"EXEC" | b"DISCARD" => self.in_transaction = false,
                _ => {}
            }
        }
        self.open -= 1;
        self.items += u64::from(self.open == 0);
    }
}
