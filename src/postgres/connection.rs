//! A connection: start-up, questions, answers.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::auth::{Exchange, Step};
use super::error::{Error, ServerError, invalid_statement};
use super::frame::{Body, Frame, Framer, ProtocolError};
use super::options::ConnectOptions;
use super::row::Row;
use super::tls::TlsError;
use super::transport::{Parts, Transport, connect, is_timeout};

/// How long a control query may keep silent.
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
    patience: Patience,
    doing: &'static str,
    /// When the attempt to connect began, until it has succeeded: all of it has one limit.
    connecting_since: Option<Instant>,
    endpoint: String,
    parameters: BTreeMap<String, String>,
    process_id: i32,
}

/// How long to wait for an answer.
#[derive(Clone, Debug)]
pub enum Patience {
    /// So long, each time that something is waited for.
    Limit(Duration),
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

impl Connection {
    /// Connects for SQL.
    ///
    /// # Errors
    /// Every kind of [`Error`]. A refusal by the server (wrong password, no such database) is [`Error::Server`].
    pub fn open(options: &ConnectOptions) -> Result<Self, Error> {
        Self::open_with(options, &[])
    }

    /// Connects to a walsender for logical replication, which takes replication commands and simple queries only.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_replication(options: &ConnectOptions) -> Result<Self, Error> {
        Self::open_with(options, &[("replication", "database")])
    }

    fn open_with(options: &ConnectOptions, extra: &[(&str, &str)]) -> Result<Self, Error> {
        let since = Instant::now();
        let deadline = options.connect_timeout().and_then(|limit| since.checked_add(limit));
        let (transport, binding) = connect(options, deadline)?;
        transport.socket().set_read_timeout(TICK).map_err(Error::closed_by)?;
        let mut connection = Self {
            transport,
            framer: Framer::default(),
            chunk: vec![0; CHUNK_BYTES].into(),
            patience: Patience::Limit(options.connect_timeout().unwrap_or(Duration::MAX)),
            doing: "connecting",
            connecting_since: Some(since),
            endpoint: options.endpoint(),
            parameters: BTreeMap::new(),
            process_id: 0,
        };
        connection.start_up(options, extra)?;
        connection.authenticate(Exchange::new(options, binding))?;
        connection.wait_until_ready()?;
        connection.connecting_since = None;
        let socket = connection.transport.socket_mut();
        socket.lift_deadline().and_then(|()| socket.set_read_timeout(TICK)).map_err(Error::closed_by)?;
        connection.patience = Patience::Limit(ANSWER_TIMEOUT);
        connection.doing = "running a statement";
        Ok(connection)
    }

    /// Answers the server's requests until it is content.
    fn authenticate(&mut self, mut exchange: Exchange<'_>) -> Result<(), Error> {
        loop {
            let frame = self.receive()?;
            let mut body = frame.reader();
            let step = match frame.tag {
                b'R' => exchange.answer(&mut body)?,
                b'E' => return Err(self.server_error(&mut body)),
                _ => return Err(body.fail("not an authentication message").into()),
            };
            match step {
                Step::Wait => {}
                Step::Send(message) => self.send(&message)?,
                Step::Done => return Ok(()),
            }
        }
    }

    fn start_up(&mut self, options: &ConnectOptions, extra: &[(&str, &str)]) -> Result<(), Error> {
        let mut parameters = vec![
            ("user", options.user()),
            ("database", options.database()),
            ("application_name", options.application_name().unwrap_or("walpost")),
            ("client_encoding", "UTF8"),
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

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }

    /// Sets how long answers are waited for from now on; 30 s at first.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// Runs SQL or a replication command by the simple protocol; the rows of all its statements.
    ///
    /// # Errors
    /// [`Error::Server`] if a statement fails; the connection goes on. Others end it.
    pub fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(invalid_statement)?;
        self.send(&message)?;
        self.collect_rows()
    }

    /// Runs one statement with parameters by the extended protocol. Parameters and results are text. Not on a
    /// replication connection: a walsender takes simple queries only.
    ///
    /// # Errors
    /// As [`Connection::simple_query`].
    pub fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        let mut message = BytesMut::new();
        frontend::parse("", sql, [], &mut message).map_err(invalid_statement)?;
        let serialize = |value: &Option<&str>, buffer: &mut BytesMut| {
            Ok(match value {
                Some(text) => {
                    buffer.put_slice(text.as_bytes());
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        };
        // No format codes: everything is text.
        frontend::bind("", "", [], parameters, serialize, [], &mut message).map_err(|_| too_large())?;
        frontend::execute("", 0, &mut message).map_err(invalid_statement)?;
        frontend::sync(&mut message);
        self.send(&message)?;
        self.collect_rows()
    }

    /// Runs a `copy ... to stdout` and hands over its data message by message, in bounded memory.
    ///
    /// # Errors
    /// Those of [`Connection::simple_query`], and the receiver's own. After the latter the connection is of no further
    /// use: the rest of the data is still on its way.
    pub fn copy_out<E: From<Error>>(
        &mut self,
        sql: &str,
        mut receive: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(invalid_statement)?;
        self.send(&message)?;
        loop {
            let frame = self.receive()?;
            match frame.tag {
                b'd' => receive(&frame.body)?,
                b'H' | b'c' | b'C' => {}
                b'Z' => return Ok(()),
                _ => return Err(self.unexpected(&frame, "an unknown message in a COPY")?.into()),
            }
        }
    }

    /// Runs a command that turns the connection into a stream in both directions, which only
    /// [`Connection::into_parts`] can go on with.
    pub(crate) fn start_copy_both(&mut self, command: &str) -> Result<(), Error> {
        let mut message = BytesMut::new();
        frontend::query(command, &mut message).map_err(invalid_statement)?;
        self.send(&message)?;
        let frame = self.receive()?;
        if frame.tag == b'W' { Ok(()) } else { Err(self.unexpected(&frame, "no CopyBothResponse")?) }
    }

    pub(crate) fn into_parts(self) -> Parts {
        let (rest, offset) = self.framer.into_rest();
        Parts { transport: self.transport, rest, offset }
    }

    /// Says farewell. A connection that is just dropped ends too, and its transaction with it.
    pub fn close(mut self) {
        let mut message = BytesMut::new();
        frontend::terminate(&mut message);
        // Whether it arrives makes no difference.
        let _ = self.send(&message);
    }

    fn collect_rows(&mut self) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        loop {
            let frame = self.receive()?;
            match frame.tag {
                b'D' => rows.push(Row::parse(&mut frame.reader())?),
                // RowDescription, CommandComplete, ParseComplete, BindComplete, EmptyQueryResponse.
                b'T' | b'C' | b'1' | b'2' | b'I' => {}
                b'Z' => return Ok(rows),
                _ => return Err(self.unexpected(&frame, "an unknown message in an answer")?),
            }
        }
    }

    /// What an ErrorResponse says, after everything up to the next ReadyForQuery has been read, so that the connection
    /// can go on; anything else is not the protocol.
    fn unexpected(&mut self, frame: &Frame, what: &'static str) -> Result<Error, Error> {
        let mut body = frame.reader();
        if frame.tag != b'E' {
            return Err(body.fail(what).into());
        }
        let error = ServerError::parse(&mut body)?;
        let goes_on = error.severity == "ERROR";
        while goes_on && self.receive()?.tag != b'Z' {}
        Ok(Error::Server(Box::new(error)))
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
                _ => return Ok(frame),
            }
        }
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
            Patience::Limit(limit) if since.elapsed() >= *limit => {
                Err(Error::Timeout { doing: self.doing, after: *limit })
            }
            Patience::Until(interrupt) if interrupt.is_set() => Err(Error::Interrupted),
            Patience::Limit(_) | Patience::Until(_) => Ok(()),
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

/// A zero byte in a statement, or a statement too long for the protocol: nothing was sent.
fn too_large() -> Error {
    ProtocolError { what: "parameters that the protocol can't carry", offset: 0 }.into()
}
