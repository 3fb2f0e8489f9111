//! Whether a slot belongs to the history that its relay knows, and where the relay starts: the only place that
//! decides it.
//!
//! Three questions, in the order in which a start can answer them:
//!
//! | question | when | from what |
//! |---|---|---|
//! | [`plan`] | at each connection | the row in `outbox.relay`, the slot, the server's timelines, what this process knows |
//! | [`skip_to`] | once Kafka has reported what is stored there | that position, and where the stream started |
//! | [`Guard`] | while the stream approaches that position | the event at that position |
//!
//! The edges gather the facts, which never change here; a [`Gap`] names a contradiction, in spite of which continuing
//! could skip rows for good.

mod guard;
mod position;

use super::boundary::{Ancestry, Lsn};
use super::confirm::Resume;

pub use guard::Guard;
pub use position::{Begun, OtherOrigin, PositionGap, Stored, StoredAt, flush_on, same_origin, skip_to};

/// How far the initial backfill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backfill {
    /// Started or about to start; nothing of the stream has been confirmed.
    Pending,
    /// Completely published, or left out because something else created the slot.
    Done,
}

/// Whether another relay may have held the slot in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAcquisition {
    /// The lease was held all the time.
    Kept,
    /// The lease was taken since the slot was last inspected.
    New,
}

/// A Postgres server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The cluster's system identifier.
    pub system_identifier: String,
    pub timeline: u32,
    /// The timelines that its own descends from.
    pub ancestry: Ancestry,
    /// Where its WAL ends.
    pub wal_end: Lsn,
}

/// The slot's row in `outbox.relay`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedState {
    /// The cluster that the slot was created on.
    pub system_identifier: String,
    /// The timeline that was last streamed from, if noted.
    pub timeline: Option<u32>,
    /// How far the initial backfill is.
    pub backfill: Backfill,
    /// No relay has confirmed the slot past this.
    pub confirm_limit: Option<Lsn>,
}

/// The slot as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// There is none of that name.
    Missing,
    /// It was invalidated.
    Lost {
        /// The last position that was confirmed.
        confirmed: Lsn,
        /// Why, in Postgres's words.
        reason: String,
    },
    /// Everything before this was confirmed.
    At(Lsn),
}

/// The server that this process last streamed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastStreamed {
    /// Its cluster's system identifier.
    pub system_identifier: String,
    /// Its timeline then.
    pub timeline: u32,
}

/// What is known before a stream starts. Facts only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFacts {
    /// The row in `outbox.relay`; `None` if no relay has had the slot.
    pub noted: Option<NotedState>,
    pub slot: Slot,
    pub server: Server,
    /// What this process knows of the slot.
    pub resume: Option<Resume>,
    /// The server it knows that from.
    pub last: Option<LastStreamed>,
    /// Whether another relay may have held the slot in between.
    pub acquisition: LeaseAcquisition,
}

/// How the stream starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumePlan {
    /// With what follows `start`.
    At {
        /// Everything before it is confirmed.
        start: Lsn,
        /// This process has the whole backfill, which ends here, and that is still to be noted.
        backfill_end: Option<Lsn>,
    },
    /// With a new slot, and a backfill.
    MakeAnew {
        /// The existing slot is useless, and nothing was confirmed to it.
        drops: bool,
    },
    /// With the slot as it was created, and a repeated backfill.
    BackfillAgain {
        /// Where the slot was created.
        start: Lsn,
    },
}

/// Why no stream may start: rows could be skipped for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The slot was created, or streamed from, on another cluster.
    SystemChanged {
        /// That cluster's system identifier.
        known: String,
        /// The server's.
        found: String,
    },
    /// The server's timeline changed while this process streamed: the core skips positions that it has seen, and they
    /// may now belong to other rows.
    TimelineChanged {
        /// The timeline that was streamed from.
        before: u32,
        /// The server's.
        now: u32,
    },
    /// The server's timeline does not descend from the one that the slot was last used on.
    TimelineForeign {
        /// The noted timeline.
        before: u32,
        /// The server's.
        now: u32,
    },
    /// The server's WAL ends before a position that this process confirmed.
    ServerRewound {
        /// Where the WAL ends.
        found: Lsn,
        /// What was confirmed.
        expected: Lsn,
    },
    /// The slot no longer exists, and rows after its position may never have been published.
    SlotMissing,
    /// Postgres has removed WAL that the slot needed.
    SlotLost {
        /// The last position that was confirmed.
        confirmed: Lsn,
        /// Why, in Postgres's words.
        reason: String,
    },
    /// The slot is past everything that a relay has confirmed: something else advanced or recreated it.
    SlotAdvanced {
        /// Its position.
        found: Lsn,
        /// Its highest valid position.
        expected: Lsn,
    },
}

/// Where the stream starts.
///
/// # Errors
/// [`Gap`]: nothing may be streamed.
pub fn plan(known: &StartFacts) -> Result<ResumePlan, Gap> {
    let switch = same_history(known)?;
    let backfill = known.noted.as_ref().map(|noted| noted.backfill);
    // What this process confirmed includes the backfill, which came first.
    let own = match known.resume {
        Some(Resume::Confirmed(lsn)) => Some(lsn),
        Some(Resume::Backfilled(_)) | None => None,
    };
    let stands = match &known.slot {
        Slot::At(confirmed) => *confirmed,
        Slot::Missing if backfill == Some(Backfill::Pending) || backfill.is_none() && own.is_none() => {
            return Ok(ResumePlan::MakeAnew { drops: false });
        }
        Slot::Missing => return Err(Gap::SlotMissing),
        // Nothing was confirmed yet, so nothing is lost with it.
        Slot::Lost { .. } if backfill == Some(Backfill::Pending) && own.is_none() => {
            return Ok(ResumePlan::MakeAnew { drops: true });
        }
        Slot::Lost { confirmed, reason } => {
            return Err(Gap::SlotLost { confirmed: *confirmed, reason: reason.clone() });
        }
    };
    if backfill == Some(Backfill::Pending) && own < Some(stands) {
        return Ok(match known.resume {
            // The stream was lost after the backfill. If the slot was replaced or moved, the backfill is incomplete.
            Some(Resume::Backfilled(end)) if end == stands => ResumePlan::At { start: end, backfill_end: Some(end) },
            // The slot is kept for what is in its WAL but in no table: logical messages, and rows that were deleted
            // at once.
            _ => ResumePlan::BackfillAgain { start: stands },
        });
    }
    let noted = known.noted.as_ref().and_then(|noted| noted.confirm_limit);
    let limit = match known.acquisition {
        LeaseAcquisition::Kept => own.or(noted),
        // A previous holder of the lease noted more before confirming it. A standby may have a newer copy of the slot
        // than of the last note; both are from before the switch.
        LeaseAcquisition::New => own.max(noted.map(|limit| limit.max(switch.unwrap_or_default()))),
    };
    not_past(stands, limit.unwrap_or(stands))?;
    Ok(ResumePlan::At { start: own.unwrap_or(stands).max(stands), backfill_end: None })
}

/// Whether the server is the noted one and the one that this process streamed from; returns where the noted timeline
/// ended, if the server has moved on from it. Nothing may be done to the slot before.
///
/// # Errors
/// [`Gap`]: it is a different one.
pub fn same_history(known: &StartFacts) -> Result<Option<Lsn>, Gap> {
    let server = &known.server;
    same_server(server, known.last.as_ref(), known.resume.map(Resume::lsn))?;
    let Some(noted) = &known.noted else { return Ok(None) };
    same_system(&noted.system_identifier, server)?;
    match noted.timeline {
        Some(before) if before != server.timeline => {
            let foreign = Gap::TimelineForeign { before, now: server.timeline };
            server.ancestry.end_of(before).ok_or(foreign).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether the server is `last`, which this process streamed from, and still has what was `reached`: an LSN on
/// another cluster or timeline means something else.
///
/// # Errors
/// [`Gap`]: it is a different one, or was restored.
pub fn same_server(server: &Server, last: Option<&LastStreamed>, reached: Option<Lsn>) -> Result<(), Gap> {
    if let Some(last) = last {
        same_system(&last.system_identifier, server)?;
        if last.timeline != server.timeline {
            return Err(Gap::TimelineChanged { before: last.timeline, now: server.timeline });
        }
    }
    match reached.filter(|expected| server.wal_end < *expected) {
        Some(expected) => Err(Gap::ServerRewound { found: server.wal_end, expected }),
        None => Ok(()),
    }
}

fn same_system(known: &str, server: &Server) -> Result<(), Gap> {
    if known == server.system_identifier {
        return Ok(());
    }
    Err(Gap::SystemChanged { known: known.to_owned(), found: server.system_identifier.clone() })
}

/// Whether a slot is not past its highest valid position.
///
/// # Errors
/// [`Gap::SlotAdvanced`].
pub fn not_past(found: Lsn, expected: Lsn) -> Result<(), Gap> {
    if found > expected { Err(Gap::SlotAdvanced { found, expected }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
