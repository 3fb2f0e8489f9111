//! Errors of bookmarks and of finding a position.

use crate::exit::{self, EndsCommand};
use crate::relay::boundary::{Lsn, Timestamp};
use crate::source::SourceError;

/// A bookmark can't be created, read or dropped, or a position can't be found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BookmarkError {
    /// The name is not valid.
    #[error("\"{name}\" is not a valid bookmark name for slot {slot}: use 1 to {longest} of a-z, 0-9 and _")]
    Name {
        name: String,
        /// The relay's slot.
        slot: String,
        /// The longest name, in bytes.
        longest: usize,
    },
    /// A slot with its name exists.
    #[error(
        "bookmark {name} already exists (slot {slot}): choose another name, or drop it with `walpost bookmark drop {name}`"
    )]
    Exists { name: String, slot: String },
    /// There is no such bookmark.
    #[error("slot {relay_slot} has no bookmark {name}; `walpost bookmark list` shows its bookmarks")]
    Unknown { name: String, relay_slot: String },
    /// A slot has the bookmark's name, but walpost did not create it.
    #[error("slot {slot} was not created by `walpost bookmark create`, so it is left alone")]
    NotOurs { slot: String },
    /// No position is known for a time this early.
    #[error(
        "no position is known for {wanted}: only [relay] rewind keeps an index of times{}; give a position or a bookmark, or \
         read the tables (`walpost replay --from-table --since`)",
        oldest.map(|at| format!(", which begins at {at}")).unwrap_or_default()
    )]
    TimeUnknown {
        /// The requested time.
        wanted: Timestamp,
        /// The earliest known time.
        oldest: Option<Timestamp>,
    },
    /// The text is not a time.
    #[error(
        "{text} is not a time ({reason}): write a time such as 2026-11-21T10:00:00Z, or an age such as 15m, 2h or 7d"
    )]
    NoTime {
        text: String,
        /// Postgres' error.
        reason: String,
    },
    /// The position is in the future.
    #[error("position {wanted} is past the end of the WAL, {end}")]
    Ahead {
        /// The position.
        wanted: Lsn,
        /// The end of the WAL.
        end: Lsn,
    },
    /// The server failed, or no slot holds the position.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<crate::postgres::Error> for BookmarkError {
    fn from(error: crate::postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl EndsCommand for BookmarkError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Source(error) => error.exit_code(),
            Self::TimeUnknown { .. } => exit::UNAVAILABLE,
            Self::Name { .. }
            | Self::Exists { .. }
            | Self::Unknown { .. }
            | Self::NotOurs { .. }
            | Self::NoTime { .. }
            | Self::Ahead { .. } => exit::FAILED,
        }
    }

    fn may_pass(&self) -> bool {
        matches!(self, Self::Source(error) if error.may_pass())
    }

    fn advice(&self) -> Option<&'static str> {
        if let Self::Source(error) = self { error.advice() } else { None }
    }
}
