//! Limits of the source, beside each other by concern. Those that depend on one another are checked below.

use std::time::Duration;

// The lease.

/// How often the lease's session is used, so that both sides know that the other is alive.
pub(in crate::source) const LEASE_BEAT: Duration = Duration::from_secs(1);
/// How long the server considers the session alive without hearing from it.
pub(crate) const LEASE_SILENCE: Duration = Duration::from_secs(5);
/// How long after its last heartbeat the lease is certainly held: less than the server considers the session alive,
/// with time for a record to be sent.
pub(in crate::source) const LEASE_VALIDITY: Duration = Duration::from_secs(4);
/// How long an answer may take: not so long that the server has ended the session meanwhile and another relay has the
/// slot.
pub(in crate::source) const LEASE_ANSWER: Duration = Duration::from_secs(4);
/// How long the server may work on a statement: a note can wait for a lock.
pub(in crate::source) const LEASE_STATEMENT: Duration = Duration::from_secs(3);
/// How long the transaction that takes the lease may wait for the lock on the row. After [`LEASE_SILENCE`] the server
/// ends it, so that a relay that hangs in it blocks no other.
pub(in crate::source) const LEASE_ROW_LOCK: Duration = Duration::from_secs(2);
/// How long a standby relay holds back after it has lost its connection: a server that was restarted has probably cut
/// off the slot's holder, too, which then continues without repeating anything.
pub(crate) const STANDBY_GRACE: Duration = Duration::from_millis(1_500);

// The slot.

/// How long a terminated walsender may hold its slot.
pub(in crate::source) const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often that is checked.
pub(in crate::source) const RELEASE_POLL: Duration = Duration::from_millis(20);
/// How many times another slot is chosen to be copied if the chosen one has moved on meanwhile.
pub(in crate::source) const COPY_ATTEMPTS: usize = 10;
/// How long the server may count the rows of a table that may be missing from Kafka. A table that takes longer is not
/// counted: the rest of the message matters more.
pub(in crate::source) const COUNTING_TIMEOUT: Duration = Duration::from_secs(10);

// The stream.

/// How often the confirmed LSN is reported by default.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the server may be silent if `wal_sender_timeout` is 0.
pub(in crate::source) const DEFAULT_SILENCE: Duration = Duration::from_secs(60);
/// How long a clean end may take. A walsender in the middle of a huge transaction first sends it to its end.
pub(in crate::source) const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How far behind the server's clock a commit must be for the stream to count as behind, in microseconds.
pub(in crate::source) const BEHIND_MICROS: i64 = 100_000;
/// Bytes that must have arrived before a read returns while the stream is behind. The walsender sends each row by
/// itself; a reader that wakes for each costs both sides more than the row does.
pub(in crate::source) const LOW_WATERMARK_BYTES: i32 = 512 * 1024;
/// How long such a read waits for them.
pub(in crate::source) const LOW_WATERMARK_PATIENCE: Duration = Duration::from_millis(2);
/// The socket's buffer, in bytes.
pub(in crate::source) const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes of TLS records that one read takes at most.
pub(in crate::source) const CIPHER_BYTES: usize = 256 * 1024;
/// Bytes that one read takes at most, and so the size of a batch unless a single message is larger.
pub(in crate::source) const BUFFER_BYTES: usize = 1 << 20;
/// A batch up to this size is copied out of the buffer, so that a few rows don't keep a whole buffer alive.
pub(in crate::source) const COPIED_BYTES: usize = 64 * 1024;
/// Room that the buffer must have for a read.
pub(in crate::source) const SPARE_BYTES: usize = 64 * 1024;

// Batches for the driver.

/// Batches that may wait for the driver.
pub(in crate::source) const CHANNEL_BATCHES: usize = 8;
/// Bytes that may wait for the driver. A single batch may be larger, if one message is.
pub(in crate::source) const CHANNEL_BYTES: usize = 8 << 20;
/// Bytes of frames after which the backfill passes a batch on.
pub(in crate::source) const BACKFILL_BATCH_BYTES: usize = 256 * 1024;

// Rows.

/// The largest record, in bytes, for which rows are read, if the user has not set another size.
pub const RECORD_BYTES: usize = 64 << 20;
/// What a row's message may have in addition to its record: names, headers, columns that are not read.
pub(in crate::source) const MARGIN_BYTES: usize = 2 << 20;

// A transaction that is skipped.

/// How long the server may be silent: it decodes a large transaction in silence. At the end of its WAL it reports the
/// position.
pub(in crate::source) const SKIP_SILENCE: Duration = Duration::from_secs(600);
/// How long the server may look for the transaction's rows in one table.
pub(in crate::source) const SKIP_LISTING_TIMEOUT: Duration = Duration::from_secs(60);
/// How many of them are listed per table.
pub(in crate::source) const SKIP_LISTED_MAX: usize = 1_000;

const _: () = {
    // Two heartbeats may be lost. A lease is not used any more when the server can give it to another relay.
    assert!(3 * LEASE_BEAT.as_millis() <= LEASE_VALIDITY.as_millis());
    assert!(LEASE_VALIDITY.as_millis() < LEASE_SILENCE.as_millis());
    // A statement fails on the server, with its reason, before the session is given up.
    assert!(LEASE_ROW_LOCK.as_millis() < LEASE_STATEMENT.as_millis());
    assert!(LEASE_STATEMENT.as_millis() < LEASE_ANSWER.as_millis());
    assert!(LEASE_ANSWER.as_millis() < LEASE_SILENCE.as_millis());
    assert!(STANDBY_GRACE.as_millis() < LEASE_SILENCE.as_millis());
    assert!(RELEASE_POLL.as_millis() < RELEASE_TIMEOUT.as_millis());
    // Two reports may be lost.
    assert!(3 * STATUS_INTERVAL.as_millis() <= DEFAULT_SILENCE.as_millis());
    assert!(DEFAULT_SILENCE.as_millis() <= SKIP_SILENCE.as_millis());
    assert!(SKIP_LISTING_TIMEOUT.as_millis() < SKIP_SILENCE.as_millis());
    // Reading in bulk keeps up with a stream that is no longer behind.
    assert!(LOW_WATERMARK_PATIENCE.as_micros() < BEHIND_MICROS as u128);
    assert!(LOW_WATERMARK_BYTES as usize <= RECEIVE_BUFFER_BYTES);
    assert!(COPIED_BYTES < BUFFER_BYTES && SPARE_BYTES < BUFFER_BYTES);
    assert!(BUFFER_BYTES <= CHANNEL_BYTES && BACKFILL_BATCH_BYTES <= CHANNEL_BYTES);
    assert!(MARGIN_BYTES < RECORD_BYTES);
};
