//! The socket: TCP or Unix, reached within a time limit and kept alive.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use super::options::{ConnectOptions, Host};

/// Silence after which the system asks whether the peer still lives.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between such questions.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// Unanswered questions after which the connection is dead: a peer that vanished is noticed within 60 s.
const KEEPALIVE_COUNT: u32 = 3;
/// How long the peer may leave no room for what is written. Only statements and status updates are, so a peer that does
/// not take them for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest limit that is still handed to the system; 0 would mean none.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);

/// A connected socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Until when reads and writes may go on, while the connection is being made.
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Reaches the server, trying every address of its name until `deadline`. It also holds for what is read and written from
    /// then on, however slowly the server answers, until [`Socket::lift_deadline`].
    pub(super) fn connect(options: &ConnectOptions, deadline: Option<Instant>) -> io::Result<Self> {
        let stream = match options.host() {
            Host::Unix(_) => Stream::Unix(UnixStream::connect(options.host().socket_path(options.port()))?),
            Host::Tcp(name) => {
                let addresses = match options.address() {
                    Some(address) => vec![SocketAddr::new(address, options.port())],
                    None => resolve(name, options.port(), deadline)?,
                };
                Stream::Tcp(connect_any(&addresses, deadline)?)
            }
        };
        let socket = Self { stream, deadline };
        socket.prepare()?;
        Ok(socket)
    }

    fn prepare(&self) -> io::Result<()> {
        if let Stream::Tcp(stream) = &self.stream {
            stream.set_nodelay(true)?;
            sockopt::set_socket_keepalive(stream, true)?;
            sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
            sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
            sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
        }
        self.set_write_timeout(WRITE_TIMEOUT)
    }

    /// The connection is made.
    pub(super) fn lift_deadline(&mut self) -> io::Result<()> {
        self.deadline = None;
        self.set_write_timeout(WRITE_TIMEOUT)
    }

    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    fn set_write_timeout(&self, limit: Duration) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_write_timeout(Some(limit)),
            Stream::Unix(stream) => stream.set_write_timeout(Some(limit)),
        }
    }

    /// The time until the deadline, if there is one.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// How long a read waits for the first byte.
    pub(crate) fn set_read_timeout(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit.max(SHORTEST_TIMEOUT));
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(limit),
            Stream::Unix(stream) => stream.set_read_timeout(limit),
        }
    }
}

/// The addresses of a name. The system's resolver takes no limit, so it is asked on a thread that is left behind where it takes longer.
fn resolve(name: &str, port: u16, deadline: Option<Instant>) -> io::Result<Vec<SocketAddr>> {
    let Some(deadline) = deadline else { return Ok((name, port).to_socket_addrs()?.collect()) };
    if let Ok(address) = name.parse() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = name.to_owned();
    thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let addresses = (name.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Whoever asked may have given up.
        let _ = sender.send(addresses);
    })?;
    let left = deadline.saturating_duration_since(Instant::now());
    receiver.recv_timeout(left).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn connect_any(addresses: &[SocketAddr], deadline: Option<Instant>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let attempt = match deadline {
            None => TcpStream::connect(address),
            Some(deadline) => {
                // The rest of the time is shared out, so that a first address that swallows everything leaves some.
                let left = deadline.saturating_duration_since(Instant::now());
                let tries = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
                TcpStream::connect_timeout(address, (left / tries).max(SHORTEST_TIMEOUT))
            }
        };
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.set_read_timeout(left)?;
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.set_write_timeout(left.min(WRITE_TIMEOUT).max(SHORTEST_TIMEOUT))?;
        }
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
