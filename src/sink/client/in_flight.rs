//! Records in flight: the part of each record that librdkafka does not return.

use crate::relay::boundary::Ticket;

/// Ticket and timestamp of every outstanding record, each under a number that travels with the record as its opaque
/// value.
///
/// A delivery report of a failed record has no timestamp (`rd_kafka_message_timestamp` returns -1), so it is kept
/// here: 24 bytes per record, in reused slots without an allocation per record.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    slots: Vec<Entry>,
    free: Vec<usize>,
}

/// What is kept of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) ticket: Ticket,
    pub(crate) timestamp_millis: i64,
    /// See [`super::flush::FlushSchedule`].
    pub(crate) number: u64,
}

impl InFlight {
    /// Number of records in flight.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Stores a record under a new number.
    pub(crate) fn add(&mut self, entry: Entry) -> usize {
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = entry;
                slot
            }
            None => {
                self.slots.push(entry);
                self.slots.len() - 1
            }
        }
    }

    /// Removes the record with this number. Once only: librdkafka reports each record once.
    pub(crate) fn remove(&mut self, slot: usize) -> Entry {
        let entry = self.slots[slot];
        self.free.push(slot);
        assert!(self.free.len() <= self.slots.len(), "a record was reported twice");
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_slots_are_reused_with_separate_entries() {
        let mut in_flight = InFlight::default();
        let entry = |number| Entry { ticket: Ticket(number), timestamp_millis: -1, number };
        let slots: Vec<_> = (0..3).map(|number| in_flight.add(entry(number))).collect();
        assert_eq!(in_flight.remove(slots[1]), entry(1));
        assert_eq!(in_flight.len(), 2);
        let again = in_flight.add(entry(7));
        assert_eq!(again, slots[1]);
        assert_eq!(
            [in_flight.remove(slots[2]), in_flight.remove(slots[0]), in_flight.remove(again)],
            [2, 0, 7].map(entry)
        );
        assert_eq!(in_flight.len(), 0);
    }
}
