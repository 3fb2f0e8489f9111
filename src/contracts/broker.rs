//! Kafka's side of contracts: how topics are, and making them as contracts say. Nothing here deletes a topic.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::plan::{TopicAction, TopicState};
use crate::config::KafkaConfig;
use crate::relay::boundary::TopicSettings;

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// Kafka, asked about topics.
pub struct Broker {
    admin: Arc<AdminClient<DefaultClientContext>>,
    servers: String,
}

/// Kafka did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The client's settings make no sense.
    #[error("create the kafka client")]
    Create(#[source] KafkaError),
    /// No answer.
    #[error("Kafka at {servers} did not answer within {} s: start it, or correct bootstrap_servers", REQUEST_TIMEOUT.as_secs())]
    Unreachable {
        /// The brokers.
        servers: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// Kafka does not take what a contract says, or does not let this client do it.
    #[error("Kafka refused to {action} the topic {topic}: {code}{}", advice(*.code))]
    Refused {
        /// What was tried.
        action: &'static str,
        /// The topic.
        topic: String,
        /// Kafka's reason.
        code: Code,
    },
    /// Kafka took a change and does not show it.
    #[error("Kafka does not show the topic {topic} as it was made; see the brokers' logs")]
    Unsettled {
        /// The topic.
        topic: String,
    },
}

fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidConfig => "; see topicConfiguration for a property or a value that Kafka does not have",
        Code::InvalidReplicationFactor => "; see replicationFactor: there are fewer brokers",
        Code::PolicyViolation => "; a policy of the cluster forbids these settings",
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "; give this client CREATE, ALTER, ALTER_CONFIGS and DESCRIBE_CONFIGS"
        }
        _ => "",
    }
}

impl BrokerError {
    /// Whether this client may not do it, which another might.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        let denials = [Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed];
        matches!(self, Self::Refused { code, .. } if denials.contains(code))
    }
}

/// Whether a request is to be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Ask whether it could be.
    Validate,
    /// Do it.
    Change,
}

impl Broker {
    /// Makes a client; does not wait for a broker.
    ///
    /// # Errors
    /// [`BrokerError::Create`].
    pub fn new(config: &KafkaConfig) -> Result<Self, BrokerError> {
        let mut client = ClientConfig::new();
        for (name, value) in config.properties.iter().filter(|(name, _)| *name != "statistics.interval.ms") {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &config.bootstrap_servers).set("client.id", "walpost-contract");
        // A topic is made with its settings or not at all, never by asking for it.
        client.set("allow.auto.create.topics", "false").set_log_level(RDKafkaLogLevel::Emerg);
        let admin = client.create().map_err(BrokerError::Create)?;
        Ok(Self { admin: Arc::new(admin), servers: config.bootstrap_servers.clone() })
    }

    /// How these topics are.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn describe(&self, names: &[String]) -> Result<BTreeMap<String, TopicState>, BrokerError> {
        let mut states = self.presence(names).await?;
        let present = names.iter().filter(|name| matches!(states.get(*name), Some(TopicState::Present { .. })));
        let resources: Vec<ResourceSpecifier<'_>> = present.map(|name| ResourceSpecifier::Topic(name)).collect();
        if resources.is_empty() {
            return Ok(states);
        }
        let described = self.admin.describe_configs(&resources, &options(Intent::Change)).await;
        for (resource, asked) in self.answered(described)?.into_iter().zip(&resources) {
            let ResourceSpecifier::Topic(name) = asked else { continue };
            let resource = resource.map_err(|code| refused("describe", name, code))?;
            if let Some(TopicState::Present { config, set, .. }) = states.get_mut(*name) {
                for entry in resource.entries {
                    let Some(value) = entry.value else { continue };
                    if matches!(entry.source, ConfigSource::DynamicTopic) {
                        set.insert(entry.name.clone(), value.clone());
                    }
                    config.insert(entry.name, value);
                }
            }
        }
        Ok(states)
    }

    async fn presence(&self, names: &[String]) -> Result<BTreeMap<String, TopicState>, BrokerError> {
        let (admin, asked) = (Arc::clone(&self.admin), names.to_vec());
        let ask = move || -> Result<Vec<_>, KafkaError> {
            asked
                .into_iter()
                .map(|name| admin.inner().fetch_metadata(Some(&name), REQUEST_TIMEOUT).map(|found| (name, found)))
                .collect()
        };
        let fetched = tokio::task::spawn_blocking(ask).await.expect("fetching metadata does not panic");
        let mut states = BTreeMap::new();
        for (name, metadata) in self.answered(fetched)? {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            let state = match topic.and_then(|topic| topic.error()).map(Code::from) {
                Some(Code::NoError) | None => topic.map_or(TopicState::Missing, |topic| TopicState::Present {
                    partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
                    replication_factor: topic
                        .partitions()
                        .first()
                        .and_then(|first| i16::try_from(first.replicas().len()).ok())
                        .unwrap_or(0),
                    config: BTreeMap::new(),
                    set: BTreeMap::new(),
                }),
                Some(Code::UnknownTopicOrPartition) => TopicState::Missing,
                Some(code) => return Err(refused("describe", &name, code)),
            };
            states.insert(name, state);
        }
        Ok(states)
    }

    /// Makes a topic as it is to be, or asks whether it could.
    ///
    /// # Errors
    /// [`BrokerError`].
    pub async fn change(&self, topic: &str, action: &TopicAction, intent: Intent) -> Result<(), BrokerError> {
        match action {
            TopicAction::Create { settings } => self.create(topic, settings, intent).await,
            TopicAction::Alter { partitions, config, keep } => {
                if let Some((_, wanted)) = partitions {
                    self.grow(topic, *wanted, intent).await?;
                }
                if config.is_empty() {
                    return Ok(());
                }
                // The request sets all of a topic's own properties: those that nobody changes go with it.
                let all = keep.iter().chain(config.iter().map(|change| (&change.name, &change.wanted)));
                let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
                let alter = all.fold(alter, |alter, (name, value)| alter.set(name, value));
                let altered = self.admin.alter_configs([&alter], &options(intent)).await;
                let result = self
                    .answered(altered)?
                    .into_iter()
                    .next()
                    .unwrap_or(Ok(rdkafka::admin::OwnedResourceSpecifier::Topic(String::new())));
                result.map(drop).map_err(|(_, code)| refused("alter", topic, code))
            }
            TopicAction::Unchanged | TopicAction::Unknown => Ok(()),
        }
    }

    async fn create(&self, name: &str, settings: &TopicSettings, intent: Intent) -> Result<(), BrokerError> {
        // -1 leaves the number to the broker (KIP-464).
        let replication = TopicReplication::Fixed(i32::from(settings.replication_factor.unwrap_or(-1)));
        let topic = NewTopic::new(name, settings.partitions.unwrap_or(-1), replication);
        let topic = settings.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let created = self.admin.create_topics([&topic], &options(intent)).await;
        match self.answered(created)?.into_iter().next() {
            // Somebody was faster, who is not held up by this database's lock. Whether it is as it should be is looked at in the end.
            Some(Err((_, Code::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
            Some(Err((_, code))) => Err(refused("create", name, code)),
        }
    }

    async fn grow(&self, name: &str, partitions: i32, intent: Intent) -> Result<(), BrokerError> {
        let partitions = NewPartitions::new(name, usize::try_from(partitions).unwrap_or(1));
        let grown = self.admin.create_partitions([&partitions], &options(intent)).await;
        match self.answered(grown)?.into_iter().next() {
            Some(Err((_, code))) => Err(refused("add partitions to", name, code)),
            _ => Ok(()),
        }
    }

    fn answered<T>(&self, result: Result<T, KafkaError>) -> Result<T, BrokerError> {
        result.map_err(|source| BrokerError::Unreachable { servers: self.servers.clone(), source })
    }
}

fn refused(action: &'static str, topic: &str, code: Code) -> BrokerError {
    BrokerError::Refused { action, topic: topic.to_owned(), code }
}

fn options(intent: Intent) -> AdminOptions {
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    if intent == Intent::Validate { options.validate_only(true) } else { options }
}
