//! Which records must be sent alone because a batch with them was refused.

use std::collections::HashMap;

use crate::relay::boundary::Ticket;

/// Topics with a refused batch whose faulty record is unknown. Their next records are sent one at a time: what is
/// refused then is at fault beyond doubt, and its neighbours get through.
#[derive(Debug, Default)]
pub(super) struct RefusalIsolation {
    topics: HashMap<String, Suspect>,
}

#[derive(Debug)]
struct Suspect {
    /// Records of the topic that must still be sent alone.
    left: usize,
    /// The one in flight.
    alone: Option<Ticket>,
}

impl RefusalIsolation {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The next `records` of `topic` are sent alone.
    pub(super) fn accuse(&mut self, topic: String, records: usize) {
        let suspect = self.topics.entry(topic).or_insert(Suspect { left: 0, alone: None });
        suspect.left = suspect.left.max(records);
    }

    /// Whether a record of `topic` may be sent now.
    pub(super) fn may_send(&self, topic: &str) -> bool {
        self.is_empty() || self.topics.get(topic).is_none_or(|suspect| suspect.alone.is_none())
    }

    /// A record of `topic` was sent.
    pub(super) fn sent(&mut self, topic: &str, ticket: Ticket) {
        if let Some(suspect) = self.topics.get_mut(topic) {
            assert!(suspect.alone.is_none(), "a record of a suspect topic was sent beside another");
            suspect.alone = Some(ticket);
        }
    }

    /// Whether this record was in flight alone.
    pub(super) fn was_alone(&self, topic: &str, ticket: Ticket) -> bool {
        self.topics.get(topic).is_some_and(|suspect| suspect.alone == Some(ticket))
    }

    /// These records were answered. Returns whether a topic has room again.
    pub(super) fn answered(&mut self, tickets: impl Iterator<Item = Ticket> + Clone) -> bool {
        let mut room = false;
        self.topics.retain(|_, suspect| {
            if suspect.alone.is_some_and(|alone| tickets.clone().any(|ticket| ticket == alone)) {
                suspect.alone = None;
                suspect.left = suspect.left.saturating_sub(1);
                room = true;
            }
            suspect.left > 0 || suspect.alone.is_some()
        });
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_topic_sends_one_record_at_a_time_until_its_count_is_used_up() {
        let mut isolated = RefusalIsolation::default();
        isolated.accuse("a".to_owned(), 2);
        assert!(isolated.may_send("a") && isolated.may_send("b"));
        for ticket in [Ticket(7), Ticket(8)] {
            isolated.sent("a", ticket);
            assert!(isolated.was_alone("a", ticket));
            assert!(!isolated.may_send("a") && isolated.may_send("b"));
            assert!(!isolated.answered([Ticket(1)].into_iter()), "another record's answer makes no room");
            assert!(isolated.answered([Ticket(1), ticket].into_iter()));
        }
        assert!(isolated.is_empty());
        assert!(!isolated.was_alone("a", Ticket(9)));
    }
}
