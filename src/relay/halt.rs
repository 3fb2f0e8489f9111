//! Why the core waits, or must not continue.

use crate::relay::boundary::{Position, Refusal};
use crate::relay::decode::layout_error::LayoutError;
use crate::relay::decode::pgoutput::DecodeError;

/// Why [`Core::poll`](super::Core::poll) stopped: what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// A batch.
    Input,
    /// Room in the window: an acknowledgement.
    Window,
    /// Room in the sink.
    Sink,
    /// The answer to a request.
    Answer,
    /// Returned records may not be sent yet: answers for the others, or time.
    Returned,
    /// Nothing: it has worked long enough, and others get their turn.
    Turn,
    /// The intake was stopped and the open transaction has ended; or a replay has ended, or was told to.
    Drained,
}

/// The relay must not continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The stream is not pgoutput.
    #[error("can't decode the replication stream after position {after}: {error}")]
    Stream {
        /// The last event taken.
        after: Position,
        /// What is wrong.
        error: DecodeError,
    },
    /// A table does not match the configuration.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The event at the position of an earlier run has not arrived again, although everything up to it was to be
    /// skipped.
    #[error("the event at position {position}, where an earlier run stopped, is not in the stream: {found}")]
    Displaced {
        position: Position,
        /// What is there instead.
        found: &'static str,
    },
    /// An event was refused, and `on_rejected` or its contract says halt.
    #[error(
        "event at position {} of {} was refused ({}): {}",
        .position.map_or_else(|| "unknown".to_owned(), |position| position.to_string()),
        .table.as_deref().unwrap_or("an outbox"), .refusal.code, .refusal.detail
    )]
    Refused {
        /// The event's position.
        position: Option<Position>,
        /// Its table, or "logical message".
        table: Option<String>,
        /// Why it was refused.
        refusal: Refusal,
    },
}
