//! Why a replay did not start.

use crate::exit::{self, EndsCommand};
use crate::fault::Fault;
use crate::positions::BookmarkError;
use crate::relay::boundary::{Lsn, Position};
use crate::source::{NotHeld, SourceError};

/// A replay did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The bookmark or the time can't be resolved.
    #[error(transparent)]
    Bookmark(#[from] BookmarkError),
    /// The server failed, or no slot holds the position.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A server can't be reached, or the settings are wrong.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The bookmark's slot has lost its log.
    #[error(
        "bookmark {name} has lost its WAL (slot {slot} is {wal_status}): drop it with `walpost bookmark drop {name}`"
    )]
    Lost {
        /// The bookmark.
        name: String,
        slot: String,
        /// `wal_status` of the slot.
        wal_status: String,
    },
    /// The range is empty.
    #[error("the replay would end at {to}, before its start at {from}")]
    Backwards {
        /// The first position.
        from: Position,
        /// The last commit.
        to: Lsn,
    },
    /// Events may not go to the topic of `--topic`.
    #[error("{reason}; choose another --topic")]
    Topic {
        /// Why events may not go there.
        reason: String,
    },
    /// A table has no created_at column to select by.
    #[error("table {table} has no created_at column, which --since and --until need")]
    Timeless { table: String },
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

impl EndsCommand for ReplayError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Bookmark(error) => error.exit_code(),
            Self::Source(error) => error.exit_code(),
            Self::Fault(fault) => fault.exit_code(),
            Self::Lost { .. } => exit::UNAVAILABLE,
            Self::Backwards { .. } => exit::FAILED,
            Self::Timeless { .. } | Self::Topic { .. } => exit::CONFIGURATION,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Bookmark(error) => error.may_pass(),
            Self::Source(error) => error.may_pass(),
            Self::Fault(fault) => fault.may_pass(),
            _ => false,
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Bookmark(error) => error.advice(),
            Self::Source(error) => error.advice(),
            Self::Fault(fault) => fault.advice(),
            _ => None,
        }
    }
}
