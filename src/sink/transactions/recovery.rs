//! A new producer in the place of one that is at its end, or of a predecessor's: fenced off, and with what is certain of the
//! past.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::super::connection::Connection;
use super::super::context::LogGate;
use super::super::generation::Generation;
use super::super::options::{ProducerOptions, TopicRules, batch_bytes, pace, producer_config, set_message_timeout};
use super::super::pulse::AGAIN_IN_TRANSACTIONS;
use super::super::topics::Topics;
use super::super::{SinkError, TransactionsError};
use super::calls::{self, Ended};
use super::positions::{self, Cluster, Extent, Kept, POSITIONS_TOPIC, ReadError, Reader, StoredPosition};
use super::probe;
use crate::relay::boundary::OwnedRecord;

/// The first and the longest wait before something that failed is tried again.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long the coordinator leaves a transaction open that it hears nothing of, in milliseconds, unless the user says otherwise.
const TRANSACTION_TIMEOUT_MILLIS: u64 = 60_000;

/// Who the relay is to Kafka.
#[derive(Clone, Debug)]
pub struct TransactionsOptions {
    /// `relay.name`.
    pub relay: String,
    /// The slot.
    pub slot: String,
    /// Whether the topic of positions may be created.
    pub create_topics: bool,
}

impl TransactionsOptions {
    /// The transactional id: whoever takes it next fences the one who has it.
    #[must_use]
    pub fn transactional_id(&self) -> String {
        format!("walpost.{}.{}", self.relay, self.slot)
    }

    /// The key of the position.
    #[must_use]
    pub fn position_key(&self) -> String {
        format!("{}/{}", self.relay, self.slot)
    }
}

/// All that a producer is made of.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) options: ProducerOptions,
    pub(super) identity: TransactionsOptions,
    pub(super) rules: TopicRules,
    pub(super) connection: Arc<Connection>,
    pub(super) log: LogGate,
    pub(super) topics: Arc<Topics>,
}

/// Whose positions may be found.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) cluster: Cluster,
    /// The slot is new: what is found is of an earlier one, on whatever timeline.
    pub(super) is_new: bool,
}

impl History {
    /// Whether a position under `key` is of this history. To be asked before anybody is fenced: it might be of another database's
    /// relay of the same name, or of the original of which this database is a promoted copy.
    fn check(&self, stored: &Option<StoredPosition>, key: String) -> Result<(), TransactionsError> {
        let Some(Cluster { system_identifier, timeline }) = stored.as_ref().map(|stored| &stored.cluster) else {
            return Ok(());
        };
        if *system_identifier != self.cluster.system_identifier {
            let (stored, found) = (system_identifier.clone(), self.cluster.system_identifier.clone());
            return Err(TransactionsError::ForeignPosition { key, stored, found });
        }
        if *timeline != self.cluster.timeline && !self.is_new {
            return Err(TransactionsError::Timeline { key, stored: *timeline, found: self.cluster.timeline });
        }
        Ok(())
    }
}

/// A producer that owns the transactional id, and the last position that was committed under it.
pub(super) struct Recovered {
    pub(super) generation: Generation,
    pub(super) kept: Kept,
    /// Topics that take nothing from this client.
    pub(super) refusing: Vec<(String, Code)>,
}

impl Maker {
    /// How long the coordinator leaves a transaction open.
    pub(super) fn transaction_timeout(&self) -> Duration {
        let given = self.options.properties.get("transaction.timeout.ms").and_then(|value| value.parse().ok());
        Duration::from_millis(given.unwrap_or(TRANSACTION_TIMEOUT_MILLIS))
    }

    pub(super) fn start(&self) -> Result<Generation, SinkError> {
        let batch_bytes = batch_bytes(&self.options, &self.rules);
        let mut config = producer_config(&self.options, batch_bytes);
        // An aborted transaction leaves no gap, and the producer goes on.
        config.remove("enable.gapless.guarantee");
        let timeout = self.transaction_timeout().as_millis();
        config.set("transactional.id", self.identity.transactional_id());
        config.set("transaction.timeout.ms", timeout.to_string());
        // Before the coordinator gives the transaction up, which would look as if another relay had taken over.
        let pace = pace(&self.options, AGAIN_IN_TRANSACTIONS);
        set_message_timeout(&mut config, pace, (timeout / 2).max(100));
        Generation::start(&config, pace, batch_bytes, &self.connection, &self.log)
    }

    /// Makes a producer that owns the transactional id and reads back how far its predecessor came. Waits for as long as Kafka
    /// is away. Tries the topics of `probes`, if the last transaction was lost for one of them.
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
        self.ensure_topic().await?;
        // Before anybody is fenced: it might be another database's relay of the same name, or the one that has taken over.
        let mut reader = self.reader()?;
        let visible = self.read(&mut reader, Extent::Visible, &stopped).await?.position().cloned();
        history.check(&visible, self.identity.position_key())?;
        if known.as_ref().is_some_and(|known| is_past(known, &visible)) {
            return Err(self.fenced());
        }
        let refusing = probe::refusing(&self, probes, &stopped).await?;
        let generation = self.clone().own(stopped.clone()).await?;
        let kept = self.read(&mut reader, Extent::Everything, &stopped).await?;
        let stored = kept.position().cloned();
        history.check(&stored, self.identity.position_key())?;
        if known.is_some_and(|known| !known.contains(&stored)) {
            generation.retire();
            return Err(self.fenced());
        }
        Ok(Recovered { generation, kept, refusing })
    }

    fn fenced(&self) -> SinkError {
        TransactionsError::Fenced { id: self.identity.transactional_id() }.into()
    }

    /// Makes sure that the topic of positions is there.
    pub(super) async fn ensure_topic(&self) -> Result<(), SinkError> {
        let settings = positions::topic_settings();
        let mut back_off = BACK_OFF.0;
        loop {
            match self.topics.ensure(POSITIONS_TOPIC, &settings, self.identity.create_topics).await {
                Ok(Ok(_)) => break,
                Ok(Err(refusal)) => return Err(TransactionsError::NoPositionsTopic { detail: refusal.detail }.into()),
                Err(error) => tracing::warn!(error = %error, "the topic of positions can't be looked up now"),
            }
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
        if self.rules.facts(POSITIONS_TOPIC).is_some_and(|facts| !facts.needs_key) {
            tracing::warn!(
                topic = POSITIONS_TOPIC,
                "the topic's cleanup.policy is not compact: positions may expire in it"
            );
        }
        Ok(())
    }

    pub(super) async fn own(
        self,
        stopped: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Result<Generation, SinkError> {
        let id = self.identity.transactional_id();
        loop {
            let (maker, stopped) = (self.clone(), &stopped);
            let generation = maker.start()?;
            let (generation, ended) = blocking(stopped, move |stopped| {
                let ended = calls::init(&generation, &stopped);
                (generation, ended)
            })
            .await;
            let (code, text) = match ended {
                Ended::Done => return Ok(generation),
                Ended::Stopped => return Err(SinkError::Stopped),
                Ended::Fatal(code, text) => (code, text),
                Ended::Lost(text) | Ended::Fenced(text) => (Code::Fenced, text),
            };
            generation.retire();
            match code {
                Code::TransactionalIdAuthorizationFailed | Code::ClusterAuthorizationFailed => {
                    return Err(TransactionsError::NotAuthorized { id }.into());
                }
                Code::InvalidTransactionTimeout => {
                    let millis = self.transaction_timeout().as_millis();
                    return Err(TransactionsError::Timeout { millis }.into());
                }
                Code::UnsupportedFeature => return Err(TransactionsError::Unsupported.into()),
                _ => tracing::warn!(error = text, "the transactional id could not be taken, it is tried again"),
            }
            tokio::time::sleep(BACK_OFF.1).await;
        }
    }

    fn reader(&self) -> Result<Arc<Reader>, SinkError> {
        Reader::new(&self.options).map(Arc::new).map_err(SinkError::Create)
    }

    /// Reads the relay's position.
    async fn read(
        &self,
        reader: &mut Arc<Reader>,
        extent: Extent,
        stopped: &(impl Fn() -> bool + Clone + Send + 'static),
    ) -> Result<Kept, SinkError> {
        let mut back_off = BACK_OFF.0;
        loop {
            let (present, key) = (Arc::clone(reader), self.identity.position_key());
            let outcome = blocking(stopped, move |stopped| present.read(&key, extent, &stopped)).await;
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
                Err(ReadError::Passing(error)) => {
                    tracing::warn!(error = %error, "the position in kafka could not be read, it is tried again");
                    // What the old one has met in an outage waits in its queue, and would be told one by one after it.
                    *reader = self.reader()?;
                }
            }
            tokio::time::sleep(back_off).await;
            back_off = (back_off * 2).min(BACK_OFF.1);
        }
    }
}

/// Whether a position that was read is past all that are known. One before them may be what another relay's open transaction
/// leaves to be seen.
fn is_past(known: &[Option<StoredPosition>; 2], read: &Option<StoredPosition>) -> bool {
    let flush = |stored: &Option<StoredPosition>| stored.as_ref().map(|stored| stored.checkpoint.flush);
    let position = |stored: &Option<StoredPosition>| stored.as_ref().map(|stored| stored.checkpoint.position);
    known.iter().all(|known| flush(known) < flush(read) || position(known) < position(read))
}

/// Runs blocking work on a thread of the runtime's.
pub(super) async fn blocking<T: Send + 'static, S: Clone + Send + 'static>(
    stopped: &S,
    work: impl FnOnce(S) -> T + Send + 'static,
) -> T {
    let stopped = stopped.clone();
    tokio::task::spawn_blocking(move || work(stopped)).await.expect("a call to kafka does not panic")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::relay::boundary::{Checkpoint, Lsn, Position};

    #[test]
    fn a_position_of_another_history_is_told_before_anybody_is_fenced() {
        let cluster = |system: &str, timeline| Cluster { system_identifier: system.to_owned(), timeline };
        let check = |stored: Cluster, is_new| {
            let stored =
                StoredPosition { checkpoint: Checkpoint::default(), cluster: stored, transaction: Uuid::nil() };
            History { cluster: cluster("7", 2), is_new }.check(&Some(stored), "k".to_owned())
        };
        assert_eq!(check(cluster("7", 2), false), Ok(()));
        assert!(matches!(check(cluster("8", 2), true), Err(TransactionsError::ForeignPosition { .. })));
        for timeline in [1, 3] {
            let error = check(cluster("7", timeline), false).expect_err("another timeline").to_string();
            assert!(error.contains(&format!("position of timeline {timeline}")), "{error}");
            assert_eq!(check(cluster("7", timeline), true), Ok(()), "the promoted standby has made a new slot");
        }
    }

    #[test]
    fn a_position_past_all_that_are_known_is_another_relays() {
        let at = |flush, ordinal| {
            let position = Position { commit: Lsn(9), ordinal };
            let checkpoint = Checkpoint { position, committed_at: None, flush: Lsn(flush) };
            let cluster = Cluster { system_identifier: "7".to_owned(), timeline: 1 };
            Some(StoredPosition { checkpoint, cluster, transaction: Uuid::nil() })
        };
        let known = [at(10, 1), at(10, 5)];
        assert!(!is_past(&known, &None) && !is_past(&known, &at(10, 0)), "another's transaction may hide the last");
        assert!(!is_past(&known, &at(10, 1)) && !is_past(&known, &at(10, 5)));
        assert!(is_past(&known, &at(10, 6)) && is_past(&known, &at(11, 5)));
        assert!(is_past(&[None, None], &at(1, 1)));
    }
}
