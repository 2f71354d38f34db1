//! TCP and Unix sockets with TLS or without, and the low-water mark that saves system calls.
//!
//! PostgreSQL's walsender sends every row by itself. A reader that wakes for each of them spends
//! more time in the kernel than with the rows. `SO_RCVLOWAT` tells the kernel to wake us only when
//! that many bytes are there; what is there earlier is fetched on demand by [`Socket::read_now`],
//! which the data loop does on a timer and whenever Redis has room.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::config::KeepAlive;

#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Ask the kernel once, whatever the reactor knows.
    read_now: bool,
    low_water_mark: usize,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        Ok(Socket { stream: Stream::Tcp(stream), read_now: false, low_water_mark: 1 })
    }

    /// How the kernel finds out that the other side is gone. Where it can't be set, the system's values stay.
    pub(crate) fn keep_alive(&self, keep: &KeepAlive) {
        let Stream::Tcp(stream) = &self.stream else { return };
        let _ = sockopt::set_socket_keepalive(stream, keep.enabled);
        if let Some(idle) = keep.idle.filter(|_| keep.enabled) {
            let _ = sockopt::set_tcp_keepidle(stream, idle);
        }
        if let Some(interval) = keep.interval.filter(|_| keep.enabled) {
            let _ = sockopt::set_tcp_keepintvl(stream, interval);
        }
        if let Some(count) = keep.count.filter(|_| keep.enabled) {
            let _ = sockopt::set_tcp_keepcnt(stream, count);
        }
        #[cfg(target_os = "linux")]
        if let Some(limit) = keep.user_timeout {
            let _ =
                sockopt::set_tcp_user_timeout(stream, u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn unix(stream: UnixStream) -> Socket {
        Socket { stream: Stream::Unix(stream), read_now: false, low_water_mark: 1 }
    }

    /// The next read asks the kernel even when fewer bytes than the low-water mark are there.
    pub(crate) fn read_now(&mut self) {
        self.read_now = true;
    }

    /// Wakes the reader only when `bytes` are there. Does nothing where that can't be set (Unix
    /// sockets ignore it in `poll`): it saves time and changes nothing else.
    pub(crate) fn set_low_water_mark(&mut self, bytes: usize) {
        if self.low_water_mark != bytes
            && let Stream::Tcp(stream) = &self.stream
        {
            self.low_water_mark = bytes;
            set_receive_low_water_mark(stream, bytes);
        }
    }

    fn receive(&self, buf: &mut ReadBuf<'_>) -> io::Result<()> {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let space = buf.initialize_unfilled();
        let (count, _) = match &self.stream {
            Stream::Tcp(stream) => rustix::net::recv(stream.as_fd(), &mut *space, flags)?,
            Stream::Unix(stream) => rustix::net::recv(stream.as_fd(), &mut *space, flags)?,
        };
        buf.advance(count);
        Ok(())
    }
}

/// The one place with `unsafe`: no crate in use offers this option, and std has no way to set it.
#[allow(unsafe_code)]
fn set_receive_low_water_mark(stream: &TcpStream, bytes: usize) {
    let value = bytes as libc::c_int;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed; the option's value is a
    // c_int that outlives the call, and its size is passed beside it. A failure is harmless (the
    // mark stays as it was), so the result is not looked at.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            std::ptr::from_ref(&value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.read_now {
            socket.read_now = false;
            match socket.receive(buf) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        match &mut socket.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A connection with TLS or without.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    pub(crate) fn socket(&mut self) -> &mut Socket {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
