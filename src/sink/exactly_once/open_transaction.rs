//! An open transaction: a copy of each record, to return it if the transaction is aborted, and when it is time to end
//! it.
//!
//! librdkafka frees a record once it is delivered, which is before its transaction commits.

use std::time::Duration;

use tokio::time::Instant;

use super::copies::Copies;
use super::size::TransactionSize;
use crate::relay::boundary::{OwnedRecord, Record, Ticket};
use crate::relay::delivery::ledger::Owed;
use crate::relay::delivery::window::InFlightWindow;
use crate::sink::limits::{AGE_MAX, AGE_MIN, BACKLOG_PAUSE, COMMIT_SHARE, FEW_RECORDS, STREAM_PAUSE};

/// The records of the open transaction.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    kept: Copies,
    /// Every ticket below this one is in a committed transaction.
    committed_below: Ticket,
    highest: Option<Ticket>,
    /// When the transaction began.
    begun: Instant,
    /// When its last record came.
    touched: Instant,
    /// When its position was sent.
    sealed: Instant,
    /// How long the last commit took, from the last record to the answer.
    cost: Duration,
    size: TransactionSize,
    window: InFlightWindow,
    /// Partitions that its records go to.
    partitions: usize,
    /// Whether its last record is of a large backlog.
    is_far_behind: bool,
}

impl OpenTransaction {
    /// For this window and this `transaction.timeout.ms`.
    pub(super) fn new(window: InFlightWindow, timeout: Duration, now: Instant) -> Self {
        let most = share(window.most());
        Self {
            kept: Copies::default(),
            committed_below: Ticket(0),
            highest: None,
            begun: now,
            touched: now,
            sealed: now,
            cost: Duration::ZERO,
            size: TransactionSize::new(most.records, most.bytes, timeout),
            window,
            partitions: 0,
            is_far_behind: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn begin(&mut self, now: Instant) {
        assert!(self.kept.is_empty(), "a transaction begins only after the previous one is finished");
        (self.begun, self.touched, self.partitions, self.is_far_behind) = (now, now, 0, false);
    }

    /// The last record has been sent.
    pub(super) fn seal(&mut self, now: Instant) {
        self.sealed = now;
    }

    /// How long ago the transaction began.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Keeps a copy of a record that was sent.
    pub(super) fn keep(&mut self, ticket: Ticket, record: &Record<'_>, now: Instant) {
        self.kept.push(ticket, record);
        self.highest = self.highest.max(Some(ticket));
        self.touched = now;
    }

    /// The highest ticket, if the transaction may be committed: it holds every ticket from the last committed one to
    /// this. Dead letters are sent before what was returned with them, so there may be gaps for a time.
    pub(super) fn whole(&self) -> Option<Ticket> {
        let highest = self.highest?;
        (highest.0 + 1 - self.committed_below.0 == self.kept.len() as u64).then_some(highest)
    }

    /// Whether it takes nothing more and must be committed as it is.
    pub(super) fn is_full(&self) -> bool {
        self.is_reached() && self.whole().is_some()
    }

    fn is_reached(&self) -> bool {
        let Owed { records, bytes } = share(self.window.limit(self.partitions));
        let (kept, kept_bytes) = (self.kept.len(), self.kept.bytes());
        // An empty one always takes a record.
        kept > 0 && (kept >= records || kept_bytes >= bytes) || self.size.is_reached(kept, kept_bytes)
    }

    /// Partitions that its records go to.
    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Its records go to this many partitions, and the last one is of a large backlog, or not.
    pub(super) fn note_load(&mut self, partitions: usize, is_far_behind: bool) {
        (self.partitions, self.is_far_behind) = (partitions, is_far_behind);
    }

    /// The most records that a transaction currently holds.
    pub(super) const fn most_records(&self) -> usize {
        self.size.limit().0
    }

    /// When the transaction is to end; a further record may change that.
    pub(super) fn due(&self) -> Instant {
        if self.is_reached() {
            return self.begun;
        }
        let soonest = self.begun + AGE_MIN;
        let paused = if self.is_far_behind {
            self.touched + BACKLOG_PAUSE.max(self.cost)
        } else if self.kept.len() < FEW_RECORDS {
            soonest
        } else {
            soonest.max(self.touched + STREAM_PAUSE.max(self.cost))
        };
        paused.min(self.begun + (self.cost * COMMIT_SHARE).clamp(AGE_MAX.0, AGE_MAX.1))
    }

    /// The transaction is committed: hands out its tickets, and becomes empty.
    pub(super) fn commit(&mut self, into: &mut Vec<Ticket>, now: Instant) {
        self.cost = now.saturating_duration_since(self.sealed);
        if !self.is_empty() {
            self.size.committed(self.kept.len(), self.kept.bytes(), self.age(now));
        }
        into.extend(self.kept.tickets());
        if let Some(highest) = self.highest {
            self.committed_below = Ticket(highest.0 + 1);
        }
        self.clear();
    }

    /// The transaction is aborted: hands out its records in ticket order, and becomes empty.
    pub(super) fn abort(&mut self, now: Instant) -> Vec<(Ticket, OwnedRecord)> {
        if !self.is_empty() {
            self.size.aborted(self.kept.len(), self.kept.bytes(), self.age(now));
        }
        self.highest = None;
        self.kept.take()
    }

    pub(super) fn one_of_each_topic(&self) -> Vec<OwnedRecord> {
        self.kept.one_of_each_topic()
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.highest = None;
    }
}

/// The part of a window that a transaction takes: the next one fills the rest ([`super::ahead`]).
fn share(window: Owed) -> Owed {
    Owed { records: window.records / 4 * 3, bytes: window.bytes / 4 * 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'static> =
        Record { topic: "t", key: None, value: Some(b"v"), headers: &[], timestamp_millis: 1 };

    const TIMEOUT: Duration = Duration::from_secs(60);

    fn open(tickets: &[u64]) -> OpenTransaction {
        let mut open = OpenTransaction::new(InFlightWindow::fixed(1_000, 1_000_000), TIMEOUT, Instant::now());
        tickets.iter().for_each(|ticket| open.keep(Ticket(*ticket), &RECORD, Instant::now()));
        open
    }

    #[test]
    fn a_transaction_with_a_gap_before_one_of_its_tickets_may_not_be_committed() {
        assert_eq!(open(&[]).whole(), None);
        assert_eq!(open(&[0, 1, 2]).whole(), Some(Ticket(2)));
        // A dead letter was sent before what was returned with it.
        assert_eq!(open(&[2]).whole(), None);
        assert_eq!(open(&[2, 0]).whole(), None);
        let mut open = open(&[2, 0, 1]);
        assert_eq!(open.whole(), Some(Ticket(2)));
        let mut acked = Vec::new();
        open.commit(&mut acked, Instant::now());
        assert_eq!(acked, [2, 0, 1].map(Ticket));
        open.keep(Ticket(4), &RECORD, Instant::now());
        assert_eq!(open.whole(), None);
        let returned: Vec<_> = open.abort(Instant::now()).into_iter().map(|(ticket, _)| ticket).collect();
        assert_eq!((returned, open.whole()), (vec![Ticket(4)], None));
    }

    #[test]
    fn a_transaction_ends_early_on_a_slow_stream_and_at_its_limits_under_load() {
        let start = Instant::now();
        let with = |records: u64, last: Duration| {
            let mut open = OpenTransaction::new(InFlightWindow::fixed(1_000, 1_000_000), TIMEOUT, start);
            open.begin(start);
            (0..records).for_each(|ticket| open.keep(Ticket(ticket), &RECORD, start + last));
            open.due() - start
        };
        assert_eq!(with(3, Duration::ZERO), AGE_MIN);
        assert_eq!(with(FEW_RECORDS as u64, Duration::from_millis(50)), Duration::from_millis(54));
        assert_eq!(with(FEW_RECORDS as u64, Duration::from_millis(99)), AGE_MAX.0);
        assert_eq!(with(750, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn case_35_a_transaction_that_took_too_long_is_sent_again_in_smaller_ones() {
        let start = Instant::now();
        let mut open = OpenTransaction::new(InFlightWindow::fixed(1_000, 1_000_000), TIMEOUT, start);
        open.begin(start);
        (0..750).for_each(|ticket| open.keep(Ticket(ticket), &RECORD, start));
        assert!(open.is_full());
        assert_eq!(open.abort(start + TIMEOUT / 2).len(), 750);
        let again = start + TIMEOUT;
        open.begin(again);
        (0..374).for_each(|ticket| open.keep(Ticket(ticket), &RECORD, again));
        assert!(!open.is_full());
        open.keep(Ticket(374), &RECORD, again);
        assert!(open.is_full());
        assert_eq!((open.due(), open.whole()), (again, Some(Ticket(374))));
    }

    #[test]
    fn a_transaction_lives_longer_if_commits_are_expensive() {
        let start = Instant::now();
        let mut open = OpenTransaction::new(InFlightWindow::fixed(1_000, 1_000_000), TIMEOUT, start);
        open.begin(start);
        open.seal(start);
        open.commit(&mut Vec::new(), start + Duration::from_millis(20));
        open.begin(start);
        (0..FEW_RECORDS as u64).for_each(|ticket| open.keep(Ticket(ticket), &RECORD, start));
        assert_eq!(open.due() - start, Duration::from_millis(20), "a pause as long as a commit");
        open.keep(Ticket(FEW_RECORDS as u64), &RECORD, start + Duration::from_secs(9));
        assert_eq!(open.due() - start, Duration::from_millis(300));
    }
}
