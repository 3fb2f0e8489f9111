//! The core's settings.

use crate::relay::boundary::OnRejected;
use crate::relay::decode::outbox::Outbox;
use crate::relay::route::destination::TopicPattern;

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

/// How an event's own fields become headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// The Kafka protocol binding of CloudEvents 1.0, binary mode.
    #[default]
    CloudEvents,
    /// `id`, `schema`, `schema-version`.
    Plain,
    /// `id` and the placed columns, like the Debezium outbox event router.
    Debezium,
}

impl HeaderStyle {
    /// The headers that the relay writes in this style in addition to those of every style; `has_schema` says that
    /// the table's events name a schema version. A row can set none of them.
    #[must_use]
    pub const fn own(self, has_schema: bool) -> &'static [&'static str] {
        match (self, has_schema) {
            (Self::CloudEvents, true) => {
                &["ce_specversion", "ce_id", "ce_source", "ce_time", "ce_type", "ce_dataschema", "content-type"]
            }
            (Self::CloudEvents, false) => &["ce_specversion", "ce_id", "ce_source", "ce_time"],
            (Self::Plain, true) => &["id", "schema", "schema-version"],
            (Self::Plain, false) | (Self::Debezium, _) => &["id"],
        }
    }
}
