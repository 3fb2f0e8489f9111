//! The sink of a dry run.

use std::time::Duration;

use crate::relay::boundary::{Record, Ticket};
use crate::sink::{Accepted, Closed, Deliveries, SendError, Sink, SinkError};

/// Accepts every record and sends nothing.
#[derive(Debug, Default)]
pub(super) struct Rehearsal {
    accepted: Accepted,
}

impl Sink for Rehearsal {
    fn send(&mut self, ticket: Ticket, _record: &Record<'_>) -> Result<(), SendError> {
        self.accepted.push(ticket);
        Ok(())
    }

    async fn deliveries(&mut self, into: &mut Deliveries) -> Result<(), SinkError> {
        self.accepted.deliveries(into).await;
        Ok(())
    }

    async fn close(self, _timeout: Duration) -> Closed {
        self.accepted.close()
    }
}
