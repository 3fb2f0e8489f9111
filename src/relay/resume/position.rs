//! How far a relay that stores positions in Kafka skips the stream.

use super::Server;
use crate::relay::boundary::{Ancestry, Checkpoint, Lsn, Position};
use crate::relay::confirm::StreamStart;

/// What Kafka has for a relay that stores positions there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Nothing,
    /// A null value: somebody decided that the relay starts at the slot's confirmed_flush_lsn.
    Forgotten,
    At(StoredAt),
}

/// A position in Kafka, and the server it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAt {
    /// The system identifier of the server's cluster.
    pub system_identifier: String,
    pub timeline: u32,
    /// How far everything is in Kafka.
    pub checkpoint: Checkpoint,
}

/// A stream that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The server; with its WAL's end at the time when the slot already belonged to this relay.
    pub server: Server,
    /// Everything before this is confirmed.
    pub start: Lsn,
    /// A position that was certainly stored, according to `outbox.relay`.
    pub noted: Option<Lsn>,
    /// Which rows come first. Backfilled rows have no position that a later attempt finds again, so no stored
    /// position refers to them.
    pub first: StreamStart,
}

/// A position belongs to a different history than the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherOrigin {
    /// To another cluster.
    System {
        /// Its system identifier.
        stored: String,
        /// The server's.
        found: String,
    },
    /// To another timeline, past where the server's branched off.
    Timeline {
        /// That timeline.
        stored: u32,
        /// The server's.
        found: u32,
        /// The last event that is in Kafka.
        position: Position,
        /// Where the two branched; `None` if the server's timeline does not descend from it.
        parted: Option<Lsn>,
    },
}

/// The slot and the position in Kafka do not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PositionGap {
    /// The position belongs to a different history.
    Origin(OtherOrigin),
    /// There is none, although the relay has stored some.
    Lost,
    /// It was forgotten, and the database does not know that.
    Forgotten,
    /// It is past the end of the server's WAL.
    Rewound {
        /// Where that ends.
        end: Lsn,
        /// How far everything is in Kafka.
        flush: Lsn,
    },
    /// The slot is past it.
    Behind {
        /// The slot's position.
        start: Lsn,
        /// How far everything is in Kafka.
        flush: Lsn,
    },
    /// A later one was stored.
    Old {
        /// How far everything is in Kafka, according to the position.
        flush: Lsn,
        /// According to the database.
        noted: Lsn,
    },
}

/// Whether a position can belong to this server's history. Checked before another relay is fenced: it might be
/// another database's relay of the same name, or that of the original of which this database is a promoted copy. With
/// [`StreamStart::FirstRows`] the timeline does not count: the position belongs to an earlier slot.
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
    // What starts before the end was written before the two branched.
    if parted.is_some_and(|end| position.commit < end) {
        return Ok(());
    }
    Err(OtherOrigin::Timeline { stored: stored.timeline, found: server.timeline, position, parted })
}

/// How far everything is in Kafka and is skipped when it arrives; `None` if nothing is.
///
/// # Errors
/// [`PositionGap`]: continuing could skip events for good.
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
    // A start begins at the slot's position, so the first positions after it have an earlier LSN again, for later
    // events.
    if let Some(noted) = noted.filter(|noted| flush < *noted && checkpoint.position.commit < *noted) {
        return Err(PositionGap::Old { flush, noted });
    }
    Ok(Some(Checkpoint { flush, ..checkpoint }))
}

/// How far everything is in Kafka according to a position of a timeline: past the end of a timeline that the server's
/// descends from, it says nothing about the server's.
#[must_use]
pub fn flush_on(ancestry: &Ancestry, timeline: u32, flush: Lsn) -> Lsn {
    ancestry.end_of(timeline).map_or(flush, |end| flush.min(end))
}
