//! Up to where a relay that stores positions in Kafka skips what comes.

use super::Server;
use crate::relay::boundary::{Ancestry, Checkpoint, Lsn, Position};
use crate::relay::confirm::StreamStart;

/// What Kafka has for a relay that stores positions there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Nothing,
    /// A null value: somebody has decided that the relay starts where its slot stands.
    Forgotten,
    /// A position.
    At(StoredAt),
}

/// A position in Kafka, and the server whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The system identifier of the server's cluster.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// How far everything is in Kafka.
    pub checkpoint: Checkpoint,
}

/// A stream that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The server; its WAL's end as it was when the slot was this relay's already.
    pub server: Server,
    /// Everything before this had been confirmed.
    pub start: Lsn,
    /// A position that was stored for sure, by `outbox.relay`.
    pub noted: Option<Lsn>,
    /// Which rows come first. Those from before a slot have no place that a later attempt finds again, so no position is of them.
    pub first: StreamStart,
}

/// A position is of another history than the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherOrigin {
    /// Of another cluster.
    System {
        /// Its system identifier.
        stored: String,
        /// The server's.
        found: String,
    },
    /// Of another timeline, past where the server's parted from it.
    Timeline {
        /// That timeline.
        stored: u32,
        /// The server's.
        found: u32,
        /// The last event that is in Kafka.
        position: Position,
        /// Where the two parted; `None` if the server has not come from it.
        parted: Option<Lsn>,
    },
}

/// The slot and the position in Kafka do not belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionGap {
    /// The position is of another history.
    Origin(OtherOrigin),
    /// There is none, and the relay has stored some.
    Lost,
    /// It was taken back, and the database does not know of that.
    Forgotten,
    /// It is past the end of the server's WAL.
    Rewound {
        /// Where that ends.
        end: Lsn,
        /// Up to where everything is in Kafka.
        flush: Lsn,
    },
    /// The slot stands past it.
    Behind {
        /// Where the slot stands.
        start: Lsn,
        /// Up to where everything is in Kafka.
        flush: Lsn,
    },
    /// A later one was stored.
    Old {
        /// Up to where everything is in Kafka, by the position.
        flush: Lsn,
        /// By the database.
        noted: Lsn,
    },
}

/// Whether a position may be of this server's history. To be asked before another relay is fenced: it might be another database's
/// of the same name, or the original's of which this database is a promoted copy. With [`StreamStart::FirstRows`] the timeline does not
/// count: the position is of an earlier slot.
///
/// # Errors
/// [`OtherOrigin`].
pub fn same_origin(stored: &StoredAt, server: &Server, first: StreamStart) -> Result<(), OtherOrigin> {
    if stored.system_identifier != server.system_identifier {
        let (stored, found) = (stored.system_identifier.clone(), server.system_identifier.clone());
        return Err(OtherOrigin::System { stored, found });
    }
    if stored.timeline == server.timeline || first == StreamStart::FirstRows {
        return Ok(());
    }
    let (parted, position) = (server.ancestry.end_of(stored.timeline), stored.checkpoint.position);
    // What begins before the end was written before the two parted.
    if parted.is_some_and(|end| position.commit < end) {
        return Ok(());
    }
    Err(OtherOrigin::Timeline { stored: stored.timeline, found: server.timeline, position, parted })
}

/// Up to where everything is in Kafka and is skipped when it comes; `None` if nothing is.
///
/// # Errors
/// [`PositionGap`]: going on could pass over events for good.
pub fn skip_to(stored: &Stored, begun: &Begun) -> Result<Option<Checkpoint>, PositionGap> {
    let Begun { server, start, noted, first } = begun;
    let is_expected = noted.is_some() && *first == StreamStart::Continued;
    let stored = match stored {
        Stored::Nothing if is_expected => return Err(PositionGap::Lost),
        Stored::Forgotten if is_expected => return Err(PositionGap::Forgotten),
        Stored::Nothing | Stored::Forgotten => return Ok(None),
        Stored::At(stored) => stored,
    };
    same_origin(stored, server, *first).map_err(PositionGap::Origin)?;
    if *first == StreamStart::FirstRows {
        return Ok(None);
    }
    let checkpoint = stored.checkpoint;
    let flush = flush_on(&server.ancestry, stored.timeline, checkpoint.flush);
    if flush > server.wal_end {
        return Err(PositionGap::Rewound { end: server.wal_end, flush });
    }
    if flush < *start {
        return Err(PositionGap::Behind { start: *start, flush });
    }
    // A start begins at the slot's position, so the first positions after it have an earlier LSN again, of later events.
    if let Some(noted) = noted.filter(|noted| flush < *noted && checkpoint.position.commit < *noted) {
        return Err(PositionGap::Old { flush, noted });
    }
    Ok(Some(Checkpoint { flush, ..checkpoint }))
}

/// How far a position of a timeline says that everything is in Kafka: past the end of a timeline that the server has come from it says
/// nothing of the server's.
#[must_use]
pub fn flush_on(ancestry: &Ancestry, timeline: u32, flush: Lsn) -> Lsn {
    ancestry.end_of(timeline).map_or(flush, |end| flush.min(end))
}
