//! The pure core: frames in, records and feedback out. No I/O, no clock, no randomness, no async.
//!
//! What happens is passed in through `handle_*` (a connection, a batch of frames, an acknowledgement, a failure, an
//! answer), and what must be done is returned by `poll_*`. Time is an argument. So the part that could lose a row
//! runs under the seeded simulator (`tests/sim`) exactly as in the relay.
//!
//! [`Core`] ties the parts together. In the order in which data moves:
//!
//! | part | from | to |
//! |---|---|---|
//! | [`pgoutput`](decode::pgoutput) | bytes of the replication stream | borrowed messages |
//! | [`outbox`](decode::outbox) | a configured table and its layout in the stream | where each part of an event is in a row |
//! | [`text_encoding`](decode::text_encoding) | text in the database's encoding | UTF-8 |
//! | [`codec`](decode::codec) | a column's type | how to read its bytes |
//! | [`scalar`](decode::scalar) | a number, date, time or address in binary format | its text |
//! | [`proof`](decode::proof) | a logical message and the keys | whether `outbox.emit_message` wrote it |
//! | [`event`](decode::event) | a row or a logical message | an event |
//! | [`destination`](route::destination) | a topic name | whether events may go there |
//! | [`catalogue`](route::catalogue) | answers about schema versions and topics | what publishing an event needs |
//! | `check` | an event and its contract | whether it may go to its topic |
//! | [`data_schema`](publish::data_schema) | a schema version | its URI |
//! | [`attributes`](publish::attributes) | a header name | whether a CloudEvent may have it |
//! | `row_headers` | an event's own headers | names and values |
//! | [`encode`](publish::encode) | an event | headers, dead letters, sizes |
//! | `dropped` | headers that a row may not set | the log's notice about them |
//! | `publisher` | an event | an offered record, or a dead letter |
//! | [`ledger`](delivery::ledger) | tickets and commits | the flush LSN |
//! | [`confirm`] | the flush LSN, and what is stored and noted | how far the slot may be confirmed |
//! | [`resume`] | what is known of slot, server and stored position | where the stream starts, and what is skipped |
//! | [`retry_queue`](delivery::retry_queue) | records returned by Kafka | the same, in order, when they may be sent again |
//! | [`back_off`](delivery::back_off) | failures | how long to wait |
//! | [`replay`] | a selection of events | which events are published again, and where that ends |

// By clippy.toml. The tests may do more.
#![cfg_attr(not(test), deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types))]

mod limits;
pub mod boundary;
pub mod decode;
pub mod route;
pub mod publish;
pub mod delivery;
pub mod confirm;
pub mod resume;
mod machine;
pub mod replay;

use boundary::{Position, Refusal, RefusalCode};
use decode::outbox::{LayoutError, Outbox};
use decode::pgoutput::DecodeError;
use publish::encode::HeaderStyle;
use route::destination::TopicPattern;

pub use machine::Core;
pub use publish::dropped::DroppedHeaders;
pub use publish::publisher::Offer;

/// The prefix of logical messages that are events.
pub const MESSAGE_PREFIX: &str = "outbox";

/// What happens to an event that can't be published under its contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRejected {
    /// It goes to the dead-letter topic with the reason.
    #[default]
    DeadLetter,
    /// The relay stops in front of it.
    Halt,
    /// As `DeadLetter`, even if a contract says that the relay stops.
    DeadLetterAlways,
}

/// The core's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tables whose rows are events.
    pub outboxes: Vec<Outbox>,
    /// The style of headers.
    pub header_style: HeaderStyle,
    /// The `ce_source` header.
    pub source: String,
    /// What `ce_dataschema` begins with.
    pub schema_base: String,
    /// The `outbox-relay` header.
    pub relay: String,
    /// What happens to a refused event.
    pub on_rejected: OnRejected,
    /// Where dead letters go.
    pub dead_letter_topic: String,
    /// Patterns of the topics that events may go to.
    pub topics: Vec<TopicPattern>,
    /// How many records may be in flight.
    pub max_in_flight: usize,
    /// How many bytes of keys, values and headers may be in flight.
    pub max_in_flight_bytes: usize,
}

/// Why [`Core::poll`] stopped: what it waits for.
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
        /// The position.
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

/// What happened to an event that violates its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// It is a dead letter.
    DeadLetter,
    /// It is published anyway, as its contract says.
    Published,
}

/// An event violates its contract: a notice for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event's position.
    pub position: Option<Position>,
    /// Its table.
    pub table: Option<String>,
    /// Why it was refused, or would have been.
    pub refusal: Refusal,
    /// What happened to it.
    pub outcome: Disposition,
}

/// What the core has done since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records accepted by the sink for the first time, including dead letters.
    pub published: u64,
    /// Acknowledged records, including dead letters.
    pub acknowledged: u64,
    /// Records that Kafka returned to be sent again.
    pub returned: u64,
    /// Events skipped because they had been taken before a reconnection.
    pub skipped: u64,
    /// Non-transactional logical messages with the prefix of events, which are ignored.
    pub stray_messages: u64,
    /// Logical messages with the prefix of events that `outbox.emit_message` did not write.
    pub forged_messages: u64,
    /// Records that violate their contract and were published anyway.
    pub violations: u64,
    /// Dead letters by [`RefusalCode`], in the order of `RefusalCode::ALL`.
    pub dead_letters: [u64; RefusalCode::ALL.len()],
}
