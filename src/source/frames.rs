//! pgoutput frames created here: the backfill, in the format in which the walsender would send it. Tests and
//! benchmarks use it too.
//!
//! Layouts: Postgres manual, "Logical Replication Message Formats" and "Streaming Replication Protocol".

use crate::relay::boundary::Lsn;
use crate::relay::decode::pgoutput::{UNREADABLE, WITHHELD};
use crate::relay::decode::text_encoding::Encoding;
use crate::source::boundary::table::TableName;

/// A column as a Relation message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationColumn {
    pub name: String,
    /// `pg_attribute.atttypid`.
    pub type_oid: u32,
    /// `pg_attribute.atttypmod`.
    pub type_modifier: i32,
    /// Whether it belongs to the replica identity.
    pub key: bool,
    /// Whether its type has a binary format; others are sent as text.
    pub binary: bool,
}

/// A table as a Relation message describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationFrame {
    pub oid: u32,
    pub table: TableName,
    /// `pg_class.relreplident`.
    pub replica_identity: u8,
    /// Its columns in order.
    pub columns: Vec<RelationColumn>,
}

impl RelationFrame {
    /// `outbox.event` with these columns, each a name and its type's OID, as tests and benchmarks stream it.
    #[must_use]
    pub fn outbox_event(columns: &[(&str, u32)]) -> Self {
        let column = |&(name, type_oid): &(&str, u32)| RelationColumn {
            name: name.to_owned(),
            type_oid,
            type_modifier: -1,
            key: false,
            binary: true,
        };
        Self {
            oid: 16_500,
            table: TableName { schema: "outbox".to_owned(), name: "event".to_owned() },
            replica_identity: b'd',
            columns: columns.iter().map(column).collect(),
        }
    }
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent<'a> {
    /// SQL null.
    Null,
    Value(&'a [u8]),
    /// A value that was too large to read; its length in bytes.
    Withheld(u32),
    /// A value that Postgres can't send, and why.
    Unreadable(&'a [u8]),
}

impl<'a> From<Option<&'a [u8]>> for Sent<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        value.map_or(Self::Null, Self::Value)
    }
}

/// A frame would be too long for the protocol's length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too long for a message of the protocol")]
pub struct TooLong;

/// Writes the frames of one transaction, one after the other.
#[derive(Debug)]
pub struct FrameWriter {
    /// What has been written.
    pub bytes: Vec<u8>,
    /// The LSN given as that of the transaction's commit record.
    pub commit: Lsn,
    /// Its commit time in microseconds since Postgres's epoch.
    pub committed_at: i64,
}

impl FrameWriter {
    /// Begin.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn begin(&mut self) -> Result<(), TooLong> {
        let (commit, committed_at) = (self.commit, self.committed_at);
        self.frame(|body| {
            body.push(b'B');
            body.extend(commit.0.to_be_bytes());
            body.extend(committed_at.to_be_bytes());
            // No single transaction wrote all of these rows.
            body.extend(0_u32.to_be_bytes());
            Ok(())
        })
    }

    /// Commit; the commit record ends at `end`.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn commit(&mut self, end: Lsn) -> Result<(), TooLong> {
        let (commit, committed_at) = (self.commit, self.committed_at);
        self.frame(|body| {
            body.extend([b'C', 0]);
            body.extend(commit.0.to_be_bytes());
            body.extend(end.0.to_be_bytes());
            body.extend(committed_at.to_be_bytes());
            Ok(())
        })
    }

    /// A table's description, which precedes its first row.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn relation(&mut self, relation: &RelationFrame) -> Result<(), TooLong> {
        self.relation_in(Encoding::Utf8, relation)
    }

    /// The same, with names in a database's encoding.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn relation_in(&mut self, encoding: Encoding, relation: &RelationFrame) -> Result<(), TooLong> {
        let c_string = |body: &mut Vec<u8>, text: &str| {
            // The name came from the database, so its encoding can represent it.
            body.extend_from_slice(&encoding.encode(text).unwrap_or_else(|| text.as_bytes().into()));
            body.push(0);
        };
        self.frame(|body| {
            body.push(b'R');
            body.extend(relation.oid.to_be_bytes());
            // pgoutput leaves out the name of this one schema.
            let schema = if relation.table.schema == "pg_catalog" { "" } else { &relation.table.schema };
            c_string(body, schema);
            c_string(body, &relation.table.name);
            body.push(relation.replica_identity);
            body.extend(i16::try_from(relation.columns.len()).map_err(|_| TooLong)?.to_be_bytes());
            for column in &relation.columns {
                body.push(u8::from(column.key));
                c_string(body, &column.name);
                body.extend(column.type_oid.to_be_bytes());
                body.extend(column.type_modifier.to_be_bytes());
            }
            Ok(())
        })
    }

    /// An insert of a row with these values, in column order.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn insert<'a, V: Into<Sent<'a>>>(
        &mut self,
        relation: &RelationFrame,
        values: impl IntoIterator<Item = V>,
    ) -> Result<(), TooLong> {
        self.frame(|body| {
            body.push(b'I');
            body.extend(relation.oid.to_be_bytes());
            body.push(b'N');
            body.extend(i16::try_from(relation.columns.len()).map_err(|_| TooLong)?.to_be_bytes());
            for (column, value) in relation.columns.iter().zip(values) {
                let (kind, bytes) = match value.into() {
                    Sent::Null => {
                        body.push(b'n');
                        continue;
                    }
                    Sent::Withheld(length) => {
                        body.push(WITHHELD);
                        body.extend(length.to_be_bytes());
                        continue;
                    }
                    Sent::Value(value) => (if column.binary { b'b' } else { b't' }, value),
                    Sent::Unreadable(reason) => (UNREADABLE, reason),
                };
                body.push(kind);
                body.extend(i32::try_from(bytes.len()).map_err(|_| TooLong)?.to_be_bytes());
                body.extend(bytes);
            }
            Ok(())
        })
    }

    /// One CopyData message containing one XLogData.
    fn frame(&mut self, body: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>) -> Result<(), TooLong> {
        let start = self.bytes.len();
        self.bytes.extend([b'd', 0, 0, 0, 0, b'w']);
        self.bytes.extend(self.commit.0.to_be_bytes());
        self.bytes.extend(self.commit.0.to_be_bytes());
        self.bytes.extend(self.committed_at.to_be_bytes());
        body(&mut self.bytes)?;
        let length = i32::try_from(self.bytes.len() - start - 1).map_err(|_| TooLong)?;
        self.bytes[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}
