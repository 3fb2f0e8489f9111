//! Limits of the sink, beside each other by concern. Those that depend on one another are checked below.

use std::time::Duration;

use crate::relay::back_off::BackOff;

// Requests to Kafka.

/// How long Kafka may take to answer for the first time. After that the relay waits as long as an outage lasts.
pub(crate) const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How long one request to Kafka may take.
pub(in crate::sink) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a new topic may take to have a leader for every partition.
pub(in crate::sink) const LEADERS_TIMEOUT: Duration = Duration::from_secs(15);
/// First and last interval of checking for leaders: most topics have them within a few milliseconds.
pub(in crate::sink) const LEADERS_TICKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(50)];
/// How many topics that were created along with others are remembered.
pub(in crate::sink) const CREATED_ALONG_MAX: usize = 20_000;
/// How long a list of all topics is used. A topic that somebody creates meanwhile is refused for as long.
pub(in crate::sink) const LISTED_FOR: Duration = Duration::from_secs(2);
/// How long what was found of a topic before it was asked for is used.
pub(in crate::sink) const FOUND_AHEAD_FOR: Duration = Duration::from_secs(10);
/// How long a created topic counts.
pub(in crate::sink) const BUDGET_PERIOD: Duration = Duration::from_secs(24 * 3_600);

// Failed producers, and full queues.

/// How often a failed producer is checked until it has returned everything.
pub(in crate::sink) const DRAIN_TICK: Duration = Duration::from_millis(20);
/// How long a full queue is left alone when nothing is reported.
pub(in crate::sink) const QUEUE_TICK: Duration = Duration::from_millis(2);
/// How long to wait before records are taken again after a producer has failed without publishing anything.
pub(in crate::sink) const REPLACE_BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));
/// How long to wait after a failure before requesting the transactional id again.
pub(in crate::sink) const ACQUIRE_PAUSE: Duration = Duration::from_secs(5);
/// How long to wait before reading the stored position again.
pub(in crate::sink) const RECOVERY_BACK_OFF: BackOff = BackOff::new(Duration::from_millis(100), Duration::from_secs(5));

// Reports.

/// Records in flight from which delivery reports are collected together while the relay catches up.
pub(in crate::sink) const COLLECTED_TOGETHER: usize = 1_000;
/// For how long they are then collected: a small part of what it takes to fill the window.
pub(in crate::sink) const COLLECT_PAUSE: Duration = Duration::from_millis(2);

// Transactions.

/// How long the coordinator leaves an idle transaction open, in milliseconds, unless the user sets it.
pub(in crate::sink) const TRANSACTION_TIMEOUT_MILLIS: u64 = 60_000;
/// The part of `transaction.timeout.ms` that a transaction may take.
pub(in crate::sink) const TIMEOUT_SHARE: u32 = 4;
/// Age at which a transaction ends in any case, minimum and maximum: [`COMMIT_SHARE`] times the duration of a commit.
pub(in crate::sink) const AGE_MAX: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Nothing is sent during a commit, so under load commits take one part in this many of the time.
pub(in crate::sink) const COMMIT_SHARE: u32 = 15;
/// Age at which a small transaction ends, so that a slow stream does not wait: what arrives during the commit is in
/// the next one anyway.
pub(in crate::sink) const AGE_MIN: Duration = Duration::from_millis(1);
/// How many records count as small: above that, more records should share the time of a commit.
pub(in crate::sink) const FEW_RECORDS: usize = 50;
/// Minimum idle time for the stream to count as paused; the duration of a commit if that is longer.
pub(in crate::sink) const STREAM_PAUSE: Duration = Duration::from_millis(4);
/// The same far behind, where a pause is usually the lookup of a topic: a commit at each would cost more than waiting.
pub(in crate::sink) const BACKLOG_PAUSE: Duration = Duration::from_millis(20);
/// How long Kafka has to write the markers of a committed transaction.
pub(in crate::sink) const MARKERS_PAUSE: Duration = Duration::from_millis(5);
/// Polling interval of a transactional sink for conditions that nothing signals.
pub(in crate::sink) const TRANSACTION_TICK: Duration = Duration::from_millis(10);
/// How often to check whether the record that probes a topic has been answered.
pub(in crate::sink) const PROBE_TICK: Duration = Duration::from_millis(5);

// Blocking calls of librdkafka's transactions.

/// How long one call may block, so that a relay that is stopping is not held up.
pub(in crate::sink) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait before repeating a call after a transient error.
pub(in crate::sink) const CALL_PAUSE: Duration = Duration::from_millis(50);
/// How often the log reports that a call is still being tried.
pub(in crate::sink) const CALL_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long librdkafka's own count of records may lag behind its reports.
pub(in crate::sink) const COUNT_LAG: Duration = Duration::from_millis(50);
/// How often that count is checked.
pub(in crate::sink) const COUNT_TICK: Duration = Duration::from_micros(100);
/// How long one batch, or acquiring the transactional id, may take: longer than Kafka leaves a dead predecessor's
/// transaction open.
pub(crate) const BATCH_TIMEOUT: Duration = Duration::from_secs(90);
/// How often to check whether records have been delivered.
pub(in crate::sink) const BATCH_TICK: Duration = Duration::from_millis(1);

// Reading topics, and the stored position.

/// How long to wait for a record before giving up.
pub(in crate::sink) const READ_SILENCE: Duration = Duration::from_secs(30);
/// How long one poll waits for a record, and how often the end of the committed records is checked.
pub(in crate::sink) const READ_TICK: Duration = Duration::from_millis(50);
/// KiB that the client prefetches at most.
pub(in crate::sink) const READ_AHEAD_KIB: &str = "16384";
/// How long the positions topic is looked for if the database says that a position was stored there.
pub(in crate::sink) const MISSING_TOPIC_PATIENCE: Duration = Duration::from_secs(3);
/// How long one request to a broker may take.
pub(in crate::sink) const POSITION_ANSWER: Duration = Duration::from_secs(5);
/// How often the log reports waiting for another relay's transaction.
pub(in crate::sink) const HIDDEN_LOG_INTERVAL: Duration = Duration::from_secs(10);
/// From when on that is a warning. Kafka ends the transaction of a dead relay after `transaction.timeout.ms`.
pub(in crate::sink) const HIDDEN_WARNING: Duration = Duration::from_secs(90);
/// Offsets from the end in which a position is looked for before all are read.
pub(in crate::sink) const POSITION_TAIL: i64 = 2_000;
/// Offsets from the end in which a copy of the position is looked for, once a start. Reading so many records of 350 bytes
/// takes 0.1 to 0.3 s (2 cores, Kafka 4.3.1).
pub(in crate::sink) const POSITION_COPIES_TAIL: i64 = 50_000;
/// How long a command may take to change the stored position: longer than Kafka leaves a dead relay's transaction
/// open.
pub(in crate::sink) const POSITION_TIMEOUT: Duration = Duration::from_secs(120);

// What Kafka refuses.

/// How long a topic's refusal is remembered at first; at least this many times its cost.
pub(in crate::sink) const REFUSED_FIRST: Duration = Duration::from_secs(10);
/// A refusal is remembered for at least this many times what it cost to find out.
pub(in crate::sink) const REFUSED_COSTS: u32 = 20;
/// The most that counts as the cost: what takes longer was waiting for brokers.
pub(in crate::sink) const REFUSED_COST_MOST: Duration = Duration::from_secs(15);
/// How long at most, unless it costs more.
pub(in crate::sink) const REFUSED_MOST: Duration = Duration::from_secs(120);
/// How long the times that a topic refuses are remembered.
pub(in crate::sink) const REFUSED_TIMES: Duration = Duration::from_secs(60);
/// Records up to this much younger than one that was too old are assumed to be too old, too. Without that, each
/// record of a backlog in time order would be tried. Clocks and network delays are no more exact.
pub(in crate::sink) const BEHIND_SLACK_MILLIS: i64 = 1_000;
/// Refused times this close to the present point to the clocks.
pub(in crate::sink) const CLOCKS_MILLIS: u64 = 60_000;

const _: () = {
    // What waits for a dead relay's transaction waits until Kafka has ended it.
    assert!(BATCH_TIMEOUT.as_millis() > TRANSACTION_TIMEOUT_MILLIS as u128);
    assert!(POSITION_TIMEOUT.as_millis() > TRANSACTION_TIMEOUT_MILLIS as u128);
    // Records time out after half of the transaction's timeout.
    assert!(TIMEOUT_SHARE > 2);
    assert!(AGE_MAX.1.as_millis() < TRANSACTION_TIMEOUT_MILLIS as u128 / 2);
    assert!(AGE_MIN.as_millis() <= AGE_MAX.0.as_millis() && AGE_MAX.0.as_millis() <= AGE_MAX.1.as_millis());
    // A call that lasts is reported no more often than it is made.
    assert!(CALL_TIMEOUT.as_millis() <= CALL_LOG_INTERVAL.as_millis());
    assert!(COUNT_TICK.as_micros() < COUNT_LAG.as_micros());
    assert!(READ_TICK.as_millis() < READ_SILENCE.as_millis());
    assert!(REFUSED_FIRST.as_millis() <= REFUSED_MOST.as_millis());
};
