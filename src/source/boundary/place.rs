//! Where a stream ended.

use std::fmt;

use crate::relay::boundary::Lsn;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamPlace {
    /// The commit record of the transaction being sent.
    pub transaction: Option<Lsn>,
    /// Everything before this has been sent.
    pub after: Lsn,
}

impl fmt::Display for StreamPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction {
            Some(commit) => write!(f, "at {commit}"),
            None => write!(f, "after {}", self.after),
        }
    }
}
