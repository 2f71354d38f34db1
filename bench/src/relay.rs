//! A link of some length on a machine that has none: everything arrives later, in order, at any rate.
//!
//! ```text
//!  client ─> read, at most every PIECES ─> [ (when it is due, bytes) … ] ─> write ─> server     and back
//! ```
//!
//! Two threads a direction. The reader pauses after each piece, as network cards gather what arrives in
//! quick succession: woken for every row it would use more of the two cores than those who are measured.
//! Its CPU time is that of the benchmark itself, and the cores have it no more.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Doing, Result};

/// How long bytes are gathered.
const PIECES: Duration = Duration::from_micros(100);
/// Bytes of a piece at most.
const PIECE: usize = 256 << 10;

/// Listens on a port of this machine for as long as the process lives, and leads to another with a delay in each
/// direction. Connections end when one of their ends does.
pub(crate) fn relay(to: u16, delay: Duration) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing(|| "listen".to_owned())?;
    let port = listener.local_addr().doing(|| "read a port".to_owned())?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client whose server is not there sees the end of its connection.
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)) else { continue };
            let _ = join(&client, &server, delay).and_then(|()| join(&server, &client, delay));
        }
    });
    Ok(port)
}

/// One direction.
fn join(from: &TcpStream, to: &TcpStream, delay: Duration) -> std::io::Result<()> {
    to.set_nodelay(true)?;
    let (from, to) = (from.try_clone()?, to.try_clone()?);
    // As much as is under way, and a little more; then a slow reader slows the writer down.
    let pieces = delay.as_micros() / PIECES.as_micros() + 4;
    let (sender, receiver) = sync_channel(usize::try_from(pieces).unwrap_or(usize::MAX));
    thread::spawn(move || read(from, delay, &sender));
    thread::spawn(move || write(to, &receiver));
    Ok(())
}

fn read(mut from: TcpStream, delay: Duration, to: &SyncSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let piece = buffer.get(..n).unwrap_or_default().to_vec();
        if to.send((Instant::now() + delay, piece)).is_err() {
            return;
        }
        thread::sleep(PIECES);
    }
}

fn write(mut to: TcpStream, from: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in from {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            // Its reader ends as well, and with it the other direction.
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
