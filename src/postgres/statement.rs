//! Questions and answers on a connection.

use bytes::{BufMut, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

use super::connection::{Connection, Piece};
use super::error::{Error, ServerError, invalid_statement};
use super::frame::{Frame, ProtocolError};
use super::row::Row;

/// What is kept of a message of which only the start is read, in bytes.
const START_BYTES: usize = 64;

impl Connection {
    /// Runs SQL or a replication command by the simple protocol; the rows of all its statements.
    ///
    /// # Errors
    /// [`Error::Server`] if a statement fails; the connection remains usable. Other errors end it.
    pub fn simple_query(&mut self, sql: &str) -> Result<Vec<Row>, Error> {
        let mut message = BytesMut::new();
        frontend::query(sql, &mut message).map_err(invalid_statement)?;
        self.send(&message)?;
        self.collect_rows()
    }

    /// Sets what lasts as long as the session, such as a setting or a lock. Refused behind a pooler, which would pass it
    /// on to other clients: it answers with a process id that is not the server's.
    ///
    /// # Errors
    /// [`Error::Pooled`], and as [`Connection::simple_query`].
    pub fn configure(&mut self, sql: &str) -> Result<(), Error> {
        let rows = self.simple_query("select pg_backend_pid()")?;
        let process_id = rows.first().and_then(|row| row.text(0)?.parse().ok());
        if process_id != Some(self.process_id()) {
            return Err(Error::Pooled { host: self.endpoint().to_owned() });
        }
        self.simple_query(sql).map(drop)
    }

    /// Runs one statement with parameters by the extended protocol. Parameters and results are text. Not on a
    /// replication connection: a walsender takes simple queries only.
    ///
    /// # Errors
    /// As [`Connection::simple_query`].
    pub fn query(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        let mut message = BytesMut::new();
        statement(sql, parameters, &mut message)?;
        frontend::sync(&mut message);
        self.send(&message)?;
        self.collect_rows()
    }

    /// As [`Connection::query`], in a transaction that may write whatever `default_transaction_read_only` says. The session's settings stay
    /// as they are, so that nothing leaks through a pooler.
    ///
    /// # Errors
    /// As [`Connection::simple_query`]; nothing was written then.
    pub fn write(&mut self, sql: &str, parameters: &[Option<&str>]) -> Result<Vec<Row>, Error> {
        let mut message = BytesMut::new();
        statement("begin read write", &[], &mut message)?;
        statement(sql, parameters, &mut message)?;
        statement("commit", &[], &mut message)?;
        frontend::sync(&mut message);
        self.send(&message)?;
        let outcome = self.collect_rows();
        if let Err(Error::Server(_)) = outcome {
            // The server has passed over the commit.
            self.simple_query("rollback")?;
        }
        outcome
    }

    /// Runs a `copy ... to stdout` and hands over its data as it arrives, in bounded memory.
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
            let frame = match self.receive_piece()? {
                Piece::Data { data, .. } => {
                    receive(&data)?;
                    continue;
                }
                Piece::Other(frame) => frame,
            };
            match frame.tag {
                b'H' | b'c' | b'C' => {}
                b'Z' => return Ok(()),
                _ => return Err(self.unexpected(&frame, "an unknown message in a COPY")?.into()),
            }
        }
    }

    /// Runs a command that turns the connection into a stream in both directions, which only
    /// [`Connection::into_parts`] can go on with.
    pub(crate) fn start_copy_both(&mut self, command: &[u8]) -> Result<(), Error> {
        // In the connection's client_encoding, which need not be UTF-8.
        let length = i32::try_from(command.len() + 5).map_err(|_| too_large())?;
        self.send(&[&b"Q"[..], &length.to_be_bytes(), command, &[0]].concat())?;
        let frame = self.receive()?;
        if frame.tag == b'W' { Ok(()) } else { Err(self.unexpected(&frame, "no CopyBothResponse")?) }
    }

    /// The start of the next CopyData of a stream in both directions.
    ///
    /// # Errors
    /// [`Error::Server`] if the server ends the stream with an error.
    pub(crate) fn next_copy_start(&mut self) -> Result<Vec<u8>, Error> {
        let mut start = Vec::with_capacity(START_BYTES);
        loop {
            match self.receive_piece()? {
                Piece::Data { data, is_last } => {
                    start.extend_from_slice(&data[..data.len().min(START_BYTES - start.len())]);
                    if is_last {
                        return Ok(start);
                    }
                }
                Piece::Other(frame) => return Err(self.unexpected(&frame, "the end of a stream")?),
            }
        }
    }

    pub(crate) fn send_copy_data(&mut self, message: &[u8]) -> Result<(), Error> {
        self.send(message)
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
}

/// Parse, bind and execute. Parameters and results are text.
fn statement(sql: &str, parameters: &[Option<&str>], message: &mut BytesMut) -> Result<(), Error> {
    frontend::parse("", sql, [], message).map_err(invalid_statement)?;
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
    frontend::bind("", "", [], parameters, serialize, [], message).map_err(|_| too_large())?;
    frontend::execute("", 0, message).map_err(invalid_statement)
}

/// A zero byte in a statement, or a statement too long for the protocol: nothing was sent.
fn too_large() -> Error {
    ProtocolError { what: "parameters that the protocol can't carry", offset: 0 }.into()
}
