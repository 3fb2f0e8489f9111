//! What it takes to stream from a slot, and the state while a stream is being opened.

use std::time::Duration;

use super::server::identity::{Server, System};
use crate::postgres::{ConnectOptions, Connection};
use crate::relay::boundary::Lsn;
use crate::relay::decode::text_encoding::Encoding;
use crate::source::boundary::table::OutboxTable;
use crate::source::limits::MARGIN_BYTES;

/// What to stream, and from where.
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
    /// The most bytes that a record may have. Of a larger row only the small columns are read, and of a large column
    /// only its length.
    pub record_bytes: usize,
}

impl SourceOptions {
    /// The most bytes that a row's message may have to be held as a whole. Text in other encodings can take more
    /// bytes than in UTF-8.
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
    /// The stored position, as noted.
    pub(super) position: Option<Lsn>,
}
