//! Removes topics from a user's server.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::error::RDKafkaErrorCode;

use super::LeftBehind;
use super::servers::{KafkaServer, Silent};
use crate::fault::chain;

/// How long Kafka may take to delete topics.
const LIMIT: Duration = Duration::from_secs(10);

/// Deletes those of the topics that exist; returns those that could not be deleted.
pub(crate) async fn delete_topics(kafka: &KafkaServer, names: &[&str]) -> Vec<LeftBehind> {
    let left = |name: &str, why: String| LeftBehind { what: format!("topic {name}"), why };
    let options = AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT));
    let client: AdminClient<Silent> = match kafka.client(&kafka.client_config()) {
        Ok(client) => client,
        Err(error) => return names.iter().map(|name| left(name, chain(&error))).collect(),
    };
    match client.delete_topics(names, &options).await {
        Err(error) => names.iter().map(|name| left(name, error.to_string())).collect(),
        Ok(results) => {
            let failed = results.into_iter().filter_map(Result::err);
            let failed = failed.filter(|(_, code)| *code != RDKafkaErrorCode::UnknownTopicOrPartition);
            failed.map(|(name, code)| left(&name, code.to_string())).collect()
        }
    }
}
