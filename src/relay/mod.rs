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
//! | [`event`](decode::event) | a row | an event |
//! | [`message`](decode::message) | a logical message | an event |
//! | [`destination`](route::destination) | a topic name | whether events may go there |
//! | [`data_schema`](route::data_schema) | a schema version | its URI |
//! | [`metadata_cache`](route::metadata_cache) | answers about schema versions and topics | what publishing an event needs |
//! | [`attributes`](publish::attributes) | a header name | whether a CloudEvent may have it |
//! | `row_headers` | an event's own headers | names and values |
//! | [`encode`](publish::encode) | an event | headers, dead letters, sizes |
//! | `check` | an event and its contract | whether it may go to its topic |
//! | `dropped` | headers that a row may not set | the log's notice about them |
//! | `publisher` | an event | an offered record, or a dead letter |
//! | [`ledger`](delivery::ledger) | tickets and commits | the flush LSN |
//! | [`confirm`] | the flush LSN, and what is stored and noted | how far the slot may be confirmed |
//! | [`resume`] | what is known of slot, server and stored position | where the stream starts, and what is skipped |
//! | [`retry_queue`](delivery::retry_queue) | records returned by Kafka | the same, in order, when they may be sent again |
//! | [`back_off`] | failures | how long to wait |
//! | [`replay`] | a selection of events | which events are published again, and where that ends |

// By clippy.toml. The tests may do more.
#![cfg_attr(not(test), deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types))]

pub mod back_off;
mod limits;
pub mod boundary;
mod calendar;
pub mod decode;
pub mod route;
mod settings;
mod halt;
mod report;
pub mod publish;
pub mod delivery;
pub mod confirm;
pub mod resume;
mod machine;
pub mod replay;

pub use boundary::{HeaderStyle, MESSAGE_PREFIX, OnRejected};
pub use halt::{Halt, Idle};
pub use machine::Core;
pub use publish::dropped::DroppedHeaders;
pub use publish::publisher::Offer;
pub use report::{Counters, Disposition, Notice};
pub use settings::Settings;
