//! Creating topics: the one that is asked for, and with it those that are about to be.

use std::sync::{Arc, PoisonError};

use rdkafka::admin::{NewTopic, TopicReplication, TopicResult};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::{Topics, TopicsError, admin_options, is_legal, unknown};
use crate::relay::boundary::{Refusal, TopicSettings};

/// How many topics that were created along with others are remembered.
const ALONG_LIMIT: usize = 20_000;

impl Topics {
    pub(super) async fn create(
        &self,
        name: &str,
        settings: &TopicSettings,
        ahead: &[(Arc<str>, TopicSettings)],
    ) -> Result<Result<(), Refusal>, TopicsError> {
        let ahead = self.untried(ahead);
        let along = ahead.iter().map(|(name, settings)| new_topic(name, settings));
        let topics: Vec<NewTopic<'_>> = std::iter::once(new_topic(name, settings)).chain(along).collect();
        if topics.len() > 1 && matches!(self.request(name, &topics).await, Ok(Some(Ok(_)))) {
            return Ok(Ok(()));
        }
        // Alone: Kafka, or the client, may have refused it for the others.
        let result = match self.request(name, &topics[..1]).await {
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
    async fn request(&self, name: &str, topics: &[NewTopic<'_>]) -> Result<Option<TopicResult>, KafkaError> {
        let results = self.admin.create_topics(topics, &admin_options()).await?;
        let created = results.iter().filter(|result| result.is_ok()).count();
        if created > 0 {
            tracing::info!(topic = name, topics = created, "topics created");
        }
        let is_of_it = |result: &TopicResult| match result {
            Ok(created) => created == name,
            Err((refused, _)) => refused == name,
        };
        Ok(results.into_iter().find(is_of_it))
    }

    /// Those that may be created along with another: nothing is known of them, and each is tried once.
    fn untried(&self, ahead: &[(Arc<str>, TopicSettings)]) -> Vec<(Arc<str>, TopicSettings)> {
        let mut along = self.along.lock().unwrap_or_else(PoisonError::into_inner);
        if along.len() >= ALONG_LIMIT {
            along.clear();
        }
        let is_new = |name: &Arc<str>| is_legal(name) && self.facts(name).is_none();
        ahead.iter().filter(|(name, _)| is_new(name) && along.insert(Arc::clone(name))).cloned().collect()
    }
}

fn new_topic<'a>(name: &'a str, settings: &'a TopicSettings) -> NewTopic<'a> {
    // -1 leaves the number to the broker (KIP-464).
    let replication = TopicReplication::Fixed(i32::from(settings.replication_factor.unwrap_or(-1)));
    let topic = NewTopic::new(name, settings.partitions.unwrap_or(-1), replication);
    settings.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}
