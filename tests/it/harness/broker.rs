//! Topic administration without the relay.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Harness;

const LIMIT: Duration = Duration::from_secs(30);

impl Harness {
    /// Creates a topic with these settings.
    pub(crate) async fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.create_replicated_topic(topic, partitions, 1, settings).await;
    }

    /// Creates a topic with this many replicas, at most as many as there are brokers.
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

    /// Limits the producers with this client id to this many bytes a second.
    pub(crate) async fn throttle(&self, client_id: &str, bytes_per_second: u32) {
        // AlterClientQuotas, version 0, for which librdkafka has no call: one entry with one entity and one quota.
        let text = |text: &str| [&u16::try_from(text.len()).expect("short").to_be_bytes(), text.as_bytes()].concat();
        let one = 1_u32.to_be_bytes();
        let (api, version, correlation) = (49_u16.to_be_bytes(), 0_u16.to_be_bytes(), one);
        let header = [&api[..], &version, &correlation, &text("walpost-tests")].concat();
        let entity = [&one[..], &text("client-id"), &text(client_id)].concat();
        let rate = f64::from(bytes_per_second).to_be_bytes();
        let quota = [&one[..], &text("producer_byte_rate"), &rate, &[0]].concat();
        let request = [&header[..], &one, &entity, &quota, &[0]].concat();
        let mut socket = TcpStream::connect(self.kafka()).await.expect("kafka is there");
        socket.write_u32(u32::try_from(request.len()).expect("short")).await.expect("kafka reads");
        socket.write_all(&request).await.expect("kafka reads");
        let mut answer = vec![0; socket.read_u32().await.expect("kafka answers") as usize];
        socket.read_exact(&mut answer).await.expect("kafka answers");
        // Correlation, throttle time, number of entries, error code.
        assert_eq!(answer.get(12..14), Some(&[0, 0][..]), "{}", String::from_utf8_lossy(&answer));
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
