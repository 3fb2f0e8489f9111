//! A position past a transaction that Postgres can't send, stored in its place with the dead letters of that transaction.
//!
//! One Kafka transaction has both, through the relay's transactional id: a relay that still writes is fenced before the position is read,
//! and either all of it is in Kafka or nothing. The position's event stays the last one that is in Kafka; what it is raised past is the
//! LSN before which nothing is owed. So a relay that starts before the slot is moved passes over what is in Kafka and nothing else.

use super::super::refusals::now_millis;
use super::TransactionalSink;
use super::batch_writer::{BatchError, BatchOutcome, BatchWriter};
use super::positions::ReadScope;
use super::recovery::History;
use super::resume::PositionError;
use crate::relay::boundary::{Checkpoint, Lsn, OwnedRecord, PositionKeys, PositionProof};
use crate::relay::resume::{self, Begun};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::POSITION_TIMEOUT;
use crate::sink::stored_position::{Cluster, StoredPosition};

/// A transaction to skip.
#[derive(Clone, Debug)]
pub struct PositionSkip {
    /// The start of its commit record. Every event before it is in Kafka.
    pub commit: Lsn,
    pub slot: String,
    /// What a stream of it would begin with.
    pub begun: Begun,
    /// What positions are signed and checked with.
    pub keys: PositionKeys,
}

/// Kafka has a position past the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipStored {
    /// It was stored now, with the dead letters. It was there already after an earlier run, or where a relay has published the transaction.
    pub is_new: bool,
    /// What it bears.
    pub proof: PositionProof,
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum SkipError {
    /// Kafka.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The slot and the position in Kafka do not belong together.
    #[error(transparent)]
    Position(#[from] PositionError),
    /// The dead letters can't be written.
    #[error("{0}")]
    DeadLetters(String),
}

impl PositionSkip {
    /// What to store, by the position that is in Kafka; `None` if that is past the transaction already.
    fn beyond(&self, resumed: Option<Checkpoint>) -> Option<Checkpoint> {
        // With no event that is known to be in Kafka, none is passed over: one would have to be found again in the stream.
        let resumed = resumed.unwrap_or(Checkpoint { flush: self.begun.start, ..Checkpoint::default() });
        (resumed.flush <= self.commit).then_some(Checkpoint { flush: Lsn(self.commit.0 + 1), ..resumed })
    }
}

impl TransactionalSink {
    /// Stores a position past a transaction, and `dead_letters` with it; nothing if the position is past it already.
    ///
    /// # Errors
    /// [`SkipError`]; unless Kafka did not answer in time, nothing was stored.
    pub async fn skip(self, skip: &PositionSkip, dead_letters: Vec<OwnedRecord>) -> Result<SkipStored, SkipError> {
        let skipped = tokio::time::timeout(POSITION_TIMEOUT, self.store_past(skip, dead_letters)).await;
        let late = || format!("Kafka did not answer within {} s", POSITION_TIMEOUT.as_secs());
        skipped.unwrap_or_else(|_| Err(not_stored(late())))
    }

    async fn store_past(&self, skip: &PositionSkip, dead_letters: Vec<OwnedRecord>) -> Result<SkipStored, SkipError> {
        let (factory, stopped, key) = (&self.factory, self.stop.flag(), self.factory.identity.position_key());
        let PositionSkip { begun, keys, .. } = skip.clone();
        let (server, start) = (begun.server.clone(), begun.start);
        let cluster = Cluster { system_identifier: server.system_identifier, timeline: server.timeline };
        let history =
            History { cluster: cluster.clone(), ancestry: server.ancestry, is_new: false, is_expected: false, keys };
        factory.ensure_topic().await?;
        // Before anybody is fenced: it might be another database's relay of the same name.
        let mut reader = factory.reader()?;
        let visible = factory.read(&mut reader, ReadScope::Visible, history.proof(), &stopped).await?;
        history.check(&visible.position().cloned(), key.clone()).map_err(SinkError::from)?;
        let id = factory.identity.transactional_id();
        let mut writer = match BatchWriter::open(factory.producers.options.clone(), id).await {
            Err(BatchError::Sink(error)) => return Err(error.into()),
            opened => opened.map_err(|error| not_stored(error.to_string()))?,
        };
        let kept = factory.read(&mut reader, ReadScope::Everything, history.proof(), &stopped).await?;
        history.check(&kept.position().cloned(), key.clone()).map_err(SinkError::from)?;
        let resumed = resume::skip_to(&kept.facts(), &begun);
        let resumed = resumed.map_err(|gap| PositionError::of(gap, &skip.slot, start, &key))?;
        let Some(checkpoint) = skip.beyond(resumed) else {
            let proof = kept.position().map(|stored| stored.proof(&skip.keys)).unwrap_or_default();
            return Ok(SkipStored { is_new: false, proof });
        };
        let stored = StoredPosition::new(checkpoint, cluster, &skip.keys);
        let proof = stored.proof(&skip.keys);
        let position = OwnedRecord {
            topic: POSITIONS_TOPIC.to_owned(),
            value: Some(stored.encode(&key, &skip.keys)),
            key: Some(key.into_bytes()),
            headers: Vec::new(),
            timestamp_millis: now_millis(),
        };
        let records = std::iter::once(position).chain(dead_letters).collect();
        match writer.write(records).await.map_err(|error| not_stored(error.to_string()))? {
            BatchOutcome::Committed => {
                // A commit is answered before its markers are written, and the next start reads what is visible.
                factory.read(&mut reader, ReadScope::Everything, None, &stopped).await?;
                Ok(SkipStored { is_new: true, proof })
            }
            BatchOutcome::Aborted { reason, .. } => Err(SkipError::DeadLetters(reason)),
        }
    }
}

fn not_stored(reason: String) -> SkipError {
    SinkError::from(TransactionsError::NotStored { reason }).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::{Ancestry, Position};
    use crate::relay::confirm::StreamStart;
    use crate::relay::resume::Server;

    #[test]
    fn case_33_the_position_keeps_its_event_and_its_lsn_is_raised_past_the_transaction_once() {
        let server =
            Server { system_identifier: "7".to_owned(), timeline: 1, ancestry: Ancestry::default(), wal_end: Lsn(900) };
        let begun = Begun { server, start: Lsn(50), noted: None, first: StreamStart::Continued };
        let skip = PositionSkip { commit: Lsn(100), slot: "s".to_owned(), begun, keys: PositionKeys::default() };
        let at = |commit, ordinal, flush| {
            let position = Position { commit: Lsn(commit), ordinal };
            Checkpoint { position, committed_at: None, flush: Lsn(flush) }
        };
        assert_eq!(skip.beyond(Some(at(70, 2, 80))), Some(at(70, 2, 101)));
        assert_eq!(skip.beyond(Some(at(100, 3, 80))), Some(at(100, 3, 101)), "its first events are in Kafka");
        assert_eq!(skip.beyond(None), Some(at(0, 0, 101)), "nothing was stored yet");
        for flush in [101, 150] {
            assert_eq!(skip.beyond(Some(at(70, 2, flush))), None, "an earlier run has stored it");
        }
    }
}
