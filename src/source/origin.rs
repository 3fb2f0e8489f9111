//! Where a stream comes from.

use super::server::identity::System;
use crate::postgres::Connection;
use crate::relay::boundary::Ancestry;
use crate::relay::resume::LastStreamed;

/// A stream's origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The cluster's system identifier.
    pub system_identifier: String,
    /// The server's timeline.
    pub timeline: u32,
    /// The timelines that its own descends from.
    pub ancestry: Ancestry,
    /// The server process that streams.
    pub walsender: i32,
}

impl Origin {
    pub(super) fn of(system: &System, replication: &Connection) -> Self {
        let System { identifier: system_identifier, timeline, ancestry, wal_end: _ } = system.clone();
        Self { system_identifier, timeline, ancestry, walsender: replication.process_id() }
    }

    pub(crate) fn streamed(&self) -> LastStreamed {
        LastStreamed { system_identifier: self.system_identifier.clone(), timeline: self.timeline }
    }
}
