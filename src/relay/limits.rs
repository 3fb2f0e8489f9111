//! Limits of the core, beside each other by concern. Those that depend on one another are checked below.

use std::time::Duration;

use crate::relay::back_off::BackOff;

// What is remembered of lookups.

/// How long a negative answer holds at first.
pub(in crate::relay) const REFUSAL_KEPT: Duration = Duration::from_secs(5);
/// How long a topic's negative answer holds at most.
pub(in crate::relay) const TOPIC_REFUSAL_KEPT: Duration = Duration::from_secs(30);
/// How many schema versions, topics and types are remembered, each. Rows can contain any name, so there must be a
/// limit; when it is reached the cache is cleared and refilled on demand.
pub(in crate::relay) const ENTRIES_MAX: usize = 20_000;
/// How many topics are looked for ahead.
pub(in crate::relay) const AHEAD_TOPICS: usize = 200;
/// How many schema versions are looked for ahead.
pub(in crate::relay) const AHEAD_VERSIONS: usize = 200;
/// How long name and version of such a one may be together, in bytes: a row can contain any name.
pub(in crate::relay) const AHEAD_NAME_BYTES: usize = 1_000;
/// How many rows are looked at for that.
pub(in crate::relay) const AHEAD_ROWS: usize = 5_000;
/// How much work checking their payloads may be, in units of about a nanosecond.
pub(in crate::relay) const AHEAD_WORK: u64 = 10_000_000;

// Work on payloads.

/// How much work checks may take before others get their turn, in units of about a nanosecond.
pub(in crate::relay) const TURN_WORK: u64 = 100_000_000;
/// How much work a check must take for its result to be kept until its event has been sent.
pub(in crate::relay) const KEPT_WORK: u64 = 1_000_000;

// Headers, and what is logged about them.

/// How many headers a row may bring. Each is compared with the others, and costs an allocation in the client.
pub(in crate::relay) const ROW_HEADERS_MAX: usize = 1_000;
/// What a header's value is cut to, in bytes, in a dead letter that is too large even without its value.
pub(in crate::relay) const CUT_HEADER_BYTES: usize = 1_024;
/// Most names that are logged, and the longest, in characters: a row can contain any name.
pub(in crate::relay) const DROPPED_NAMES_MAX: usize = 10;
/// How much of such a name is logged, in characters.
pub(in crate::relay) const DROPPED_NAME_CHARS: usize = 100;
/// How many tables that the configuration does not name are reported: a publication can have all tables of a database.
pub(in crate::relay) const IGNORED_TABLES_MAX: usize = 100;
/// Most notices that wait for the driver; further ones are only counted.
pub(in crate::relay) const NOTICES_MAX: usize = 256;

// Records in flight and returned.

/// How many windows of records may be acknowledged behind the oldest one in flight. A partition without a leader
/// holds back the flush LSN; the others continue for this long, and are published again for this long after a crash.
pub(in crate::relay) const SPAN_WINDOWS: usize = 10;
/// How long returned records wait before they are sent again.
pub(in crate::relay) const RETRY_BACK_OFF: BackOff = BackOff::new(RETRY_FIRST, RETRY_LONGEST);
/// The first of these waits.
pub(in crate::relay) const RETRY_FIRST: Duration = Duration::from_millis(100);
/// The longest of these waits.
pub(in crate::relay) const RETRY_LONGEST: Duration = Duration::from_secs(10);

// Clocks.

/// Until the LSN from which messages need a signature is settled, the database is asked again about an unsigned
/// message committed this many microseconds after the last time.
pub(in crate::relay) const SETTLING_MICROS: i64 = 60_000_000;
/// How far past `until` a commit time must be before the rest of the stream counts as later, too. Commits are logged
/// in a slightly different order than their times; by more only if the server's clock was set.
pub(in crate::relay) const CLOCK_MARGIN_MICROS: i64 = 60_000_000;

const _: () = {
    assert!(REFUSAL_KEPT.as_millis() <= TOPIC_REFUSAL_KEPT.as_millis());
    assert!(RETRY_FIRST.as_millis() <= RETRY_LONGEST.as_millis());
    // What is looked for ahead fits into what is remembered, and into one turn.
    assert!(AHEAD_TOPICS <= ENTRIES_MAX && AHEAD_VERSIONS <= ENTRIES_MAX && AHEAD_WORK <= TURN_WORK);
    assert!(KEPT_WORK <= TURN_WORK);
};
