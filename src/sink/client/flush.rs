//! When batches that are not full are sent.
//!
//! librdkafka sends a batch when it is full or `linger.ms` old. A short linger costs more than it seems: while a
//! partition's request is in flight (there is one at a time) and records older than the linger wait behind it,
//! librdkafka's thread polls without pause (`rd_kafka_broker_producer_serve` of 2.12: its wake-up time has passed).
//! Under load that is half of the sink's work.
//!
//! So the linger is long here, and batches are sent by short flushes on a separate thread, because librdkafka flushes only
//! while a caller waits for it. When depends on how many partitions have records in flight, because a request carries
//! one partition, and a connection carries [`REQUESTS`] at a time:
//!
//! - Up to that many partitions: as Nagle's algorithm sends TCP segments (RFC 896): at once if
//!   nothing is in flight, otherwise when what is in flight has been answered; full batches always.
//! - More: all the time. There is always another partition to send, so the thread never polls without a pause, and while
//!   the others have their turn each partition's next batch grows: batches follow the load by themselves. Only while
//!   the relay works off a backlog ([`super::gathering`]), when nobody waits for a single record, nothing is sent before
//!   much has gathered: a broker's time goes by requests, not by records.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::producer::ThreadedProducer;

use super::context::Context;
use super::native;

/// Requests that an idempotent producer has in flight on a connection (`max.in.flight.requests.per.connection`).
pub(crate) const REQUESTS: usize = 5;
/// How long each of the flushes lasts that follow on each other.
const FLUSH_ALL: Duration = Duration::from_millis(5);
/// How long to wait before looking again if there was nothing to flush.
const NOTHING: Duration = Duration::from_millis(1);
/// How long a flush lasts: the shortest time in which librdkafka's threads have woken.
const FLUSH: Duration = Duration::from_millis(1);
/// First wait for an answer before flushing again: a thread may have slept through the flush, and while one partition
/// can't be written to the others continue.
pub(crate) const AGAIN: Duration = Duration::from_millis(4);
/// The same where each transaction's first records wait until their partition has been added to it.
pub(crate) const AGAIN_IN_TRANSACTIONS: Duration = Duration::from_millis(1);
/// The longest wait; it doubles up to that.
const AGAIN_MOST: Duration = Duration::from_millis(10);

/// Which of the outstanding records were in flight at the last flush.
///
/// By numbers of their own: tickets do not always increase, because a dead letter is sent before what was returned
/// with it.
#[derive(Debug, Default)]
pub(crate) struct FlushSchedule {
    /// The number of the last record handed over, from 1.
    last: u64,
    /// The same at the last flush.
    beaten: u64,
    /// How many records were outstanding then.
    flushed: usize,
    /// How many of them are not answered yet.
    unanswered: usize,
}

impl FlushSchedule {
    /// A record is handed over. Returns its number.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// How many records were handed over.
    pub(crate) fn sent(&self) -> u64 {
        self.last
    }

    /// The record of this number was answered.
    pub(crate) fn answered(&mut self, number: u64) {
        if number <= self.beaten {
            self.unanswered = self.unanswered.saturating_sub(1);
        }
    }

    /// Whether a flush is due with this many records outstanding. If so, it is counted.
    pub(crate) fn beats(&mut self, outstanding: usize) -> bool {
        let beats = self.unanswered == 0 && outstanding > 0;
        if beats {
            self.beat(outstanding);
        }
        beats
    }

    /// Counts a flush with this many records outstanding.
    pub(crate) fn beat(&mut self, outstanding: usize) {
        self.beaten = self.last;
        (self.flushed, self.unanswered) = (outstanding, outstanding);
    }

    /// Whether most records of the last flush are answered. What is sent after that is mostly what came since then.
    pub(crate) fn is_mostly_answered(&self) -> bool {
        self.unanswered <= self.flushed / 4
    }

    /// Whether the records of the last flush are all answered.
    pub(crate) fn rests(&self) -> bool {
        self.unanswered == 0
    }
}

/// The thread that flushes.
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Flushes so far.
    beats: u64,
    /// Whether the last flush's records wait for an answer.
    waiting: bool,
    /// From when on everything is flushed all the time.
    open_from: Option<Instant>,
    /// Whether anything was answered since the last check: then all is well, and full batches are sent anyway.
    progress: bool,
    ended: bool,
}

impl Flusher {
    /// Starts the thread; `again` is the first wait for an answer.
    ///
    /// # Errors
    /// If the system can't start a thread.
    pub(crate) fn start(producer: ThreadedProducer<Context>, again: Duration) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread =
            thread::Builder::new().name("kafka flush".to_owned()).spawn(move || theirs.run(&producer, again))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Sends what was handed over, and repeats the flush until it is [answered](Self::answered).
    pub(crate) fn beat(&self) {
        let mut state = self.shared.lock();
        state.beats += 1;
        state.waiting = true;
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Flushes all the time from `from` on, until [`Self::close`].
    pub(crate) fn open(&self, from: Instant) {
        self.shared.lock().open_from = Some(from);
        self.shared.changed.notify_one();
    }

    /// Flushes only from a later time on than it was told to.
    pub(crate) fn postpone(&self, from: Instant) {
        // The thread looks again when it wakes at the earlier time.
        self.shared.lock().open_from = Some(from);
    }

    /// Flushes only at beats again.
    pub(crate) fn close(&self) {
        self.shared.lock().open_from = None;
    }

    /// Something was answered; `rests` if that was all of the last flush.
    pub(crate) fn answered(&self, rests: bool) {
        let mut state = self.shared.lock();
        state.progress = true;
        state.waiting &= !rests;
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It ends after at most one flush, and never panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
    }

    fn run(&self, producer: &ThreadedProducer<Context>, again: Duration) {
        let (mut flushed, mut wait) = (0, again);
        let mut state = self.lock();
        while !state.ended {
            if state.beats > flushed {
                (flushed, wait) = (state.beats, again);
                drop(state);
                native::flush(producer, FLUSH);
                state = self.lock();
            } else if let Some(from) = state.open_from {
                let now = Instant::now();
                if now < from {
                    state = self.wait(state, from - now);
                } else {
                    drop(state);
                    let is_done = native::flush(producer, FLUSH_ALL);
                    state = self.lock();
                    if is_done && state.open_from.is_some() {
                        state = self.wait(state, NOTHING);
                    }
                }
            } else if state.waiting {
                let (next, timeout) = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
                state = next;
                if timeout.timed_out() && state.waiting && !std::mem::take(&mut state.progress) {
                    wait = (wait * 2).min(AGAIN_MOST);
                    drop(state);
                    native::flush(producer, FLUSH);
                    state = self.lock();
                }
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_record_is_sent_at_once_and_the_next_ones_together() {
        let mut schedule = FlushSchedule::default();
        assert!(!schedule.beats(0));
        let first = schedule.number();
        assert!(schedule.beats(1));
        let [second, third, fourth] = std::array::from_fn(|_| {
            let number = schedule.number();
            assert!(!schedule.beats(2));
            number
        });
        schedule.answered(third);
        assert!(!schedule.rests(), "a full batch that went by itself says nothing of the beat's");
        schedule.answered(first);
        assert!(schedule.rests());
        assert!(schedule.beats(2));
        schedule.answered(fourth);
        schedule.answered(second);
        assert!(schedule.rests() && !schedule.beats(0));
    }
}
