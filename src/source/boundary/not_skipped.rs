//! Why a transaction is not skipped. Each message says in one line what to do instead.

use crate::relay::boundary::Lsn;

/// Why nothing is skipped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSkipped {
    /// The transaction can be sent.
    #[error("nothing was skipped: Postgres can send the transaction at {0}; start the relay")]
    Readable(Lsn),
    /// There is no transaction at this LSN.
    #[error(
        "nothing was skipped: no transaction with rows of the publication committed at {0}, or the slot is already past it"
    )]
    Absent(Lsn),
    /// Another one comes first.
    #[error(
        "nothing was skipped: Postgres can't send the transaction at {fails} ({error}), which comes before {wanted}; run `walpost slot skip --lsn {fails}`"
    )]
    Another {
        wanted: Lsn,
        fails: Lsn,
        /// What Postgres says.
        error: String,
    },
    /// Postgres failed before it named the transaction.
    #[error("nothing was skipped: Postgres failed before it started to send a transaction: {0}")]
    Unnamed(String),
    /// Events before it are not published.
    #[error(
        "nothing was skipped: {events} events before {wanted} are not confirmed yet, starting with the transaction at {commit}; start the relay to publish them, then stop it and try again"
    )]
    Unpublished {
        wanted: Lsn,
        /// How many.
        events: u64,
        /// The commit of the first of them.
        commit: Lsn,
    },
}
