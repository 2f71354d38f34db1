//! A TCP proxy that breaks connections in the ways networks do.
//!
//! Each direction of a connection is two threads: one reads and notes when, the other writes when
//! the time has come. So a delay delays without limiting the rate.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis_connect_postgres::throwaway::free_port;

/// A proxy; all its connections are reset when it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    port: u16,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toward {
    Server,
    Client,
}

#[derive(Debug)]
struct Shared {
    /// Port of this machine.
    upstream: AtomicU16,
    links: Mutex<Vec<Weak<Link>>>,
    closed: AtomicBool,
    stalled: AtomicBool,
    replies_stalled: AtomicBool,
    /// What replies are held from when it is sent.
    holding_from: Mutex<Option<&'static [u8]>>,
    bytes_per_second: AtomicU64,
    delay_ms: AtomicU64,
    connections: AtomicU64,
    to_upstream: AtomicU64,
    to_client: AtomicU64,
}

/// One connection: both its sockets.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    upstream: TcpStream,
    cut: AtomicBool,
    /// To the server, to the client: the end was said, and nothing follows.
    ended: [AtomicBool; 2],
}

impl Proxy {
    /// Listens on a port of its own and leads to this port of this machine.
    pub(crate) fn to(port: u16) -> Self {
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(port),
            links: Mutex::default(),
            closed: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            replies_stalled: AtomicBool::new(false),
            holding_from: Mutex::default(),
            bytes_per_second: AtomicU64::new(0),
            delay_ms: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            to_upstream: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        // Not one of the kernel's choice: it would give it to somebody else while we refuse.
        let mut proxy = Self { shared, acceptor: None, port: free_port().unwrap() };
        proxy.listen();
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Resets every connection there is; new ones are welcome.
    pub(crate) fn cut(&self) {
        for link in std::mem::take(&mut *self.shared.links()).iter().filter_map(Weak::upgrade) {
            link.cut();
        }
    }

    /// Every connection there is ends in one direction, in order, and goes on in the other.
    pub(crate) fn half_close(&self, to: Toward) {
        let links: Vec<_> = self.shared.links().iter().filter_map(Weak::upgrade).collect();
        for link in links {
            link.end(to == Toward::Server);
        }
    }

    /// New connections lead to this port.
    pub(crate) fn lead_to(&self, port: u16) {
        self.shared.upstream.store(port, Relaxed);
    }

    /// Refuses new connections as if nobody listened; those there are go on.
    pub(crate) fn refuse(&mut self, refuse: bool) {
        if refuse {
            self.close();
        } else if self.acceptor.is_none() {
            self.shared.closed.store(false, Relaxed);
            self.listen();
        }
    }

    /// Half-open: connections stay and can be made, but no byte passes either way.
    pub(crate) fn stall(&self, stall: bool) {
        self.shared.stalled.store(stall, Relaxed);
    }

    /// What the server answers is held back; what it is sent arrives.
    pub(crate) fn hold_replies(&self, hold: bool) {
        self.shared.replies_stalled.store(hold, Relaxed);
    }

    /// What the server answers is held back as soon as these bytes are on their way to it: no answer to them gets
    /// through.
    pub(crate) fn hold_replies_from(&self, sent: &'static [u8]) {
        *self.shared.holding_from.lock().unwrap_or_else(PoisonError::into_inner) = Some(sent);
    }

    /// Limits each direction of each connection; 0 is no limit.
    pub(crate) fn throttle(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Relaxed);
    }

    /// Makes each byte arrive this much later, in each direction.
    pub(crate) fn delay(&self, ms: u64) {
        self.shared.delay_ms.store(ms, Relaxed);
    }

    /// Connections made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Relaxed)
    }

    /// Connections there are now.
    pub(crate) fn open(&self) -> usize {
        self.shared.links().iter().filter(|link| link.strong_count() > 0).count()
    }

    /// Bytes delivered to the server.
    pub(crate) fn bytes_to_upstream(&self) -> u64 {
        self.shared.to_upstream.load(Relaxed)
    }

    /// Bytes delivered to those who connected.
    pub(crate) fn bytes_to_client(&self) -> u64 {
        self.shared.to_client.load(Relaxed)
    }

    fn listen(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let shared = Arc::clone(&self.shared);
        self.acceptor = Some(thread::spawn(move || {
            for client in listener.incoming() {
                if shared.closed.load(Relaxed) {
                    // Closing is not enough: a process that another test is just starting has a copy
                    // of the socket for a moment, and it would go on to welcome everybody.
                    let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
                    return;
                }
                if let Ok(client) = client {
                    Shared::connect(&shared, client);
                }
            }
        }));
    }

    fn close(&mut self) {
        if let Some(acceptor) = self.acceptor.take() {
            self.shared.closed.store(true, Relaxed);
            // Nothing else wakes it.
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
            let _ = acceptor.join();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.close();
        self.cut();
    }
}

impl Shared {
    fn links(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the replies back if this is what they are to be held from.
    fn notice(&self, bytes: &[u8]) {
        let mut from = self.holding_from.lock().unwrap_or_else(PoisonError::into_inner);
        if from.is_some_and(|from| bytes.windows(from.len()).any(|part| part == from)) {
            *from = None;
            self.replies_stalled.store(true, Relaxed);
        }
    }

    fn connect(shared: &Arc<Self>, client: TcpStream) {
        let Ok(upstream) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream.load(Relaxed))) else {
            reset_on_close(&client);
            return;
        };
        for socket in [&client, &upstream] {
            let _ = socket.set_nodelay(true);
            // So that a writer whose reader does not read notices a cut.
            let _ = socket.set_write_timeout(Some(Duration::from_millis(20)));
        }
        let link =
            Arc::new(Link { client, upstream, cut: AtomicBool::new(false), ended: Default::default() });
        shared.connections.fetch_add(1, Relaxed);
        shared.links().retain(|link| link.strong_count() > 0);
        shared.links().push(Arc::downgrade(&link));
        for up in [true, false] {
            // Bounded, so that a slow reader slows the writer down.
            let (sender, receiver) = sync_channel(16);
            let reading = Arc::clone(&link);
            thread::spawn(move || reading.read(up, &sender));
            let (writing, shared) = (Arc::clone(&link), Arc::clone(shared));
            thread::spawn(move || writing.write(up, &receiver, &shared));
        }
    }
}

impl Link {
    fn read(&self, up: bool, to: &SyncSender<(Instant, Vec<u8>)>) {
        let mut from = if up { &self.client } else { &self.upstream };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(n @ 1..) if !self.cut.load(Relaxed) => {
                    if to.send((Instant::now(), buffer[..n].to_vec())).is_err() {
                        return;
                    }
                }
                // An orderly end: the writer passes it on when it has written the rest.
                Ok(_) => return,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.cut(),
            }
        }
    }

    fn write(&self, up: bool, from: &Receiver<(Instant, Vec<u8>)>, shared: &Shared) {
        let mut to = if up { &self.upstream } else { &self.client };
        let count = if up { &shared.to_upstream } else { &shared.to_client };
        for (read, bytes) in from {
            let mut left = bytes.as_slice();
            if up {
                shared.notice(left);
            }
            while !left.is_empty() {
                let due = read + Duration::from_millis(shared.delay_ms.load(Relaxed));
                let held = || shared.stalled.load(Relaxed) || (!up && shared.replies_stalled.load(Relaxed));
                self.wait(|| held() || Instant::now() < due);
                if self.cut.load(Relaxed) {
                    return;
                }
                // A limited stream flows in pieces of a hundredth of a second.
                let rate = shared.bytes_per_second.load(Relaxed);
                let piece = if rate == 0 { left.len() } else { left.len().min((rate / 100).max(1) as usize) };
                match to.write(&left[..piece]) {
                    Ok(n) => {
                        count.fetch_add(n as u64, Relaxed);
                        left = &left[n..];
                        if rate > 0 {
                            let next = Instant::now() + Duration::from_secs_f64(n as f64 / rate as f64);
                            self.wait(|| Instant::now() < next);
                        }
                    }
                    Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) if self.ended[usize::from(!up)].load(Relaxed) => return,
                    Err(_) => return self.cut(),
                }
            }
        }
        if !self.cut.load(Relaxed) {
            let _ = to.shutdown(Shutdown::Write);
        }
    }

    fn end(&self, up: bool) {
        self.ended[usize::from(!up)].store(true, Relaxed);
        let to = if up { &self.upstream } else { &self.client };
        let _ = to.shutdown(Shutdown::Write);
    }

    fn wait(&self, mut blocked: impl FnMut() -> bool) {
        while blocked() && !self.cut.load(Relaxed) {
            thread::sleep(Duration::from_micros(500));
        }
    }

    /// Resets both sides: with linger 0 the sockets say RST as soon as the last thread lets go.
    fn cut(&self) {
        if !self.cut.swap(true, Relaxed) {
            for socket in [&self.client, &self.upstream] {
                reset_on_close(socket);
                // Wakes our reader; the other side hears nothing of it.
                let _ = socket.shutdown(Shutdown::Read);
            }
        }
    }
}

fn reset_on_close(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
