//! Why there is no such position, or no such bookmark.

use crate::relay::boundary::{Lsn, Timestamp};
use crate::source::SourceError;

/// A bookmark can't be made or dropped.
#[derive(Debug, thiserror::Error)]
pub enum BookmarkError {
    /// The name.
    #[error("\"{name}\" can't name a bookmark of slot {slot}: use 1 to {longest} of a-z, 0-9 and _")]
    Name {
        /// The name.
        name: String,
        /// The relay's slot.
        slot: String,
        /// How long it may be, in bytes.
        longest: usize,
    },
    /// There is a slot of its name.
    #[error(
        "bookmark {name} is there already (slot {slot}): choose another name, or drop it with `walpost bookmark drop {name}`"
    )]
    Exists {
        /// The name.
        name: String,
        /// The slot.
        slot: String,
    },
    /// There is none.
    #[error("there is no bookmark {name} of slot {relay_slot}; `walpost bookmark list` shows which there are")]
    Unknown {
        /// The name.
        name: String,
        /// The relay's slot.
        relay_slot: String,
    },
    /// A slot has a bookmark's name, but walpost has not made it as one.
    #[error("slot {slot} is no bookmark of walpost's and is left alone: `walpost bookmark create` has not made it")]
    NotOurs {
        /// The slot.
        slot: String,
    },
    /// No moment is known that is as early.
    #[error(
        "which position {wanted} was is not known: [relay] rewind keeps an index of times{}; name a position or a bookmark, or \
         read the tables (`walpost replay --from-table --since`)",
        oldest.map(|at| format!(", which begins at {at}")).unwrap_or_default()
    )]
    TimeUnknown {
        /// The time that was asked for.
        wanted: Timestamp,
        /// The earliest that is known.
        oldest: Option<Timestamp>,
    },
    /// The text is no time.
    #[error("{text} is no time ({reason}): write such as 2026-11-21T10:00:00Z, or 15m, 2h or 7d for so long ago")]
    NoTime {
        /// What was written.
        text: String,
        /// What Postgres says.
        reason: String,
    },
    /// The position is not written yet.
    #[error("position {wanted} is past the end of the server's log, {end}")]
    Ahead {
        /// The position.
        wanted: Lsn,
        /// The end.
        end: Lsn,
    },
    /// The server, or no slot that holds the position.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<crate::postgres::Error> for BookmarkError {
    fn from(error: crate::postgres::Error) -> Self {
        Self::Source(error.into())
    }
}
