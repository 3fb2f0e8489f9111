//! What tests do to topics behind the relay's back.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;

use super::Harness;

const LIMIT: Duration = Duration::from_secs(30);

impl Harness {
    /// Creates a topic with these settings.
    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.create_replicated_topic(topic, partitions, 1, settings).await;
    }

    /// Creates a topic with so many replicas, which is no more than there are brokers.
    pub(crate) async fn create_replicated_topic(
        &self,
        topic: &str,
        partitions: i32,
        replicas: i32,
        settings: &[(&str, &str)],
    ) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let outcome = self.admin().create_topics(&[new], &options()).await.expect("kafka answers");
        outcome[0].as_ref().expect("the topic is created");
    }

    /// Deletes a topic.
    pub(crate) async fn delete_topic(&self, topic: &str) {
        let outcome = self.admin().delete_topics(&[topic], &options()).await.expect("kafka answers");
        outcome[0].as_ref().expect("the topic is deleted");
    }

    /// How many records a topic's partitions hold.
    pub(crate) async fn count_records(&self, topic: &str) -> u64 {
        let (admin, topic) = (self.admin(), topic.to_owned());
        let counting = tokio::task::spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(Some(&topic), LIMIT).expect("kafka answers");
            let count = |partition: i32| {
                let (low, high) = admin.inner().fetch_watermarks(&topic, partition, LIMIT).expect("kafka answers");
                u64::try_from(high - low).expect("the end is not before the beginning")
            };
            metadata.topics()[0].partitions().iter().map(|partition| count(partition.id())).sum()
        });
        counting.await.expect("counting does not panic")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", self.kafka()).create().expect("a Kafka client")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
}
