//! The core's settings.

use crate::relay::boundary::{HeaderStyle, OnRejected};
use crate::relay::decode::outbox::Outbox;
use crate::relay::route::destination::TopicPattern;

/// The core's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tables whose rows are events.
    pub outboxes: Vec<Outbox>,
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

#[cfg(test)]
impl Settings {
    /// Defaults for tests: `outbox.event` and a small window.
    pub(crate) fn of_tests() -> Self {
        Self {
            outboxes: vec![Outbox::walpost("outbox", "event")],
            header_style: HeaderStyle::CloudEvents,
            source: "/shop".to_owned(),
            schema_base: "urn:walpost:schema:".to_owned(),
            relay: "eu-1".to_owned(),
            on_rejected: OnRejected::DeadLetter,
            dead_letter_topic: "dead".to_owned(),
            topics: vec![TopicPattern::any()],
            max_in_flight: 10,
            max_in_flight_bytes: 1 << 20,
        }
    }
}
