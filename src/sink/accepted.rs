//! The tickets of a sink that sends nothing: a rehearsal or a benchmark accepts every record, and that settles it.

use crate::relay::boundary::Ticket;
use crate::sink::boundary::{Closed, Deliveries};

/// Tickets accepted since the last poll.
#[derive(Debug, Default)]
pub(crate) struct Accepted(Vec<Ticket>);

impl Accepted {
    pub(crate) fn push(&mut self, ticket: Ticket) {
        self.0.push(ticket);
    }

    /// As [`Sink::deliveries`](super::Sink::deliveries).
    pub(crate) async fn deliveries(&mut self, into: &mut Deliveries) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        into.acked.append(&mut self.0);
    }

    /// As [`Sink::close`](super::Sink::close).
    pub(crate) fn close(self) -> Closed {
        Closed { deliveries: Deliveries { acked: self.0, ..Deliveries::default() }, unanswered: 0, stored: None }
    }
}
