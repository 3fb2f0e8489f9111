//! Describes, creates and alters topics for contracts. Never deletes a topic.

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
use crate::exit::{self, EndsCommand};
use crate::relay::boundary::TopicSettings;
use crate::sink::{ConnectFailure, why_unreachable};

/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// An admin client for topics.
pub struct Broker {
    admin: Arc<AdminClient<DefaultClientContext>>,
    client: ClientConfig,
    servers: String,
}

/// Kafka did not answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The client's settings are invalid.
    #[error("create the Kafka client")]
    Create(#[source] KafkaError),
    /// Kafka did not answer.
    #[error("Kafka at {servers} {}", ConnectFailure::describe(REQUEST_TIMEOUT, failure.as_ref()))]
    Unreachable {
        /// The brokers.
        servers: String,
        /// Why the last attempt to connect failed.
        failure: Option<ConnectFailure>,
    },
    /// Kafka refused a request as invalid or not authorized.
    #[error("Kafka refused to {action} topic {topic}: {code}{}", advice(*.code))]
    Refused {
        /// The action that failed.
        action: &'static str,
        /// The topic.
        topic: String,
        /// Kafka's reason.
        code: Code,
    },
    /// Kafka accepted a change but does not show it.
    #[error(
        "Kafka accepted the change to topic {topic}, but describing the topic does not show it; check the broker logs"
    )]
    Unsettled {
        /// The topic.
        topic: String,
    },
}

impl EndsCommand for BrokerError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Create(_) => exit::CONFIGURATION,
            Self::Unreachable { .. } | Self::Unsettled { .. } => exit::UNAVAILABLE,
            Self::Refused { .. } => exit::REFUSED,
        }
    }

    fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { failure, .. } => failure.as_ref().is_none_or(|failure| failure.may_pass),
            Self::Unsettled { .. } => true,
            Self::Create(_) | Self::Refused { .. } => false,
        }
    }
}

fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidConfig => "; topicConfiguration has a property or value that Kafka does not know",
        Code::InvalidReplicationFactor => "; replicationFactor exceeds the number of brokers",
        Code::PolicyViolation => "; a policy of the cluster forbids these settings",
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "; grant this client CREATE, ALTER, ALTER_CONFIGS and DESCRIBE_CONFIGS"
        }
        _ => "",
    }
}

impl BrokerError {
    /// Whether the request failed for lack of authorization.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        let denials = [Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed];
        matches!(self, Self::Refused { code, .. } if denials.contains(code))
    }
}

/// Whether to carry out a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Validate only.
    Validate,
    /// Carry it out.
    Change,
}

impl Broker {
    /// Creates a client without waiting for a broker.
    ///
    /// # Errors
    /// [`BrokerError::Create`].
    pub fn new(config: &KafkaConfig) -> Result<Self, BrokerError> {
        let mut client = ClientConfig::new();
        for (name, value) in config.properties.iter() {
            client.set(name, value);
        }
        client.set("bootstrap.servers", &config.bootstrap_servers).set("client.id", "walpost-contract");
        // Topics are created with their settings only, never automatically by a metadata request.
        client.set("allow.auto.create.topics", "false").set_log_level(RDKafkaLogLevel::Emerg);
        let admin = client.create().map_err(BrokerError::Create)?;
        Ok(Self { admin: Arc::new(admin), client, servers: config.bootstrap_servers.clone() })
    }

    /// Describes these topics.
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
        for (resource, asked) in self.answered(described).await?.into_iter().zip(&resources) {
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
        for (name, metadata) in self.answered(fetched).await? {
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

    /// Creates or alters a topic as planned, or validates that.
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
                // The request replaces all of a topic's properties, so unchanged ones are included.
                let all = keep.iter().chain(config.iter().map(|change| (&change.name, &change.wanted)));
                let alter = AlterConfig::new(ResourceSpecifier::Topic(topic));
                let alter = all.fold(alter, |alter, (name, value)| alter.set(name, value));
                let altered = self.admin.alter_configs([&alter], &options(intent)).await;
                let result = self
                    .answered(altered)
                    .await?
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
        match self.answered(created).await?.into_iter().next() {
            // Another client, not subject to this database's lock, created it first. The final check compares it with the plan.
            Some(Err((_, Code::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
            Some(Err((_, code))) => Err(refused("create", name, code)),
        }
    }

    async fn grow(&self, name: &str, partitions: i32, intent: Intent) -> Result<(), BrokerError> {
        let partitions = NewPartitions::new(name, usize::try_from(partitions).unwrap_or(1));
        let grown = self.admin.create_partitions([&partitions], &options(intent)).await;
        match self.answered(grown).await?.into_iter().next() {
            Some(Err((_, code))) => Err(refused("add partitions to", name, code)),
            _ => Ok(()),
        }
    }

    async fn answered<T>(&self, result: Result<T, KafkaError>) -> Result<T, BrokerError> {
        match result {
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::debug!(error = %error, "kafka admin request failed");
                let failure = why_unreachable(&self.client).await;
                Err(BrokerError::Unreachable { servers: self.servers.clone(), failure })
            }
        }
    }
}

fn refused(action: &'static str, topic: &str, code: Code) -> BrokerError {
    BrokerError::Refused { action, topic: topic.to_owned(), code }
}

fn options(intent: Intent) -> AdminOptions {
    let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT));
    if intent == Intent::Validate { options.validate_only(true) } else { options }
}
