//! A connection: startup, sending and receiving.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postgres_protocol::message::frontend;

use super::auth::{AuthStep, Exchange};
use super::error::{Error, ServerError, invalid_statement, sqlstate};
use super::frame::{Body, Data, Frame, Framer};
use super::options::{ConnectOptions, TlsMode};
use super::tls::TlsError;
use super::transport::{Transport, TransportParts, connect, is_timeout};

/// Default timeout of an answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long one read waits before limits and interrupts are looked at again.
const TICK: Duration = Duration::from_millis(200);
/// Bytes that one read takes at most.
const CHUNK_BYTES: usize = 64 * 1024;

/// A connection to a server, blocking.
///
/// After any error other than [`Error::Server`] it is of no further use.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    framer: Framer,
    chunk: Box<[u8]>,
    patience: WaitLimit,
    doing: &'static str,
    /// When the attempt to connect began, until it has succeeded: all of it has one limit.
    connecting_since: Option<Instant>,
    endpoint: String,
    parameters: BTreeMap<String, String>,
    process_id: i32,
}

/// An answer, or what has arrived of it.
pub(super) enum Piece {
    /// Bytes of a CopyData message.
    Data {
        data: Bytes,
        /// Whether the message ends with them.
        is_last: bool,
    },
    /// Another message.
    Other(Frame),
}

/// How long to wait for an answer.
#[derive(Clone, Debug)]
pub enum WaitLimit {
    /// So long, each time that something is waited for.
    Timeout(Duration),
    /// Until the answer comes, the connection ends or the interrupt is set.
    Until(Interrupt),
}

/// Ends a wait from another thread, within 200 ms.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Ends the wait.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was ended.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// An attempt to connect that failed.
struct FailedAttempt {
    error: Error,
    is_encrypted: bool,
    /// Whether the server had asked for a proof: it takes connections like this one, and refuses the role.
    is_asked: bool,
}

impl FailedAttempt {
    /// Whether libpq tries again without TLS: the handshake failed, or pg_hba.conf wants no encrypted connection.
    fn may_pass_unencrypted(&self) -> bool {
        match &self.error {
            Error::Tls { source: TlsError::Handshake(_), .. } => true,
            Error::Server(error) => self.is_encrypted && !self.is_asked && error.code.starts_with("28"),
            _ => false,
        }
    }
}

impl From<Error> for FailedAttempt {
    fn from(error: Error) -> Self {
        Self { error, is_encrypted: false, is_asked: false }
    }
}

impl Connection {
    /// Connects for SQL.
    ///
    /// # Errors
    /// Every kind of [`Error`]. A refusal by the server (wrong password, no such database) is [`Error::Server`].
    pub fn open(options: &ConnectOptions) -> Result<Self, Error> {
        Self::open_with(options, "UTF8", &[])
    }

    /// Connects to a walsender for logical replication, which takes replication commands and simple queries only.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_replication(options: &ConnectOptions) -> Result<Self, Error> {
        Self::open_stream(options, "UTF8")
    }

    /// The same, with text in this `client_encoding`.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub(crate) fn open_stream(options: &ConnectOptions, client_encoding: &str) -> Result<Self, Error> {
        Self::open_with(options, client_encoding, &[("replication", "database")]).map_err(|error| {
            match error.sqlstate() {
                // Every server knows this parameter; poolers refuse it.
                Some(sqlstate::PROTOCOL_VIOLATION) => Error::Pooled { host: options.endpoint() },
                _ => error,
            }
        })
    }

    fn open_with(options: &ConnectOptions, encoding: &str, extra: &[(&str, &str)]) -> Result<Self, Error> {
        let since = Instant::now();
        let mode = options.tls_mode();
        let refusal = match Self::attempt(options, mode, since, encoding, extra) {
            Err(attempt) if mode == TlsMode::Prefer && attempt.may_pass_unencrypted() => attempt.error,
            outcome => return outcome.map_err(|attempt| attempt.error),
        };
        tracing::debug!(error = %refusal, "no encrypted connection to postgres; trying without, as sslmode=prefer allows");
        // Where the server wants no such connection either, the first error is the one to fix.
        let outcome = Self::attempt(options, TlsMode::Disable, since, encoding, extra);
        outcome.map_err(|attempt| if attempt.is_asked { attempt.error } else { refusal })
    }

    fn attempt(
        options: &ConnectOptions,
        mode: TlsMode,
        since: Instant,
        encoding: &str,
        extra: &[(&str, &str)],
    ) -> Result<Self, FailedAttempt> {
        let deadline = options.connect_timeout().and_then(|limit| since.checked_add(limit));
        let (transport, binding) = connect(options, mode, deadline)?;
        let is_encrypted = matches!(transport, Transport::Tls(_));
        let mut exchange = Exchange::new(options, binding);
        let opened = Self::begin(transport, options, since, encoding, extra, &mut exchange);
        opened.map_err(|error| FailedAttempt { error, is_encrypted, is_asked: exchange.is_asked() })
    }

    fn begin(
        transport: Transport,
        options: &ConnectOptions,
        since: Instant,
        encoding: &str,
        extra: &[(&str, &str)],
        exchange: &mut Exchange<'_>,
    ) -> Result<Self, Error> {
        transport.socket().set_read_timeout(TICK).map_err(Error::closed_by)?;
        let mut connection = Self {
            transport,
            framer: Framer::default(),
            chunk: vec![0; CHUNK_BYTES].into(),
            patience: WaitLimit::Timeout(options.connect_timeout().unwrap_or(Duration::MAX)),
            doing: "connecting",
            connecting_since: Some(since),
            endpoint: options.endpoint(),
            parameters: BTreeMap::new(),
            process_id: 0,
        };
        connection.start_up(options, encoding, extra)?;
        connection.authenticate(exchange)?;
        connection.wait_until_ready()?;
        connection.connecting_since = None;
        let socket = connection.transport.socket_mut();
        socket.lift_deadline().and_then(|()| socket.set_read_timeout(TICK)).map_err(Error::closed_by)?;
        connection.patience = WaitLimit::Timeout(ANSWER_TIMEOUT);
        connection.doing = "running a statement";
        Ok(connection)
    }

    /// Answers the server's requests until it is content.
    fn authenticate(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        loop {
            let frame = self.receive()?;
            let mut body = frame.reader();
            let step = match frame.tag {
                b'R' => exchange.answer(&mut body)?,
                b'E' => return Err(self.server_error(&mut body)),
                _ => return Err(body.fail("not an authentication message").into()),
            };
            match step {
                AuthStep::Wait => {}
                AuthStep::Send(message) => self.send(&message)?,
                AuthStep::Done => return Ok(()),
            }
        }
    }

    fn start_up(&mut self, options: &ConnectOptions, encoding: &str, extra: &[(&str, &str)]) -> Result<(), Error> {
        let mut parameters = vec![
            ("user", options.user()),
            ("database", options.database()),
            ("application_name", options.application_name().unwrap_or("walpost")),
            ("client_encoding", encoding),
        ];
        parameters.extend(options.server_options().map(|text| ("options", text)));
        parameters.extend(extra);
        let mut message = BytesMut::new();
        frontend::startup_message(parameters, &mut message).map_err(invalid_statement)?;
        self.send(&message)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        loop {
            let frame = self.receive()?;
            let mut body = frame.reader();
            match frame.tag {
                b'K' => self.process_id = body.i32("a process id")?,
                b'Z' => return Ok(()),
                b'E' => return Err(self.server_error(&mut body)),
                _ => return Err(body.fail("an unknown message after authentication").into()),
            }
        }
    }

    /// A setting that the server reported, such as `server_version`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The process id of the server's side.
    #[must_use]
    pub fn process_id(&self) -> i32 {
        self.process_id
    }

    /// Host and port, or the socket's path.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Sets how long answers are waited for from now on; 30 s at first.
    pub fn set_wait_limit(&mut self, patience: WaitLimit) {
        self.patience = patience;
    }

    pub(crate) fn into_parts(self) -> TransportParts {
        let (rest, offset) = self.framer.into_rest();
        TransportParts { transport: self.transport, rest, offset }
    }

    /// Sends Terminate. Dropping the connection also ends it, and its transaction.
    pub fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        // Whether it arrives makes no difference.
        let _ = self.send(&message);
    }

    pub(super) fn server_error(&self, body: &mut Body<'_>) -> Error {
        match ServerError::parse(body) {
            Ok(error) => Error::Server(Box::new(error)),
            Err(error) => error.into(),
        }
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        let result = match &mut self.transport {
            Transport::Plain(socket) => socket.write_all(message),
            Transport::Tls(stream) => stream.write_all(message).and_then(|()| stream.flush()),
        };
        result.map_err(|error| match self.check_patience(self.connecting_since.unwrap_or_else(Instant::now)) {
            Err(timeout) if is_timeout(&error) => timeout,
            _ => self.broken(error),
        })
    }

    /// The next message that is an answer; notices, notifications and reported settings are dealt with here.
    pub(super) fn receive(&mut self) -> Result<Frame, Error> {
        let since = self.connecting_since.unwrap_or_else(Instant::now);
        loop {
            let Some(frame) = self.framer.next_frame()? else {
                self.fill(since)?;
                continue;
            };
            // A server that sends one message after the other that is no answer gets no more time than a silent one.
            self.check_patience(since)?;
            if let Some(answer) = self.answer(frame)? {
                return Ok(answer);
            }
        }
    }

    /// As [`Self::receive`], but of a CopyData message as much as has arrived, so that it may be of any size.
    pub(super) fn receive_piece(&mut self) -> Result<Piece, Error> {
        let since = Instant::now();
        loop {
            let frame = match self.framer.next_data()? {
                Data::Piece(data) => {
                    self.check_patience(since)?;
                    return Ok(Piece::Data { data, is_last: self.framer.is_between() });
                }
                Data::More => None,
                Data::Other => self.framer.next_frame()?,
            };
            let Some(frame) = frame else {
                self.fill(since)?;
                continue;
            };
            self.check_patience(since)?;
            if let Some(answer) = self.answer(frame)? {
                return Ok(Piece::Other(answer));
            }
        }
    }

    /// Deals with a message that is no answer.
    fn answer(&mut self, frame: Frame) -> Result<Option<Frame>, Error> {
        let mut body = frame.reader();
        match frame.tag {
            b'N' => {
                let notice = ServerError::parse(&mut body)?;
                tracing::debug!(severity = %notice.severity, code = %notice.code, message = %notice.message, "notice from postgres");
            }
            b'S' => {
                let mut text = || Ok::<_, Error>(String::from_utf8_lossy(body.c_string("a setting")?).into_owned());
                let (name, value) = (text()?, text()?);
                self.parameters.insert(name, value);
            }
            b'A' => {}
            _ => return Ok(Some(frame)),
        }
        Ok(None)
    }

    fn fill(&mut self, since: Instant) -> Result<(), Error> {
        loop {
            let read = match &mut self.transport {
                Transport::Plain(socket) => socket.read(&mut self.chunk),
                Transport::Tls(stream) => stream.read(&mut self.chunk),
            };
            match read {
                Ok(0) => return Err(Error::Closed { source: None }),
                Ok(count) => {
                    self.framer.extend(&self.chunk[..count]);
                    return Ok(());
                }
                Err(error) if is_timeout(&error) => self.check_patience(since)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    fn check_patience(&self, since: Instant) -> Result<(), Error> {
        match &self.patience {
            WaitLimit::Timeout(limit) if since.elapsed() >= *limit => Err(match self.connecting_since {
                Some(_) => Error::ConnectTimeout { host: self.endpoint.clone(), after: *limit },
                None => Error::Timeout { doing: self.doing, after: *limit },
            }),
            WaitLimit::Until(interrupt) if interrupt.is_set() => Err(Error::Interrupted),
            WaitLimit::Timeout(_) | WaitLimit::Until(_) => Ok(()),
        }
    }

    /// In TLS 1.3 the server refuses a client's certificate only after the handshake, so that a read sees it.
    fn broken(&self, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::InvalidData {
            return Error::Tls { host: self.endpoint.clone(), source: TlsError::Handshake(error) };
        }
        Error::closed_by(error)
    }
}
