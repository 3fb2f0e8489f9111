//! The sink of a dry run.

use std::time::Duration;

use crate::relay::boundary::{Record, Ticket};
use crate::sink::{Closed, Deliveries, SendError, Sink, SinkError};

/// Accepts every record and sends nothing.
#[derive(Debug, Default)]
pub(super) struct Rehearsal {
    /// Tickets accepted since the last poll.
    taken: Vec<Ticket>,
}

impl Sink for Rehearsal {
    fn send(&mut self, ticket: Ticket, _record: &Record<'_>) -> Result<(), SendError> {
        self.taken.push(ticket);
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        if self.taken.is_empty() {
            return std::future::pending().await;
        }
        into.acked.append(&mut self.taken);
        Ok(())
    }

    async fn close(self, _timeout: Duration) -> Closed {
        Closed { deliveries: Deliveries { acked: self.taken, ..Deliveries::default() }, unanswered: 0, stored: None }
    }
}
