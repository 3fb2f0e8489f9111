//! From options to something that carries bytes: the socket, and TLS over it as `sslmode` says.

use std::io::{self, Read, Write};
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};

use super::auth::Binding;
use super::error::Error;
use super::options::{ConnectOptions, Host, TlsMode};
use super::socket::Socket;
use super::tls::{self, TlsError};

/// What carries the bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(Socket),
    /// A TLS session over it.
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Transport {
    pub(crate) fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }
}

/// The parts of a connection, for a caller that takes over the socket.
#[derive(Debug)]
pub(crate) struct TransportParts {
    pub(crate) transport: Transport,
    /// Received and not read yet.
    pub(crate) rest: Vec<u8>,
    /// Where `rest` starts, in bytes since the connection's first.
    pub(crate) offset: u64,
}

/// Reaches the server and encrypts in this mode.
pub(super) fn connect(
    options: &ConnectOptions,
    mode: TlsMode,
    deadline: Option<Instant>,
) -> Result<(Transport, Binding), Error> {
    let unreachable = |source: io::Error| match options.connect_timeout() {
        Some(after) if is_timeout(&source) => Error::ConnectTimeout { host: options.endpoint(), after },
        _ => Error::Unreachable { host: options.endpoint(), source },
    };
    let no_tls = |source| Error::Tls { host: options.endpoint(), source };
    let mut socket = Socket::connect(options, deadline).map_err(unreachable)?;
    // libpq never encrypts a Unix socket.
    if mode == TlsMode::Disable || matches!(options.host(), Host::Unix(_)) {
        return Ok((Transport::Plain(socket), Binding::NoTls));
    }
    // Before a byte is sent: a missing root certificate is no reason to open a session.
    let (mut session, unproved) = tls::session(options).map_err(no_tls)?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    let mut answer = [0];
    socket.write_all(&request).and_then(|()| socket.read_exact(&mut answer)).map_err(unreachable)?;
    match answer {
        // One byte was read, so whatever an attacker put behind it goes to the TLS session, which refuses it.
        [b'S'] => {}
        [b'N'] if mode == TlsMode::Prefer => return Ok((Transport::Plain(socket), Binding::NoTls)),
        [b'N'] => return Err(no_tls(TlsError::NotOffered)),
        _ => return Err(no_tls(TlsError::NoAnswer)),
    }
    while session.is_handshaking() {
        session.complete_io(&mut socket).map_err(|error| match is_timeout(&error) {
            true => unreachable(error),
            false => no_tls(TlsError::Handshake(error)),
        })?;
    }
    let binding = match unproved.load(Ordering::Relaxed) {
        true => Binding::Unproved,
        false => tls::server_end_point(&session).map_or(Binding::Undefined, Binding::Hash),
    };
    Ok((Transport::Tls(Box::new(StreamOwned::new(session, socket))), binding))
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
