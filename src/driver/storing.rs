//! What the driver keeps of a sink that stores positions: whether it has found the last one, and when the next is due.

use std::time::{Duration, Instant};

use super::LIMITLESS;
use super::anchor::{Anchor, Started};
use crate::fault::Fault;
use crate::postgres::{ConnectOptions, Connection};
use crate::relay::Core;
use crate::relay::boundary::{Checkpoint, Lsn};
use crate::sink::{Cluster, Opened, Sink};
use crate::source::{Origin, SourceError};

/// How long the server may take to say where its log ends.
const ANSWER: Duration = Duration::from_secs(3);

/// Where the relay is with the positions in Kafka. For a sink that stores none it is always open.
pub(super) struct Storing {
    postgres: ConnectOptions,
    slot: String,
    /// The key of the position, for messages.
    key: String,
    state: State,
    /// As the last connection found it.
    start: Lsn,
    from_the_first: bool,
    anchor: Anchor,
}

enum State {
    /// There was no connection yet.
    Closed,
    /// Kafka was asked when this cluster's slot was ours.
    Opening(Cluster),
    Open,
}

impl Storing {
    pub(super) fn new(postgres: ConnectOptions, slot: String, key: String) -> Self {
        let (state, anchor) = (State::Closed, Anchor::default());
        Self { postgres, slot, key, state, start: Lsn::default(), from_the_first: false, anchor }
    }

    /// Whether events may be taken: it is known up to where they are in Kafka.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The slot is ours, and stands at `start`.
    pub(super) fn handle_up(&mut self, start: Lsn, origin: &Origin, from_the_first: bool, sink: &mut impl Sink) {
        self.start = start;
        self.from_the_first |= from_the_first && !self.is_open();
        if matches!(self.state, State::Closed) {
            let cluster = Cluster { system_identifier: origin.system_identifier.clone(), timeline: origin.timeline };
            self.state = if sink.open(&cluster) { State::Opening(cluster) } else { State::Open };
        }
    }

    /// Kafka has said up to where everything is there.
    ///
    /// # Errors
    /// [`Fault::Position`]: that does not go with the slot.
    pub(super) async fn handle_opened(&mut self, opened: Opened, core: &mut Core) -> Result<(), Fault> {
        let State::Opening(cluster) = std::mem::replace(&mut self.state, State::Open) else { return Ok(()) };
        match opened.stored {
            None => tracing::info!(key = self.key, "no position in kafka: it begins where the slot stands"),
            // Rows from before a slot have no place that a later attempt finds again.
            Some(_) if self.from_the_first => {
                tracing::info!(key = self.key, "the position in kafka is not of this slot, which is new");
            }
            Some(stored) => {
                let end = self.end_of_log().await?;
                let started = Started { slot: self.slot.clone(), start: self.start, end, cluster };
                let position = started.resume(&stored, &self.key)?;
                core.handle_stored(position);
                tracing::info!(
                    position = %position,
                    lsn = %stored.checkpoint.flush,
                    "events up to the position in kafka are passed over"
                );
            }
        }
        Ok(())
    }

    /// Where the server's log ends, if it says so now. It may be waiting for this very relay before it shuts down, and then takes no
    /// question: the check is left out.
    async fn end_of_log(&self) -> Result<Lsn, Fault> {
        match tokio::time::timeout(ANSWER, self.try_end_of_log()).await {
            Ok(Err(error)) if !error.is_transient() => Err(error.into()),
            Ok(Ok(end)) => Ok(end),
            Ok(Err(_)) | Err(_) => Ok(LIMITLESS),
        }
    }

    async fn try_end_of_log(&self) -> Result<Lsn, SourceError> {
        let options = self.postgres.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut connection = Connection::open(&options)?;
            let rows = connection.simple_query("select pg_current_wal_lsn()")?;
            connection.close();
            let end = rows.first().and_then(|row| row.text(0)?.parse().ok());
            end.ok_or(SourceError::Answer { question: "where its log ends" })
        });
        asked.await.expect("a question to Postgres does not panic")
    }

    /// What is to be stored with no record; see [`Anchor::due`].
    pub(super) fn due(
        &self,
        settled: Option<Checkpoint>,
        stored: Option<Lsn>,
        hurry: bool,
        now: Instant,
    ) -> Option<Checkpoint> {
        self.is_open().then(|| self.anchor.due(settled, stored, hurry, now)).flatten()
    }

    /// Storing has begun.
    pub(super) fn begun(&mut self, now: Instant) {
        self.anchor.begun(now);
    }
}
