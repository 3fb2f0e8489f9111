//! Answers the core's requests, one at a time. An outage is not an answer: the request is retried until there is one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::registry::{Looked, Registry};
use super::side_events::SideEvents;
use crate::driver::limits::{KEYS_INTERVAL, LOOKUP_BACK_OFF, SESSION_KEPT, TYPE_INTERVAL, TYPE_PATIENCE};
use crate::exit::chain;
use crate::postgres::{self, ConnectOptions};
use crate::relay::Core;
use crate::relay::boundary::{Answer, ColumnType, Request, SchemaVersionId, Topic, WantedTopic};
use crate::sink::Topics;
use crate::telemetry::Telemetry;

/// Where answers come from.
pub(super) struct Lookup {
    sources: Arc<Sources>,
    pending: Option<JoinHandle<Answers>>,
    /// The open request, in words.
    question: String,
    /// When the idle connection is closed.
    rests_at: Option<Instant>,
}

/// The answers that were looked up early, then the answer to the open request.
pub(super) type Answers = Vec<Answer>;

/// Who answers requests about topics.
pub(super) enum TopicSource {
    Kafka(Arc<Topics>),
    /// Nobody, because nothing is sent to Kafka: every topic exists and accepts everything.
    Nowhere,
}

impl TopicSource {
    /// Whether other topics can be looked up along with this one.
    fn looks_ahead(&self, request: &Request) -> bool {
        match (self, request) {
            (Self::Kafka(topics), Request::Topic(wanted)) => !topics.is_found_ahead(&wanted.name),
            _ => false,
        }
    }
}

/// Topics and schema versions that later rows of the batch need.
#[derive(Default)]
struct Ahead {
    topics: Vec<WantedTopic>,
    versions: Vec<SchemaVersionId>,
}

struct Sources {
    registry: Registry,
    topics: TopicSource,
    create_topics: bool,
    telemetry: Arc<Telemetry>,
    events: SideEvents,
    /// When the message keys may be read again.
    keys_due: Mutex<Instant>,
}

impl Lookup {
    pub(super) fn new(
        postgres: ConnectOptions,
        slot: String,
        topics: TopicSource,
        create_topics: bool,
        telemetry: Arc<Telemetry>,
        events: SideEvents,
    ) -> Self {
        let registry = Registry::new(postgres, slot);
        let keys_due = Mutex::new(Instant::now());
        let sources = Sources { registry, topics, create_topics, telemetry, events, keys_due };
        let (pending, question, rests_at) = (None, String::new(), None);
        Self { sources: Arc::new(sources), pending, question, rests_at }
    }

    /// Puts a question that the core raises. One that was open is given up: the core waits for one answer at a time.
    pub(super) fn ask(&mut self, request: Request, core: &Core) {
        let topics = if self.sources.topics.looks_ahead(&request) { core.topics_ahead(&request) } else { Vec::new() };
        let ahead = Ahead { topics, versions: core.versions_ahead(&request) };
        let xid = core.transaction_id();
        self.question = match &request {
            Request::SchemaVersion(id) => format!("schema version {id}"),
            Request::Topic(wanted) => format!("topic {}", wanted.name),
            Request::Type(oid) => format!("the type with OID {oid}"),
            Request::MessageKeys => "the keys in outbox.secret".to_owned(),
        };
        let sources = Arc::clone(&self.sources);
        let asked = tokio::spawn(async move { sources.answer(request, &ahead, xid).await });
        if let Some(given_up) = self.pending.replace(asked) {
            given_up.abort();
        }
    }

    /// The core received rows that may use schema versions registered only just before them.
    pub(super) fn handle_input(&self) {
        self.sources.registry.handle_input();
    }

    /// The open request, and why it has no answer yet.
    pub(super) fn question(&self) -> Option<String> {
        self.pending.as_ref()?;
        let why = self.sources.telemetry.waiting_for().map(|why| format!(" ({why})")).unwrap_or_default();
        Some(format!("the lookup of {}{why}", self.question))
    }

    /// The answer to the open request. Cancel-safe.
    pub(super) async fn answered(&mut self) -> Answers {
        let Some(pending) = &mut self.pending else {
            if let Some(at) = self.rests_at {
                tokio::time::sleep_until(at).await;
                self.rests_at = None;
                self.sources.registry.rest().await;
            }
            return std::future::pending().await;
        };
        let answer = pending.await;
        self.pending = None;
        self.rests_at = Some(Instant::now() + SESSION_KEPT);
        answer.expect("a lookup neither panics nor is aborted while it is awaited")
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abort();
        }
    }
}

impl Sources {
    async fn answer(&self, request: Request, ahead: &Ahead, xid: Option<u32>) -> Answers {
        let mut back_off = LOOKUP_BACK_OFF;
        loop {
            let error = match self.try_answer(&request, ahead, xid).await {
                Ok(answer) => {
                    self.telemetry.set_waiting_for(None);
                    return answer;
                }
                Err(error) => {
                    self.events.note_failure(error.chain().find_map(|cause| cause.downcast_ref::<postgres::Error>()));
                    chain(error.as_ref())
                }
            };
            tracing::warn!(error, "publishing blocked: lookup failed; retrying");
            self.telemetry.note_error(error.as_str());
            self.telemetry.set_waiting_for(Some(error));
            tokio::time::sleep(back_off.wait()).await;
        }
    }

    async fn try_answer(&self, request: &Request, ahead: &Ahead, xid: Option<u32>) -> anyhow::Result<Answers> {
        let answer = match request {
            Request::SchemaVersion(id) => {
                let Looked { asked, ahead } = self.registry.schema_version(id, &ahead.versions, xid).await?;
                let ahead = ahead.into_iter().map(|version| Answer::SchemaVersion(version.id.clone(), Some(version)));
                return Ok(ahead.chain([Answer::SchemaVersion(id.clone(), asked)]).collect());
            }
            Request::Topic(wanted) => {
                let topic = match &self.topics {
                    TopicSource::Kafka(topics) => {
                        topics.ensure_among(wanted, self.create_topics, &ahead.topics).await?
                    }
                    TopicSource::Nowhere => Ok(Topic { max_message_bytes: usize::MAX }),
                };
                Answer::Topic(Arc::clone(&wanted.name), topic)
            }
            Request::Type(oid) => Answer::Type(*oid, self.column_type(*oid).await?),
            Request::MessageKeys => {
                tokio::time::sleep_until(self.keys_turn()).await;
                Answer::MessageKeys(self.registry.message_keys().await?)
            }
        };
        Ok(vec![answer])
    }

    /// When to read the keys; postpones the next read.
    fn keys_turn(&self) -> Instant {
        let mut due = self.keys_due.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*due).max(Instant::now());
        *due = turn + KEYS_INTERVAL;
        turn
    }

    async fn column_type(&self, oid: u32) -> anyhow::Result<Option<ColumnType>> {
        let give_up = Instant::now() + TYPE_PATIENCE;
        loop {
            let found = self.registry.column_type(oid).await?;
            if found.is_some() || Instant::now() >= give_up {
                return Ok(found);
            }
            tokio::time::sleep(TYPE_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::{NamedBy, TopicSettings};
    use crate::sink::{Compression, Connection, ProducerOptions, TopicRules};

    #[tokio::test]
    async fn rows_are_read_ahead_only_where_topics_are_looked_up() {
        let options = ProducerOptions {
            bootstrap_servers: "127.0.0.1:1".to_owned(),
            client_id: "test".to_owned(),
            compression: Compression::default(),
            properties: std::collections::BTreeMap::new(),
            window: crate::relay::delivery::window::InFlightWindow::fixed(100, 100_000),
        };
        let topics = Topics::new(&options, TopicRules::default(), Arc::<Connection>::default());
        let kafka = TopicSource::Kafka(Arc::new(topics.expect("a client needs no broker")));
        let topic = |name: &str| {
            let (name, settings) = (name.into(), TopicSettings::default());
            Request::Topic(WantedTopic { name, settings, named_by: NamedBy::Owner })
        };
        let looks = |source: &TopicSource, request| source.looks_ahead(&request);
        assert!(looks(&kafka, topic("a")) && !looks(&TopicSource::Nowhere, topic("a")));
        assert!(!looks(&kafka, Request::MessageKeys));
    }
}
