//! The socket: TCP or Unix, reached within a time limit and kept alive.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
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
pub(crate) enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Reaches the server, trying every address of its name until `deadline`.
    pub(super) fn connect(options: &ConnectOptions, deadline: Option<Instant>) -> io::Result<Self> {
        let socket = match options.host() {
            Host::Unix(_) => Self::Unix(UnixStream::connect(options.host().socket_path(options.port()))?),
            Host::Tcp(name) => {
                let addresses: Vec<SocketAddr> = match options.address() {
                    Some(address) => vec![SocketAddr::new(address, options.port())],
                    None => (name.as_str(), options.port()).to_socket_addrs()?.collect(),
                };
                Self::Tcp(connect_any(&addresses, deadline)?)
            }
        };
        socket.prepare()?;
        Ok(socket)
    }

    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                sockopt::set_socket_keepalive(stream, true)?;
                sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
                sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
                sockopt::set_tcp_keepcnt(stream, KEEPALIVE_COUNT)?;
            }
            Self::Unix(stream) => stream.set_write_timeout(Some(WRITE_TIMEOUT))?,
        }
        Ok(())
    }

    /// How long a read waits for the first byte.
    pub(crate) fn set_read_timeout(&self, limit: Duration) -> io::Result<()> {
        let limit = Some(limit.max(SHORTEST_TIMEOUT));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(limit),
            Self::Unix(stream) => stream.set_read_timeout(limit),
        }
    }
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
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
