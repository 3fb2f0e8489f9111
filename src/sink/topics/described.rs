//! What Kafka says of a topic's configuration.

use std::sync::atomic::Ordering;

use rdkafka::admin::{ConfigResource, ConfigResourceResult};
use rdkafka::types::RDKafkaErrorCode as Code;

use super::Topics;
use crate::sink::client::options::TopicFacts;

/// The part of a configuration that concerns the relay.
pub(super) struct Described {
    pub(super) max_message_bytes: usize,
    /// `None` if Kafka does not say.
    pub(super) is_compacted: Option<bool>,
}

impl Described {
    pub(super) const fn facts(&self, partitions: u32) -> TopicFacts {
        let Self { max_message_bytes, is_compacted } = *self;
        TopicFacts { max_message_bytes, is_compacted, partitions }
    }

    /// `None` if the configuration is not what is expected.
    fn of(configuration: &ConfigResource) -> Option<Self> {
        let value = |key| configuration.get(key).and_then(|entry| entry.value.as_deref());
        let max_message_bytes = value("max.message.bytes")?.parse().ok()?;
        let policies = value("cleanup.policy").unwrap_or_default();
        let is_compacted = Some(policies.split(',').any(|policy| policy.trim() == "compact"));
        Some(Self { max_message_bytes, is_compacted })
    }
}

impl Topics {
    /// What an answer to DescribeConfigs says of the topic. Without the right to ask, whatever the client may send counts as
    /// accepted.
    pub(super) fn described(&self, name: &str, answer: ConfigResourceResult) -> Result<Described, Code> {
        match answer {
            Ok(configuration) => Described::of(&configuration).ok_or(Code::Unknown),
            Err(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        topic = name,
                        fallback_bytes = self.fallback_bytes,
                        "not authorized to read max.message.bytes of topics: grant DescribeConfigs"
                    );
                }
                Ok(Described { max_message_bytes: self.fallback_bytes, is_compacted: None })
            }
            Err(code) => Err(code),
        }
    }
}
