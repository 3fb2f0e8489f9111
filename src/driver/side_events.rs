//! What happens beside the stream and concerns the driver: maintenance, the rewind window and the lookup report it.
//!
//! A state is reported again in every round, and a failure with every attempt: what finds no room may be dropped.

use tokio::sync::mpsc;

use crate::driver::limits::SIDE_EVENTS_MAX;
use crate::postgres::{self, sqlstate};
use crate::relay::boundary::Lsn;
use crate::source::SourceError;

/// An event beside the stream.
#[derive(Debug)]
pub(super) enum SideEvent {
    /// The server's WAL ends here.
    ServerEnd(Lsn),
    /// Whether commits in the cluster wait for the relay's confirmation.
    CommitsWait(bool),
    /// Postgres refuses connections: it is shutting down, and may be waiting for the relay's own.
    TurnedAway,
    /// The publication is not what it was: rows would be missed from here on.
    PublicationChanged(SourceError),
}

/// Reports events to the driver.
#[derive(Clone, Debug)]
pub(super) struct SideEvents(mpsc::Sender<SideEvent>);

impl SideEvents {
    pub(super) fn tell(&self, event: SideEvent) {
        drop(self.0.try_send(event));
    }

    /// A connection other than the stream failed.
    pub(super) fn note_failure(&self, error: Option<&postgres::Error>) {
        if error.and_then(postgres::Error::sqlstate) == Some(sqlstate::CANNOT_CONNECT_NOW) {
            self.tell(SideEvent::TurnedAway);
        }
    }
}

pub(super) fn channel() -> (SideEvents, mpsc::Receiver<SideEvent>) {
    let (sender, receiver) = mpsc::channel(SIDE_EVENTS_MAX);
    (SideEvents(sender), receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_server_that_accepts_no_connections_turns_the_relay_away() {
        let (events, mut received) = channel();
        events.note_failure(None);
        events.note_failure(Some(&postgres::Error::Interrupted));
        assert!(received.try_recv().is_err());
        (0..2 * SIDE_EVENTS_MAX).for_each(|_| events.tell(SideEvent::TurnedAway));
        let waiting = std::iter::from_fn(|| received.try_recv().ok()).count();
        assert_eq!(waiting, SIDE_EVENTS_MAX, "what finds no room is reported again anyway");
    }
}
