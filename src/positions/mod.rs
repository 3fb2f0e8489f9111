//! Positions to replay from: bookmarks, the rewind window, and the index from times to positions.
//!
//! A position is held by an inactive logical slot; [`crate::source::held`] finds the slots that hold one. Such a slot retains WAL from
//! its `restart_lsn` on and delays nobody: a replay streams from a copy.
//!
//! - [`bookmark`]: slots that an operator names, at a fixed position
//! - [`window`]: one slot that trails the relay's, advanced by the relay
//! - [`moment`]: finds the position of a time

pub(crate) mod bookmark;
pub(crate) mod window;
pub(crate) mod moment;
mod error;

pub(crate) use error::BookmarkError;
