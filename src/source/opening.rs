//! What it takes to stream from a slot, and what is known while that begins.

use std::time::Duration;

use super::catalog::table::OutboxTable;
use super::slot::inspect::{Server, System};
use crate::postgres::{ConnectOptions, Connection};
use crate::relay::boundary::{Ancestry, Lsn};
use crate::relay::decode::text_encoding::Encoding;

/// How often the confirmed LSN is reported when nothing else is said.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The most bytes of a record for which rows are read where the user has not said another number.
pub const RECORD_BYTES: usize = 64 << 20;
/// What a row's message may have beyond its record: names, headers, columns that are not read.
const MARGIN_BYTES: usize = 2 << 20;

/// What to stream, from where.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The server.
    pub connect: ConnectOptions,
    /// The slot's name.
    pub slot: String,
    /// The publication's name.
    pub publication: String,
    /// The outbox tables. Each must be in the publication.
    pub tables: Vec<OutboxTable>,
    /// How often the confirmed LSN is reported; a third of the server's `wal_sender_timeout` if that is less.
    pub status_interval: Duration,
    /// The most bytes that a record may have. Of a row that is larger the small columns are read, and of a large one only its length.
    pub record_bytes: usize,
}

impl SourceOptions {
    /// The most bytes that a row's message may have to be held whole. Text in other encodings can take more bytes than in UTF-8.
    pub(super) fn row_limit(&self, server: &Server) -> usize {
        let bytes = match server.text_encoding() {
            Encoding::Utf8 => self.record_bytes,
            _ => self.record_bytes.saturating_mul(2),
        };
        bytes.saturating_add(MARGIN_BYTES)
    }
}

/// Both connections, and what is known of their server.
pub(super) struct Opening {
    pub(super) options: SourceOptions,
    pub(super) control: Connection,
    pub(super) replication: Connection,
    pub(super) server: Server,
    pub(super) system: System,
    pub(super) ancestry: Ancestry,
    /// The position in Kafka that is noted.
    pub(super) position: Option<Lsn>,
}
