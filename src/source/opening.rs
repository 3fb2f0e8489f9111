//! What it takes to stream from a slot, and what is known while that begins.

use std::time::Duration;

use super::slot::{Server, System};
use super::table::OutboxTable;
use crate::postgres::{ConnectOptions, Connection};
use crate::relay::boundary::{Ancestry, Lsn};

/// How often the confirmed LSN is reported when nothing else is said.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);

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
