//! What is still owed for each commit.
//!
//! Every record gets a ticket when Kafka's client queues it, and the ticket is settled when Kafka has acknowledged
//! the record (or its dead letter). Tickets may be settled in any order; the flush LSN advances only over the settled
//! front, one commit at a time. So `confirmed_flush_lsn` can never pass a commit that is still owed a row.

use std::collections::VecDeque;

use crate::relay::boundary::{Checkpoint, ContractNumber, Lsn, Position, Ticket, Timestamp};

/// The account of one slot: records in flight and the commits they belong to, both in stream order.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Records from the oldest unsettled one; the front is never settled.
    entries: VecDeque<Entry>,
    /// The ticket of the front entry, or of the next record if there is none.
    first: u64,
    /// Commits that are not fully settled: all tickets below `below` must be.
    commits: VecDeque<Commit>,
    owed: Owed,
    flush: Lsn,
    last_commit_end: Lsn,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    committed_at: Timestamp,
    position: Position,
    contract: ContractNumber,
    kind: RecordKind,
    settled: bool,
}

/// How a record relates to its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// An event as its contract promises.
    Record,
    /// An event that violates its contract and is published anyway.
    Violating,
    /// An event that is not published.
    DeadLetter,
}

#[derive(Debug)]
struct Commit {
    below: u64,
    end: Lsn,
}

/// A closed ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// When the record's transaction committed.
    pub committed_at: Timestamp,
    /// The size in bytes of its key, value and headers.
    pub bytes: usize,
    pub contract: ContractNumber,
    /// How it relates to its contract.
    pub kind: RecordKind,
}

/// How much is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Unsettled records.
    pub records: usize,
    /// Their size in bytes: keys, values and headers.
    pub bytes: usize,
}

impl Ledger {
    /// Opens the next ticket, for a record of `bytes` of the event at `position`, whose transaction committed at
    /// `committed_at`; with its contract and how it relates to it.
    pub fn issue(
        &mut self,
        bytes: usize,
        committed_at: Timestamp,
        position: Position,
        (contract, kind): (ContractNumber, RecordKind),
    ) -> Ticket {
        let ticket = self.next_ticket();
        self.entries.push_back(Entry { bytes, committed_at, position, contract, kind, settled: false });
        self.owed.records += 1;
        self.owed.bytes += bytes;
        ticket
    }

    /// The ticket that [`Self::issue`] will open next.
    #[must_use]
    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.first + self.entries.len() as u64)
    }

    /// Changes what the record of an open ticket is.
    ///
    /// # Panics
    /// If the ticket is not open.
    pub fn reclassify(&mut self, ticket: Ticket, kind: RecordKind) {
        self.open_entry(ticket).expect("a returned record has an open ticket").kind = kind;
    }

    /// Closes a ticket: Kafka has the record.
    ///
    /// # Panics
    /// If the ticket was never issued or is already settled: the sink reported a record twice, and continuing could
    /// confirm a row that Kafka does not have.
    pub fn settle(&mut self, ticket: Ticket) -> Settled {
        let entry = self.open_entry(ticket).expect("a ticket is settled once, after it is issued");
        entry.settled = true;
        let Entry { committed_at, bytes, contract, kind, .. } = *entry;
        let settled = Settled { committed_at, bytes, contract, kind };
        self.owed.records -= 1;
        self.owed.bytes -= bytes;
        self.advance();
        settled
    }

    /// How far everything would be in Kafka if this ticket and all before it were settled.
    ///
    /// # Panics
    /// If the ticket is not open: a transaction can only contain what Kafka does not have yet.
    #[must_use]
    pub fn checkpoint(&self, up_to: Ticket) -> Checkpoint {
        let index = up_to.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let entry = index.and_then(|index| self.entries.get(index)).expect("a checkpoint is taken of an open ticket");
        let whole = self.commits.partition_point(|commit| commit.below <= up_to.0 + 1);
        let end = whole.checked_sub(1).map_or(self.flush, |last| self.commits[last].end);
        Checkpoint { position: entry.position, committed_at: Some(entry.committed_at), flush: self.flush.max(end) }
    }

    /// The transaction of all tickets since the last commit has ended at `end`.
    ///
    /// A commit that was counted before a reconnection arrives again and is skipped.
    pub fn commit(&mut self, end: Lsn) {
        if end <= self.last_commit_end {
            return;
        }
        self.last_commit_end = end;
        let below = self.next_ticket().0;
        // A transaction without records is settled together with the one before it.
        match self.commits.back_mut().filter(|commit| commit.below == below) {
            Some(commit) => commit.end = end,
            None => self.commits.push_back(Commit { below, end }),
        }
        self.advance();
    }

    /// The server has sent everything before `end`, outside any transaction. Counts only if nothing is owed.
    pub fn idle(&mut self, end: Lsn) {
        if self.owed.records == 0 && self.commits.is_empty() {
            self.raise(end);
        }
    }

    /// The slot is already at `confirmed`.
    pub fn start_at(&mut self, confirmed: Lsn) {
        self.raise(confirmed);
    }

    /// Everything before this LSN is in Kafka. Never moves backwards.
    #[must_use]
    pub const fn flush(&self) -> Lsn {
        self.flush
    }

    /// What is in flight.
    #[must_use]
    pub const fn owed(&self) -> Owed {
        self.owed
    }

    /// How many records the ledger tracks: those in flight, and those behind the oldest of them.
    #[must_use]
    pub fn span(&self) -> usize {
        self.entries.len()
    }

    /// When the transaction of the oldest record in flight committed.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.entries.front().map(|entry| entry.committed_at)
    }

    /// The records in flight from the oldest: their contracts and commit times. Dead letters are left out.
    pub fn in_flight(&self) -> impl Iterator<Item = (ContractNumber, Timestamp)> + '_ {
        let is_record = |entry: &&Entry| !entry.settled && entry.kind != RecordKind::DeadLetter;
        self.entries.iter().filter(is_record).map(|entry| (entry.contract, entry.committed_at))
    }

    fn open_entry(&mut self, ticket: Ticket) -> Option<&mut Entry> {
        let index = ticket.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.entries.get_mut(index)).filter(|entry| !entry.settled)
    }

    fn advance(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.settled) {
            self.entries.pop_front();
            self.first += 1;
        }
        while let Some(commit) = self.commits.front().filter(|commit| commit.below <= self.first) {
            let end = commit.end;
            self.commits.pop_front();
            self.raise(end);
        }
    }

    fn raise(&mut self, to: Lsn) {
        self.flush = self.flush.max(to);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn issue(ledger: &mut Ledger) -> Ticket {
        let ordinal = ledger.next_ticket().0 + 1;
        ledger.issue(10, Timestamp(0), Position { commit: Lsn(1), ordinal }, (ContractNumber::NONE, RecordKind::Record))
    }

    #[test]
    fn case_10_the_flush_lsn_waits_for_the_oldest_record() {
        let mut ledger = Ledger::default();
        let first = issue(&mut ledger);
        ledger.commit(Lsn(100));
        let second = issue(&mut ledger);
        ledger.commit(Lsn(200));
        ledger.settle(second);
        assert_eq!(ledger.flush(), Lsn(0));
        ledger.settle(first);
        assert_eq!(ledger.flush(), Lsn(200));
        assert_eq!(ledger.owed(), Owed::default());
    }

    #[test]
    fn settling_a_ticket_returns_how_its_record_relates_to_the_contract() {
        let mut ledger = Ledger::default();
        let contract = ContractNumber::nth(3).expect("within the limit");
        let at = |ordinal| Position { commit: Lsn(1), ordinal };
        let first = ledger.issue(10, Timestamp(5), at(1), (contract, RecordKind::Record));
        ledger.issue(10, Timestamp(6), at(2), (contract, RecordKind::DeadLetter));
        let third = ledger.issue(10, Timestamp(7), at(3), (ContractNumber::NONE, RecordKind::Violating));
        let in_flight: Vec<_> = ledger.in_flight().collect();
        assert_eq!(in_flight, [(contract, Timestamp(5)), (ContractNumber::NONE, Timestamp(7))], "without the letter");
        ledger.reclassify(first, RecordKind::DeadLetter);
        let settled = ledger.settle(first);
        assert_eq!((settled.contract, settled.kind), (contract, RecordKind::DeadLetter));
        assert_eq!(ledger.settle(third).kind, RecordKind::Violating);
        assert_eq!(ledger.in_flight().count(), 0);
    }

    #[test]
    fn an_open_transaction_is_not_confirmed_when_its_rows_are_acknowledged() {
        let mut ledger = Ledger::default();
        let ticket = issue(&mut ledger);
        ledger.settle(ticket);
        assert_eq!(ledger.flush(), Lsn(0));
        ledger.commit(Lsn(100));
        assert_eq!(ledger.flush(), Lsn(100));
    }

    #[test]
    fn case_20_a_keepalive_counts_only_when_nothing_is_owed() {
        let mut ledger = Ledger::default();
        ledger.idle(Lsn(50));
        assert_eq!(ledger.flush(), Lsn(50));
        let ticket = issue(&mut ledger);
        ledger.idle(Lsn(90));
        assert_eq!(ledger.flush(), Lsn(50));
        ledger.commit(Lsn(80));
        ledger.settle(ticket);
        ledger.idle(Lsn(70));
        assert_eq!(ledger.flush(), Lsn(80), "feedback never moves backwards");
    }

    #[test]
    fn a_commit_repeated_after_a_reconnection_is_counted_once() {
        let mut ledger = Ledger::default();
        let ticket = issue(&mut ledger);
        ledger.commit(Lsn(100));
        ledger.commit(Lsn(100));
        ledger.commit(Lsn(100));
        let later = issue(&mut ledger);
        ledger.commit(Lsn(200));
        ledger.settle(ticket);
        assert_eq!(ledger.flush(), Lsn(100));
        ledger.settle(later);
        assert_eq!(ledger.flush(), Lsn(200));
    }

    #[test]
    fn transactions_without_records_take_no_memory() {
        let mut ledger = Ledger::default();
        let ticket = issue(&mut ledger);
        for end in 1..1_000 {
            ledger.commit(Lsn(end));
        }
        assert_eq!((ledger.commits.len(), ledger.span()), (1, 1));
        ledger.settle(ticket);
        assert_eq!((ledger.flush(), ledger.span()), (Lsn(999), 0));
    }

    #[test]
    #[should_panic(expected = "a ticket is settled once")]
    fn settling_a_ticket_twice_is_a_bug() {
        let mut ledger = Ledger::default();
        let ticket = issue(&mut ledger);
        issue(&mut ledger);
        ledger.settle(ticket);
        ledger.settle(ticket);
    }

    #[test]
    fn a_checkpoint_excludes_an_incomplete_commit() {
        let mut ledger = Ledger::default();
        ledger.start_at(Lsn(50));
        let tickets: Vec<_> = (0..2).map(|_| issue(&mut ledger)).collect();
        let at = |ordinal, flush| {
            let position = Position { commit: Lsn(1), ordinal };
            Checkpoint { position, committed_at: Some(Timestamp(0)), flush: Lsn(flush) }
        };
        assert_eq!(ledger.checkpoint(tickets[1]), at(2, 50), "the transaction has not ended");
        ledger.commit(Lsn(100));
        assert_eq!(ledger.checkpoint(tickets[0]), at(1, 50));
        assert_eq!(ledger.checkpoint(tickets[1]), at(2, 100));
    }

    proptest! {
        /// Against the same model: a checkpoint is where the flush LSN is once all tickets up to it are settled.
        #[test]
        fn a_checkpoint_predicts_the_flush_lsn(
            transactions in prop::collection::vec(0usize..5, 1..40),
            open_rows in 0usize..3,
            steps in prop::collection::vec(1usize..7, 0..60),
        ) {
            let mut ledger = Ledger::default();
            let mut tickets = Vec::new();
            for (index, rows) in transactions.iter().enumerate() {
                tickets.extend((0..*rows).map(|_| issue(&mut ledger)));
                ledger.commit(Lsn((index as u64 + 1) * 10));
            }
            tickets.extend((0..open_rows).map(|_| issue(&mut ledger)));
            let mut settled = 0;
            for step in steps {
                let until = (settled + step).min(tickets.len());
                let Some(last) = tickets[settled..until].last() else { break };
                let foretold = ledger.checkpoint(*last);
                for ticket in &tickets[settled..until] {
                    ledger.settle(*ticket);
                }
                prop_assert_eq!(foretold.flush, ledger.flush());
                prop_assert_eq!(foretold.position.ordinal, until as u64);
                settled = until;
            }
        }

        /// Against the simplest model: a list of commits, each with the set of its tickets.
        #[test]
        fn the_flush_lsn_is_the_end_of_the_settled_prefix(
            transactions in prop::collection::vec(0usize..5, 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..120),
        ) {
            let mut ledger = Ledger::default();
            let mut open = Vec::new();
            let mut model = Vec::new();
            for (index, rows) in transactions.iter().enumerate() {
                let tickets: Vec<_> = (0..*rows).map(|_| issue(&mut ledger)).collect();
                let end = Lsn((index as u64 + 1) * 10);
                ledger.commit(end);
                open.extend(tickets.iter().copied());
                model.push((end, tickets));
            }
            let expected = |open: &[Ticket]| {
                model.iter().take_while(|(_, tickets)| !tickets.iter().any(|ticket| open.contains(ticket)))
                    .last().map_or(Lsn(0), |(end, _)| *end)
            };
            prop_assert_eq!(ledger.flush(), expected(&open));
            for index in order {
                if open.is_empty() {
                    break;
                }
                let ticket = open.swap_remove(index.index(open.len()));
                ledger.settle(ticket);
                prop_assert_eq!(ledger.flush(), expected(&open));
                prop_assert_eq!(ledger.owed(), Owed { records: open.len(), bytes: open.len() * 10 });
            }
        }
    }
}
