//! Records in flight: the part of each record that librdkafka does not return.

use slab::Slab;

use super::partition_load::Route;
use crate::relay::boundary::Ticket;

/// What is kept of every outstanding record, each under a number that travels with the record as its opaque value.
pub(crate) type InFlight = Slab<Entry>;

/// What is kept of a record.
///
/// A delivery report of a failed record has no timestamp (`rd_kafka_message_timestamp` returns -1), so it is kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) timestamp_millis: i64,
    /// See [`super::flush::FlushSchedule`].
    pub(crate) number: u64,
    pub(crate) route: Route,
    /// See [`super::gathering::Gathering`].
    pub(crate) bytes: u32,
}
