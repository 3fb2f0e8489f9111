//! Creating topics: the one that is asked for, and with it those that are about to be.

use std::collections::HashSet;
use std::sync::{Arc, MutexGuard, PoisonError};

use rdkafka::admin::{NewTopic, TopicReplication, TopicResult};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::budget::Budget;
use super::{Topics, TopicsError, admin_options, unknown};
use crate::relay::boundary::{NamedBy, Refusal, TopicSettings, WantedTopic};
use crate::relay::route::topic_name::is_legal;
use crate::sink::limits::{CREATED_ALONG_MAX, LISTED_FOR, REQUEST_TIMEOUT};

impl Topics {
    /// Creates a topic, and those `ahead` that are missing too.
    pub(super) async fn create(
        &self,
        wanted: &WantedTopic,
        ahead: &[WantedTopic],
    ) -> Result<Result<(), Refusal>, TopicsError> {
        let (name, ahead) = (&*wanted.name, self.untried(ahead));
        let within = self.budget().within(std::iter::once(wanted).chain(&ahead), Instant::now());
        if !within.iter().any(|topic| topic.name == wanted.name) {
            return Ok(Err(self.refuse_beyond_budget(name)));
        }
        if within.len() > 1 && matches!(self.request(name, &within).await, Ok(Some(Ok(_)))) {
            return Ok(Ok(()));
        }
        // Alone: Kafka, or the client, may have refused it for the others.
        let result = match self.request(name, &within[..1]).await {
            // The client itself refuses numbers that make no sense.
            Err(KafkaError::AdminOpCreation(_) | KafkaError::Nul(_)) => {
                return Ok(Err(unknown(name, "can't be created: the client rejects its settings")));
            }
            result => self.answered(name, result)?,
        };
        let failed = |code| TopicsError::Failed { action: "create", topic: name.to_owned(), code };
        let Some(result) = result else { return Err(failed(Code::Unknown)) };
        match result.map_err(|(_, code)| code) {
            Ok(_) | Err(Code::TopicAlreadyExists) => Ok(Ok(())),
            Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                Ok(Err(unknown(name, "does not exist, and kafka does not allow this client to create it")))
            }
            Err(Code::PolicyViolation) => {
                Ok(Err(unknown(name, "does not exist, and a cluster policy rejects its settings")))
            }
            Err(code @ (Code::InvalidTopic | Code::InvalidPartitions | Code::InvalidConfig | Code::InvalidRequest)) => {
                Ok(Err(unknown(name, &format!("can't be created: {code}"))))
            }
            Err(code) => Err(failed(code)),
        }
    }

    /// What Kafka says of the first of these topics.
    async fn request(&self, name: &str, wanted: &[&WantedTopic]) -> Result<Option<TopicResult>, KafkaError> {
        let topics: Vec<NewTopic<'_>> = wanted.iter().map(|topic| new_topic(&topic.name, &topic.settings)).collect();
        let results = self.admin().create_topics(&topics, &admin_options()).await?;
        let created: HashSet<&str> = results.iter().filter_map(|result| result.as_deref().ok()).collect();
        if !created.is_empty() {
            tracing::info!(topic = name, topics = created.len(), "topics created");
        }
        let counts = |topic: &&&WantedTopic| topic.named_by == NamedBy::Row && created.contains(&*topic.name);
        self.budget().spend(wanted.iter().filter(counts).count());
        let is_of_it = |result: &TopicResult| match result {
            Ok(created) => created == name,
            Err((refused, _)) => refused == name,
        };
        Ok(results.iter().find(|result| is_of_it(result)).cloned())
    }

    /// Those that may be created along with another: nothing is known of them, and each is tried once.
    fn untried(&self, ahead: &[WantedTopic]) -> Vec<WantedTopic> {
        let mut along = self.along.lock().unwrap_or_else(PoisonError::into_inner);
        if along.len() >= CREATED_ALONG_MAX {
            along.clear();
        }
        let is_new = |name: &Arc<str>| is_legal(name) && self.facts(name).is_none();
        ahead.iter().filter(|topic| is_new(&topic.name) && along.insert(Arc::clone(&topic.name))).cloned().collect()
    }

    /// Whether a topic is missing and may not be created any more because only a row names it. Kafka is not asked for each:
    /// others wait meanwhile.
    pub(super) async fn is_beyond_budget(&self, wanted: &WantedTopic) -> Result<bool, TopicsError> {
        let is_spent = wanted.named_by == NamedBy::Row && self.budget().left(Instant::now()) == 0;
        Ok(is_spent && !self.list(&wanted.name).await?.contains(&*wanted.name))
    }

    pub(super) fn refuse_beyond_budget(&self, name: &str) -> Refusal {
        let (reason, is_new) = self.budget().exhausted();
        if is_new {
            tracing::warn!(topic = name, "a topic {reason}: events for such topics go to the dead-letter topic");
        }
        unknown(name, &reason)
    }

    /// The names of all topics as of [`LISTED_FOR`] ago at most.
    async fn list(&self, topic: &str) -> Result<Arc<HashSet<String>>, TopicsError> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, names)) = listed.filter(|(at, _)| at.elapsed() < LISTED_FOR) {
            return Ok(names);
        }
        let (admin, now) = (self.admin(), Instant::now());
        let fetch = move || admin.inner().fetch_metadata(None, REQUEST_TIMEOUT);
        let fetched = tokio::task::spawn_blocking(fetch).await.expect("fetching metadata does not panic");
        let metadata = self.answered(topic, fetched)?;
        let names =
            metadata.topics().iter().filter(|found| found.error().is_none()).map(|found| found.name().to_owned());
        let names: Arc<HashSet<String>> = Arc::new(names.collect());
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&names)));
        Ok(names)
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_topic<'a>(name: &'a str, settings: &'a TopicSettings) -> NewTopic<'a> {
    // -1 leaves the number to the broker (KIP-464).
    let replication = TopicReplication::Fixed(i32::from(settings.replication_factor.unwrap_or(-1)));
    let topic = NewTopic::new(name, settings.partitions.unwrap_or(-1), replication);
    settings.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}
