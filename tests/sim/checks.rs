//! The invariants: nothing is lost, reordered or duplicated.

use std::collections::{BTreeMap, BTreeSet};

use walpost::relay::boundary::{Lsn, OwnedRecord};

use crate::postgres::Kind;
use crate::world::{DEAD_LETTERS, TOPIC, World};

impl World {
    /// Invariant 1: everything before the flush LSN is in Kafka.
    pub(crate) fn check_nothing_lost(&self, flush: Lsn) {
        let published = self.published();
        for transaction in self.postgres.history.iter().filter(|transaction| transaction.end <= flush) {
            for row in transaction.rows.iter().filter(|row| row.is_event()) {
                let topic = if row.is_refused() { DEAD_LETTERS } else { TOPIC };
                let found = published.get(topic).is_some_and(|ids| ids.contains(&row.number));
                assert!(found, "{flush} is confirmed, but {row:?} of {} is not in {topic}", transaction.end);
            }
        }
    }

    /// Whether a row was committed before the slot was created.
    fn is_from_before(&self, number: u64) -> bool {
        let before = self.postgres.history.iter().take_while(|transaction| transaction.end <= self.postgres.made_at);
        before.flat_map(|transaction| &transaction.rows).any(|row| row.number == number)
    }

    /// Rows from before the slot have no position that a later attempt recognizes; neither has anything after the position was reset.
    fn without_repeats(&self, numbers: Vec<u64>) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let is_again = |number| self.backfills > 1 && self.is_from_before(number);
        let may_repeat = |number| is_again(number) || self.unclaimed.contains(&number);
        numbers.into_iter().filter(|number| seen.insert(*number) || !may_repeat(*number)).collect()
    }

    /// What consumers read.
    pub(crate) fn log(&self) -> &BTreeMap<String, Vec<OwnedRecord>> {
        self.transactions.as_ref().map_or(&self.kafka.log, |transactions| &transactions.log)
    }

    fn published(&self) -> BTreeMap<&str, BTreeSet<u64>> {
        let ids = |records: &Vec<OwnedRecord>| records.iter().map(id).collect();
        self.log().iter().map(|(topic, records)| (topic.as_str(), ids(records))).collect()
    }

    /// The final state: the slot is at the end of the WAL (invariant 6), each event is where it belongs, in order, and twice only after a
    /// crash.
    pub(crate) fn check_end(&self) {
        self.check_nothing_lost(self.postgres.server.wal_end);
        let events =
            || self.postgres.history.iter().flat_map(|transaction| &transaction.rows).filter(|row| row.is_event());
        let expected: Vec<u64> = events().filter(|row| !row.is_refused()).map(|row| row.number).collect();
        let records = self.log().get(TOPIC).map_or(&[][..], Vec::as_slice);
        let has_row = |number: &u64| !self.gone.contains(number);
        let ids: Vec<u64> = records.iter().map(id).filter(has_row).collect();
        let mut seen = BTreeSet::new();
        let first: Vec<u64> = ids.iter().copied().filter(|number| seen.insert(*number)).collect();
        assert_eq!(first, expected, "first deliveries are in commit order, and nothing else is there");

        let dead_letters = self.log().get(DEAD_LETTERS).into_iter().flatten().map(id);
        let mut dead_letters: Vec<u64> = dead_letters.filter(has_row).collect();
        if self.crashes == 0 || self.faults.exactly_once {
            assert_eq!(self.without_repeats(ids), expected, "published twice");
            dead_letters = self.without_repeats(dead_letters);
            dead_letters.sort_unstable();
        } else {
            dead_letters.sort_unstable();
            dead_letters.dedup();
        }
        let refused: Vec<u64> = events().filter(|row| row.is_refused()).map(|row| row.number).collect();
        assert_eq!(dead_letters, refused, "each refused event is one dead letter, and nothing else is");

        let is_marked = |record: &&OwnedRecord| record.headers.iter().any(|(name, _)| name == "outbox-violation");
        let marked: BTreeSet<u64> = records.iter().filter(is_marked).map(id).filter(has_row).collect();
        let warned: BTreeSet<u64> = events().filter(|row| row.kind == Kind::Warned).map(|row| row.number).collect();
        assert_eq!(marked, warned, "only published violations have the header");
    }
}

pub(crate) fn id(record: &OwnedRecord) -> u64 {
    let (_, value) = record.headers.iter().find(|(name, _)| name == "ce_id").expect("each record has an id");
    let text = std::str::from_utf8(value.as_deref().expect("the id is not null")).expect("the id is text");
    text.parse().expect("the id is the row's number")
}
