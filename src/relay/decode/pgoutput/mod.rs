//! Decodes the replication stream: CopyData messages, and the pgoutput logical replication messages inside.
//!
//! Everything is borrowed from the batch. Any input is survived: what is truncated, negative, unknown or not UTF-8 is
//! a [`DecodeError`] with its offset. Formats: the manual's chapters "Streaming Replication Protocol" and "Logical
//! Replication Message Formats" (protocol version 1, with the options `binary` and `messages`).

mod convert;

use crate::relay::boundary::{Lsn, Timestamp};

pub use convert::convert_relation;

/// The kind of a value of which only the length was kept. Written by the source, never by Postgres.
pub const WITHHELD: u8 = b'W';
/// The kind of a value that Postgres could not send; the reason takes its place. Written by the source, never by
/// Postgres.
pub const UNREADABLE: u8 = b'E';
/// The tag of a logical message of which only prefix and length were kept; likewise.
pub const LONG_MESSAGE: u8 = b'm';

/// Bytes that violate the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {offset} of a replication message")]
pub struct DecodeError {
    /// What was expected.
    pub what: &'static str,
    /// Where, in bytes from the start of the message.
    pub offset: usize,
}

/// The body of one CopyData message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A piece of the stream: one pgoutput message.
    XLogData(&'a [u8]),
    /// A keepalive. `end` is the last LSN that the walsender has sent.
    Keepalive {
        /// Everything before this LSN has been sent.
        end: Lsn,
    },
}

/// Splits the first CopyData message off `bytes`: its body, and its total length in bytes.
///
/// # Errors
/// If `bytes` does not start with a complete CopyData message.
pub fn next_frame(bytes: &[u8]) -> Result<(Frame<'_>, usize), DecodeError> {
    let mut reader = Reader::new(bytes);
    if reader.u8("the message tag")? != b'd' {
        return Err(reader.error_at(0, "a message that is not CopyData"));
    }
    let length = reader.length("the message length")?;
    let body = length.checked_sub(4).ok_or_else(|| reader.error_at(1, "a message length below 4"))?;
    let body = reader.take(body, "the message body")?;
    Ok((frame(body)?, reader.offset))
}

fn frame(body: &[u8]) -> Result<Frame<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    match reader.u8("the replication message tag")? {
        b'w' => {
            reader.take(24, "the XLogData header")?;
            Ok(Frame::XLogData(reader.rest()))
        }
        b'k' => {
            let end = reader.lsn("the keepalive's LSN")?;
            reader.take(9, "the keepalive's clock and flag")?;
            Ok(Frame::Keepalive { end })
        }
        _ => Err(reader.error_at(0, "an unknown replication message tag")),
    }
}

/// A message of pgoutput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction starts; its commit record is at `commit`.
    Begin {
        /// LSN of the commit record.
        commit: Lsn,
        /// When the transaction committed, by the server's clock.
        at: Timestamp,
        /// The transaction's ID, which wraps around; 0 for the backfill.
        xid: u32,
    },
    /// The transaction ends; `end` is the LSN after its commit record.
    Commit {
        /// LSN of the commit record, as in Begin.
        commit: Lsn,
        /// LSN to confirm once the whole transaction is in Kafka.
        end: Lsn,
    },
    /// The layout of a table, sent before its first row and after each change.
    Relation(Relation<'a>),
    /// A row was inserted.
    Insert {
        /// The table's OID, as in its Relation message.
        relation: u32,
        row: Tuple<'a>,
    },
    /// A logical message (`pg_logical_emit_message`).
    Logical {
        /// Whether it belongs to the surrounding transaction.
        transactional: bool,
        lsn: Lsn,
        /// Its prefix, in the database's encoding.
        prefix: &'a [u8],
        content: &'a [u8],
    },
    /// A logical message that was too large to read.
    LongLogical {
        /// Whether it belongs to the surrounding transaction.
        transactional: bool,
        /// The start of its prefix.
        prefix: &'a [u8],
        /// The length of its content in bytes.
        length: usize,
    },
    /// Type, Origin, Update, Delete or Truncate: known, but irrelevant for an outbox.
    Ignored,
}

/// The layout of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The table's OID.
    pub oid: u32,
    /// Its schema's name.
    pub namespace: &'a str,
    pub name: &'a str,
    columns: &'a [u8],
    column_count: u16,
}

/// One column of a [`Relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    pub name: &'a str,
    pub type_oid: u32,
}

impl<'a> Relation<'a> {
    /// The columns in row order. They were checked when the message was decoded.
    pub fn columns(&self) -> impl Iterator<Item = RelationColumn<'a>> + use<'a> {
        let mut reader = Reader::new(self.columns);
        (0..self.column_count).map_while(move |_| reader.relation_column().ok())
    }
}

/// The values of a row, checked to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: &'a [u8],
    count: u16,
}

/// One value of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL null.
    #[default]
    Null,
    /// A value that the server did not send because it is unchanged. Never in an insert.
    Unchanged,
    /// A value that was too large to read; its length in bytes.
    Withheld(u32),
    /// A value that Postgres can't send, and why.
    Unreadable(&'a [u8]),
    /// In the type's text format.
    Text(&'a [u8]),
    /// In the type's binary format.
    Binary(&'a [u8]),
}

impl<'a> Tuple<'a> {
    /// The values in the table's column order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader::new(self.columns);
        (0..self.count).map_while(move |_| reader.value().ok())
    }

    /// How many values there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the row has no columns.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Decodes one message of pgoutput.
///
/// # Errors
/// If the bytes are not exactly one such message.
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let message = match reader.u8("the pgoutput message tag")? {
        b'I' => reader.insert()?,
        b'B' => {
            let commit = reader.lsn("Begin's LSN")?;
            let at = reader.timestamp("Begin's commit time")?;
            let xid = reader.u32("Begin's transaction id")?;
            Message::Begin { commit, at, xid }
        }
        b'C' => {
            reader.u8("Commit's flags")?;
            let commit = reader.lsn("Commit's LSN")?;
            let end = reader.lsn("Commit's end LSN")?;
            reader.timestamp("Commit's time")?;
            Message::Commit { commit, end }
        }
        b'R' => reader.relation()?,
        tag @ (b'M' | LONG_MESSAGE) => {
            let transactional = reader.u8("the logical message's flags")? & 1 == 1;
            let lsn = reader.lsn("the logical message's LSN")?;
            let prefix = reader.c_string("the logical message's prefix")?;
            let length = reader.length("the logical message's length")?;
            if tag == LONG_MESSAGE {
                return Ok(Message::LongLogical { transactional, prefix, length });
            }
            let content = reader.take(length, "the logical message's content")?;
            Message::Logical { transactional, lsn, prefix, content }
        }
        b'Y' | b'O' | b'U' | b'D' | b'T' => return Ok(Message::Ignored),
        _ => return Err(reader.error_at(0, "an unknown pgoutput message tag")),
    };
    if !reader.rest().is_empty() {
        return Err(reader.error("bytes after the end of the message"));
    }
    Ok(message)
}

/// Reads fields off the front of a message and tracks the offset.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    const fn error_at(&self, offset: usize, what: &'static str) -> DecodeError {
        DecodeError { what, offset }
    }

    const fn error(&self, what: &'static str) -> DecodeError {
        self.error_at(self.offset, what)
    }

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let taken = self.rest().get(..count).ok_or_else(|| self.error(what))?;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let (taken, _) = self.rest().split_first_chunk::<N>().ok_or_else(|| self.error(what))?;
        self.offset += N;
        Ok(*taken)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// A length on the wire: a signed number that must not be negative.
    fn length(&mut self, what: &'static str) -> Result<usize, DecodeError> {
        let at = self.offset;
        let length = self.array(what).map(i32::from_be_bytes)?;
        usize::try_from(length).map_err(|_| self.error_at(at, what))
    }

    fn lsn(&mut self, what: &'static str) -> Result<Lsn, DecodeError> {
        self.array(what).map(u64::from_be_bytes).map(Lsn)
    }

    fn timestamp(&mut self, what: &'static str) -> Result<Timestamp, DecodeError> {
        self.array(what).map(i64::from_be_bytes).map(Timestamp::from_postgres)
    }

    /// A null-terminated string.
    fn c_string(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.rest().iter().position(|byte| *byte == 0).ok_or_else(|| self.error(what))?;
        let text = &self.rest()[..length];
        self.offset += length + 1;
        Ok(text)
    }

    /// The same, as UTF-8.
    fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let at = self.offset;
        std::str::from_utf8(self.c_string(what)?).map_err(|_| self.error_at(at, what))
    }

    fn insert(&mut self) -> Result<Message<'a>, DecodeError> {
        let relation = self.u32("Insert's table")?;
        if self.u8("Insert's tuple tag")? != b'N' {
            return Err(self.error_at(self.offset - 1, "an insert without a new row"));
        }
        let count = self.u16("the row's column count")?;
        let start = self.offset;
        for _ in 0..count {
            self.value()?;
        }
        Ok(Message::Insert { relation, row: Tuple { columns: &self.bytes[start..self.offset], count } })
    }

    fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        let value = match self.u8("a value's kind")? {
            b'n' => Value::Null,
            b'u' => Value::Unchanged,
            WITHHELD => Value::Withheld(self.u32("a value's length")?),
            kind @ (b't' | b'b' | UNREADABLE) => {
                let length = self.length("a value's length")?;
                let bytes = self.take(length, "a value")?;
                match kind {
                    b't' => Value::Text(bytes),
                    b'b' => Value::Binary(bytes),
                    _ => Value::Unreadable(bytes),
                }
            }
            _ => return Err(self.error_at(self.offset - 1, "an unknown kind of value")),
        };
        Ok(value)
    }

    fn relation(&mut self) -> Result<Message<'a>, DecodeError> {
        let oid = self.u32("Relation's OID")?;
        let namespace = self.text("Relation's schema")?;
        let name = self.text("Relation's name")?;
        self.u8("Relation's replica identity")?;
        let column_count = self.u16("Relation's column count")?;
        let start = self.offset;
        for _ in 0..column_count {
            self.relation_column()?;
        }
        let columns = &self.bytes[start..self.offset];
        // An empty schema name means pg_catalog.
        let namespace = if namespace.is_empty() { "pg_catalog" } else { namespace };
        Ok(Message::Relation(Relation { oid, namespace, name, columns, column_count }))
    }

    fn relation_column(&mut self) -> Result<RelationColumn<'a>, DecodeError> {
        self.u8("a column's flags")?;
        let name = self.text("a column's name")?;
        let type_oid = self.u32("a column's type")?;
        self.u32("a column's type modifier")?;
        Ok(RelationColumn { name, type_oid })
    }
}

#[cfg(test)]
mod tests;
