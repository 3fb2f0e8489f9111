//! Why a replay has not begun.

use crate::fault::{Fault, exit};
use crate::ops::positions::BookmarkError;
use crate::relay::boundary::{Lsn, Position};
use crate::source::{NotHeld, SourceError};

/// A replay did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The bookmark, or the time.
    #[error(transparent)]
    Bookmark(#[from] BookmarkError),
    /// The server, or no slot that holds the position.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The servers, or the settings.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The bookmark's slot has lost its log.
    #[error(
        "bookmark {name} holds nothing any more (slot {slot} is {wal_status}): drop it with `walpost bookmark drop {name}`"
    )]
    Lost {
        /// The bookmark.
        name: String,
        /// Its slot.
        slot: String,
        /// What became of it.
        wal_status: String,
    },
    /// Nothing is between.
    #[error("it would end at {to}, before it begins at {from}")]
    Backwards {
        /// The first position.
        from: Position,
        /// The last commit.
        to: Lsn,
    },
    /// Events may not go to the topic of `--topic`.
    #[error("{reason}, so nothing is replayed to it: name another with --topic")]
    Topic {
        /// Why not.
        reason: String,
    },
    /// A table's rows have no time.
    #[error("table {table} has no column for created_at, by which --since and --until tell the rows of a table")]
    Timeless {
        /// The table.
        table: String,
    },
}

impl From<NotHeld> for ReplayError {
    fn from(error: NotHeld) -> Self {
        Self::Source(error.into())
    }
}

impl From<crate::postgres::Error> for ReplayError {
    fn from(error: crate::postgres::Error) -> Self {
        Self::Source(error.into())
    }
}

impl ReplayError {
    /// As a [`Fault`] where it is one of the servers, which knows what to do.
    ///
    /// # Errors
    /// It is none.
    pub fn into_fault(self) -> Result<Fault, Self> {
        match self {
            Self::Source(error) | Self::Bookmark(BookmarkError::Source(error)) => Ok(error.into()),
            Self::Fault(fault) => Ok(fault),
            other => Err(other),
        }
    }

    /// The code that the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Bookmark(error) => error.exit_code(),
            Self::Source(_) | Self::Lost { .. } => exit::UNAVAILABLE,
            Self::Fault(fault) => fault.exit_code(),
            Self::Backwards { .. } => exit::FAILED,
            Self::Timeless { .. } | Self::Topic { .. } => exit::CONFIGURATION,
        }
    }
}

impl BookmarkError {
    /// The code that the process ends with.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Source(_) | Self::TimeUnknown { .. } => exit::UNAVAILABLE,
            Self::Name { .. }
            | Self::Exists { .. }
            | Self::Unknown { .. }
            | Self::NotOurs { .. }
            | Self::NoTime { .. }
            | Self::Ahead { .. } => exit::FAILED,
        }
    }
}
