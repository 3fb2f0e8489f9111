//! The transaction that Postgres can't send, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::relay::boundary::Lsn;
use crate::source::StreamPlace;

/// A transaction that Postgres can't send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsendable {
    /// Where it is.
    pub place: StreamPlace,
    /// What Postgres says.
    pub error: String,
}

impl Unsendable {
    /// The LSN of its commit record, or the one up to which everything was sent.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.place.transaction.unwrap_or(self.place.after)
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self.place.transaction {
            Some(commit) => format!(
                "if the error persists, stop the relay and run `walpost slot skip --lsn {commit}` to write this transaction to the dead-letter topic"
            ),
            None => "check the server log".to_owned(),
        }
    }
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres can't send the transaction {}: {}", self.place, self.error)
    }
}

/// The same, in `/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsendableStatus {
    /// The LSN of its commit record; `None` if Postgres failed before it named the transaction.
    pub lsn: Option<String>,
    /// Everything before this was sent.
    pub after_lsn: String,
    /// What Postgres says.
    pub error: String,
}

impl From<&Unsendable> for UnsendableStatus {
    fn from(unsendable: &Unsendable) -> Self {
        let Unsendable { place, error } = unsendable;
        let lsn = place.transaction.map(|lsn| lsn.to_string());
        Self { lsn, after_lsn: place.after.to_string(), error: error.clone() }
    }
}
