//! Records that Kafka refused in a transaction that was aborted.
//!
//! All records of an aborted transaction are returned, including those at fault. The verdict is given when such a
//! record is offered again: its dead letter then takes the record's place, and the transaction can end before or
//! after it.

use std::collections::HashMap;

use crate::relay::boundary::{Refusal, Ticket};

/// Refused records that will be offered again, each with its topic.
#[derive(Debug, Default)]
pub(super) struct Verdicts(HashMap<Ticket, (String, Refusal)>);

impl Verdicts {
    /// Keeps the verdict until the record is offered again.
    pub(super) fn keep(&mut self, ticket: Ticket, topic: &str, refusal: Refusal) {
        self.0.insert(ticket, (topic.to_owned(), refusal));
    }

    /// Why this topic refused this record, if it did. Returned once.
    pub(super) fn take(&mut self, ticket: Ticket, topic: &str) -> Option<Refusal> {
        if self.0.is_empty() {
            return None;
        }
        // The ticket may belong to something else by now.
        self.0.remove(&ticket).filter(|(refusing, _)| refusing == topic).map(|(_, refusal)| refusal)
    }

    /// A transaction with these records was committed, and what they became.
    pub(super) fn committed(&mut self, tickets: &[Ticket]) {
        if let Some(highest) = tickets.iter().max() {
            self.0.retain(|refused, _| refused > highest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::RefusalCode;

    #[test]
    fn the_verdict_is_given_once_and_only_for_its_record() {
        let refusal = || Refusal { code: RefusalCode::TooLarge, detail: String::new() };
        let mut verdicts = Verdicts::default();
        verdicts.keep(Ticket(2), "t", refusal());
        assert!(verdicts.take(Ticket(3), "t").is_none());
        assert!(verdicts.take(Ticket(2), "t").is_some() && verdicts.take(Ticket(2), "t").is_none());
        verdicts.keep(Ticket(2), "t", refusal());
        assert!(verdicts.take(Ticket(2), "letters").is_none(), "it has become a dead letter meanwhile");
        verdicts.keep(Ticket(2), "t", refusal());
        verdicts.committed(&[Ticket(1), Ticket(2)]);
        assert!(verdicts.take(Ticket(2), "t").is_none());
    }
}
