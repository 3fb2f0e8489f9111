//! Replaces a failed producer, or a predecessor's: fences it, and determines what was committed.

use std::sync::Arc;
use std::time::Instant;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::position_keys::Check;
use super::position_scan::ReadError;
use super::positions::{self, PositionReader, ReadScope};
use super::probe;
use super::producer_factory::{ProducerFactory, blocking};
use crate::relay::boundary::{Ancestry, Lsn, OwnedRecord, PositionKeys, Refusal, RefusalCode, Topic};
use crate::relay::confirm::StreamStart;
use crate::relay::resume::{self, Server};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::client::producer_client::ProducerClient;
use crate::sink::error::{SinkError, TransactionsError};
use crate::sink::limits::{MISSING_TOPIC_PATIENCE, RECOVERY_BACK_OFF};
use crate::sink::stored_position::{Cluster, PositionEntry, StoredPosition};

/// Whose positions may be found.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) cluster: Cluster,
    pub(super) ancestry: Ancestry,
    /// The slot is new: a position that is found belongs to an earlier one, on whatever timeline.
    pub(super) is_new: bool,
    /// According to the database there is a position.
    pub(super) is_expected: bool,
    pub(super) keys: PositionKeys,
}

impl History {
    /// What a position is checked with; `None` if it does not count.
    pub(super) fn proof(&self) -> Option<Check> {
        let (keys, system_identifier) = (self.keys.clone(), self.cluster.system_identifier.clone());
        (!self.is_new).then_some(Check { keys, system_identifier })
    }

    /// Whether a position under `key` belongs to this history. Checked before fencing: it might be that of another
    /// database's relay of the same name, or of the original of which this database is a promoted copy.
    pub(super) fn check(&self, stored: &Option<StoredPosition>, key: String) -> Result<(), TransactionsError> {
        let Some(stored) = stored else { return Ok(()) };
        let server = Server {
            system_identifier: self.cluster.system_identifier.clone(),
            timeline: self.cluster.timeline,
            ancestry: self.ancestry.clone(),
            wal_end: Lsn::default(),
        };
        let first = if self.is_new { StreamStart::FirstRows } else { StreamStart::Continued };
        resume::same_origin(&stored.facts(), &server, first).map_err(|other| TransactionsError::of(other, key))
    }
}

/// A producer that owns the transactional id, and the last position committed under it.
pub(super) struct Recovered {
    pub(super) client: ProducerClient,
    pub(super) kept: PositionEntry,
    /// Topics that accept nothing from this client.
    pub(super) refusing: Vec<(String, Code)>,
}

impl ProducerFactory {
    /// Creates a producer that owns the transactional id and reads how far its predecessor came. Waits for as long as
    /// Kafka is unreachable. Tries the topics of `probes`, if the last transaction was lost because of one of them.
    ///
    /// # Errors
    /// [`SinkError`]: waiting does not help.
    pub(super) async fn recover(
        self,
        history: History,
        known: Option<[Option<StoredPosition>; 2]>,
        probes: Vec<OwnedRecord>,
        stopped: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<Recovered, SinkError> {
        if history.is_expected && !self.still_has_topic(&stopped).await? {
            let client = self.producers.clone().own(stopped).await?;
            return Ok(Recovered { client, kept: PositionEntry::Nothing, refusing: Vec::new() });
        }
        self.ensure_topic().await?;
        // Before fencing: it might be another database's relay of the same name, or the one that has taken over.
        let mut reader = self.reader()?;
        let proof = history.proof();
        let (visible, doubt) = match self.read(&mut reader, ReadScope::Visible, proof.clone(), &stopped).await {
            // Another relay's open transaction may hide a later position, and the last one decides. Until then this one tells
            // whose position it is.
            Err(SinkError::Transactions(
                doubt @ (TransactionsError::Forged { .. } | TransactionsError::Forgotten { .. }),
            )) => (self.read(&mut reader, ReadScope::Visible, None, &stopped).await?, Some(doubt)),
            found => (found?, None),
        };
        let visible = visible.position().cloned();
        history.check(&visible, self.identity.position_key())?;
        if known.as_ref().is_some_and(|known| is_past(known, &visible)) {
            return Err(doubt.map_or_else(|| self.fenced(), SinkError::from));
        }
        let refusing = probe::refusing(&self, probes, &stopped).await?;
        let client = self.producers.clone().own(stopped.clone()).await?;
        let kept = self.read(&mut reader, ReadScope::Everything, proof, &stopped).await?;
        let stored = kept.position().cloned();
        history.check(&stored, self.identity.position_key())?;
        if known.is_some_and(|known| !known.iter().any(|known| is_same(known, &stored))) {
            client.retire();
            return Err(self.fenced());
        }
        Ok(Recovered { client, kept, refusing })
    }

    fn fenced(&self) -> SinkError {
        TransactionsError::Fenced { id: self.identity.transactional_id() }.into()
    }

    /// Whether the positions topic still exists, although the database says that it has a position: a new one would
    /// hide that it was lost. A broker that has just started may not know the topic yet.
    async fn still_has_topic(&self, stopped: &impl Fn() -> bool) -> Result<bool, SinkError> {
        let (since, mut back_off) = (Instant::now(), RECOVERY_BACK_OFF);
        loop {
            match self.find_topic(false).await {
                Err(refusal) if refusal.code == RefusalCode::UnknownTopic => {}
                // What else is wrong with it, `ensure_topic` reports.
                _ => return Ok(true),
            }
            if stopped() {
                return Err(SinkError::Stopped);
            }
            if since.elapsed() >= MISSING_TOPIC_PATIENCE {
                return Ok(false);
            }
            tokio::time::sleep(back_off.wait()).await;
        }
    }

    async fn find_topic(&self, create: bool) -> Result<Topic, Refusal> {
        let settings = positions::topic_settings();
        let mut back_off = RECOVERY_BACK_OFF;
        loop {
            match self.topics.ensure(POSITIONS_TOPIC, &settings, create).await {
                Ok(found) => return found,
                Err(error) => tracing::warn!(error = %error, "could not look up the positions topic; retrying"),
            }
            tokio::time::sleep(back_off.wait()).await;
        }
    }

    /// Ensures that the positions topic exists.
    pub(super) async fn ensure_topic(&self) -> Result<(), SinkError> {
        let found = self.find_topic(self.identity.create_topics).await;
        found.map_err(|refusal| TransactionsError::NoPositionsTopic { detail: refusal.detail })?;
        if self.producers.rules.facts(POSITIONS_TOPIC).is_some_and(|facts| facts.is_compacted == Some(false)) {
            tracing::warn!(
                topic = POSITIONS_TOPIC,
                "topic's cleanup.policy is not compact: stored positions may expire"
            );
        }
        Ok(())
    }

    pub(super) fn reader(&self) -> Result<Arc<PositionReader>, SinkError> {
        PositionReader::new(&self.producers.options).map(Arc::new)
    }

    /// Reads the relay's position.
    pub(super) async fn read(
        &self,
        reader: &mut Arc<PositionReader>,
        extent: ReadScope,
        check: Option<Check>,
        stopped: &(impl Fn() -> bool + Clone + Send + 'static),
    ) -> Result<PositionEntry, SinkError> {
        let mut back_off = RECOVERY_BACK_OFF;
        loop {
            let (present, key, check) = (Arc::clone(reader), self.identity.position_key(), check.clone());
            let outcome = blocking(stopped, move |stopped| present.read(&key, extent, check.as_ref(), &stopped)).await;
            match outcome {
                Ok(kept) => return Ok(kept),
                Err(ReadError::Stopped) => return Err(SinkError::Stopped),
                Err(ReadError::NotAuthorized) => {
                    let detail = "kafka does not allow this client to read it".to_owned();
                    return Err(TransactionsError::NoPositionsTopic { detail }.into());
                }
                Err(ReadError::Partitioned(partitions)) => {
                    return Err(TransactionsError::Partitioned { partitions }.into());
                }
                Err(ReadError::Malformed) => {
                    return Err(TransactionsError::Malformed { key: self.identity.position_key() }.into());
                }
                Err(ReadError::Forged) => {
                    return Err(TransactionsError::Forged { key: self.identity.position_key() }.into());
                }
                Err(ReadError::Copied) => {
                    return Err(TransactionsError::Copied { key: self.identity.position_key() }.into());
                }
                Err(ReadError::Forgotten) => {
                    return Err(TransactionsError::Forgotten { key: self.identity.position_key() }.into());
                }
                Err(ReadError::Passing(error)) => {
                    tracing::warn!(error = %error, "could not read the stored position; retrying");
                    // The old reader's errors during an outage are queued, and would be logged one by one after it.
                    *reader = self.reader()?;
                }
            }
            tokio::time::sleep(back_off.wait()).await;
        }
    }
}

/// Whether two are the same position. Where its signature does not count, none was looked for.
fn is_same(known: &Option<StoredPosition>, read: &Option<StoredPosition>) -> bool {
    let unproven = |stored: &Option<StoredPosition>| {
        stored.as_ref().map(|stored| StoredPosition { signed_by: None, ..stored.clone() })
    };
    unproven(known) == unproven(read)
}

/// Whether a position that was read is past all known ones. An earlier one may be what another relay's open
/// transaction leaves visible.
fn is_past(known: &[Option<StoredPosition>; 2], read: &Option<StoredPosition>) -> bool {
    let flush = |stored: &Option<StoredPosition>| stored.as_ref().map(|stored| stored.checkpoint.flush);
    let position = |stored: &Option<StoredPosition>| stored.as_ref().map(|stored| stored.checkpoint.position);
    known.iter().all(|known| flush(known) < flush(read) || position(known) < position(read))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::relay::boundary::{Checkpoint, Lsn, Position};

    fn at(flush: u64, ordinal: u64) -> Option<StoredPosition> {
        let position = Position { commit: Lsn(9), ordinal };
        let checkpoint = Checkpoint { position, committed_at: None, flush: Lsn(flush) };
        let cluster = Cluster { system_identifier: "7".to_owned(), timeline: 1 };
        Some(StoredPosition { checkpoint, cluster, transaction: Uuid::nil(), epoch: None, signed_by: None })
    }

    /// In the first transaction of a slot, positions are read without looking for signatures.
    #[test]
    fn a_position_is_recognized_whether_its_signature_was_looked_for_or_not() {
        let signed = at(10, 1).map(|stored| StoredPosition { signed_by: Some(7), ..stored });
        assert!(is_same(&signed, &at(10, 1)) && is_same(&at(10, 1), &signed) && is_same(&None, &None));
        let other = at(10, 1).map(|stored| StoredPosition { transaction: Uuid::max(), ..stored });
        assert!(!is_same(&signed, &other) && !is_same(&signed, &at(10, 2)) && !is_same(&signed, &None));
    }

    #[test]
    fn a_position_past_all_known_ones_is_another_relays() {
        let known = [at(10, 1), at(10, 5)];
        assert!(!is_past(&known, &None) && !is_past(&known, &at(10, 0)), "another's transaction may hide the last");
        assert!(!is_past(&known, &at(10, 1)) && !is_past(&known, &at(10, 5)));
        assert!(is_past(&known, &at(10, 6)) && is_past(&known, &at(11, 5)));
        assert!(is_past(&[None, None], &at(1, 1)));
    }
}
