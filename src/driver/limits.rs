//! Limits of the driver, beside each other by concern. Those that depend on one another are checked below.

use std::time::Duration;

use crate::relay::back_off::BackOff;
use crate::source::{LEASE_SILENCE, STANDBY_GRACE};
use crate::telemetry::status::IDLE_SLOT;

// The loop, and what it reports.

/// Longest wait of the loop, so that the telemetry reports an outage in which nothing moves.
pub(in crate::driver) const TURN_INTERVAL: Duration = Duration::from_secs(1);
/// How many events may wait for the driver.
pub(in crate::driver) const SIDE_EVENTS_MAX: usize = 16;
/// Minimum interval between progress updates of the telemetry.
pub(in crate::driver) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Minimum interval between log lines about ignored messages.
pub(in crate::driver) const STRAY_INTERVAL: Duration = Duration::from_secs(60);
/// How many events of a kind get a log line each within a window.
pub(in crate::driver) const NOTICE_LINES_MAX: u64 = 20;
/// That window.
pub(in crate::driver) const NOTICE_WINDOW: Duration = Duration::from_secs(10);

// Connecting.

/// How long the first connection is tried. Later ones are tried for ever; a relay that has never reached its database
/// is more likely misconfigured than facing an outage.
pub(in crate::driver) const FIRST_CONNECTION: Duration = Duration::from_secs(10);
/// How often a standby relay asks for the lease. Once it holds it, it still needs a connection and an answer from
/// Kafka.
pub(in crate::driver) const STANDBY_INTERVAL: Duration = Duration::from_millis(250);
/// How long to wait before the next attempt to connect.
pub(in crate::driver) const RECONNECT_BACK_OFF: BackOff =
    BackOff::new(Duration::from_millis(100), Duration::from_secs(5));
/// How long the next attempt waits where Postgres failed twice at the same place. It is still made: a server that was
/// out of memory for a moment looks the same.
pub(in crate::driver) const REPEAT_BACK_OFF: BackOff = BackOff::new(Duration::from_secs(10), Duration::from_secs(60));

// Notes and stored positions.

/// Minimum interval between notes.
pub(in crate::driver) const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between notes while there was only a little WAL without events: a note is WAL too.
pub(in crate::driver) const IDLE_NOTE_INTERVAL: Duration = Duration::from_secs(10);
/// Minimum interval while commits wait for confirmation. Each note is WAL to be confirmed, so this is also how often
/// notes are then written.
pub(in crate::driver) const HURRIED_INTERVAL: Duration = Duration::from_millis(50);
/// How many bytes of WAL count as a little.
pub(in crate::driver) const LITTLE_WAL_BYTES: u64 = 4 * 1024;
/// How long the last note may take.
pub(in crate::driver) const LAST_NOTE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a failure the end of the backfill is noted again. Nothing is confirmed meanwhile, but nothing else
/// is held up.
pub(in crate::driver) const BACKFILL_NOTE_PAUSE: Duration = Duration::from_secs(1);
/// Minimum interval between positions stored without a record. The slot of an idle outbox in a busy database is
/// confirmed this often, so it retains this much WAL.
pub(in crate::driver) const STORE_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait before a position that could not be stored is given to the sink again.
pub(in crate::driver) const STORE_BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

/// How long the slot of a healthy idle relay may stay where it is while other WAL is written: until the position is stored,
/// then until that is noted, then until it is confirmed.
pub(crate) const IDLE_CONFIRMING: Duration = Duration::from_secs(25);

// Lookups.

/// How long to wait before retrying a lookup.
pub(in crate::driver) const LOOKUP_BACK_OFF: BackOff = BackOff::new(Duration::from_millis(200), Duration::from_secs(5));
/// Minimum interval between reads of the message keys: any role can write messages that no key matches. One read
/// settles all such messages in the WAL so far, so the rest of the stream waits no longer than this.
pub(in crate::driver) const KEYS_INTERVAL: Duration = Duration::from_secs(1);
/// How often a missing type is looked up again.
pub(in crate::driver) const TYPE_INTERVAL: Duration = Duration::from_millis(200);
/// How long a missing type is looked up again. Its first row can arrive before the transaction that created it is
/// visible to others. A type that is still missing after this was dropped, and its rows are refused.
pub(in crate::driver) const TYPE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the Postgres connection is kept for the next request.
pub(in crate::driver) const SESSION_KEPT: Duration = Duration::from_secs(20);
/// How long Postgres may take to answer.
pub(in crate::driver) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before checking again whether a streamed commit is visible.
pub(in crate::driver) const VISIBLE_BACK_OFF: BackOff =
    BackOff::new(Duration::from_millis(5), Duration::from_millis(500));
/// How long a streamed commit may stay invisible before that is reported. The request stays open until it is visible.
pub(in crate::driver) const VISIBLE_PATIENCE: Duration = Duration::from_secs(5);
/// Longest list of registered versions that is kept; if there are more, each name is looked up by itself.
pub(in crate::driver) const LISTED_MAX: usize = 20_000;

// Maintenance.

/// How often the slot and the publication are checked.
pub(in crate::driver) const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// How often `outbox.maintain` is called. It creates partitions days ahead, so missing an hour does no harm.
pub(in crate::driver) const MAINTAIN_INTERVAL: Duration = Duration::from_secs(3_600);
/// Delay after `outbox.maintain` failed.
pub(in crate::driver) const MAINTAIN_AGAIN: Duration = Duration::from_secs(60);
/// The next check waits at least this many times as long as the last one took: with a hundred thousand tables in the
/// publication, a check is expensive.
pub(in crate::driver) const PUBLICATION_REST: u32 = 50;

// Dead letters of a transaction that is skipped.

/// How long Kafka may take to acknowledge all of them.
pub(in crate::driver) const SKIP_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait in an outage before asking for the topic again.
pub(in crate::driver) const SKIP_PAUSE: Duration = Duration::from_millis(500);

const _: () = {
    // A note is due no later than the turn that writes it.
    assert!(HURRIED_INTERVAL.as_millis() < TURN_INTERVAL.as_millis());
    assert!(TURN_INTERVAL.as_millis() <= NOTE_INTERVAL.as_millis());
    assert!(STORE_INTERVAL.as_millis() + IDLE_NOTE_INTERVAL.as_millis() < IDLE_CONFIRMING.as_millis());
    assert!(NOTE_INTERVAL.as_millis() <= IDLE_NOTE_INTERVAL.as_millis());
    assert!(PROGRESS_INTERVAL.as_millis() <= TURN_INTERVAL.as_millis());
    assert!(STANDBY_INTERVAL.as_millis() < FIRST_CONNECTION.as_millis());
    // A takeover: the server ends the dead relay's session, then a standby relay asks, perhaps after holding back.
    assert!(
        LEASE_SILENCE.as_millis() + STANDBY_GRACE.as_millis() + STANDBY_INTERVAL.as_millis() < IDLE_SLOT.as_millis()
    );
    assert!(TYPE_INTERVAL.as_millis() < TYPE_PATIENCE.as_millis());
    assert!(WATCH_INTERVAL.as_millis() < MAINTAIN_AGAIN.as_millis());
    assert!(MAINTAIN_AGAIN.as_millis() < MAINTAIN_INTERVAL.as_millis());
    assert!(SKIP_PAUSE.as_millis() < SKIP_TIMEOUT.as_millis());
};
