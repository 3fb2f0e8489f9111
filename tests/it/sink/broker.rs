//! Behaviour that only a real Kafka has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use walpost::relay::boundary::{NamedBy, OwnedRecord, Refusal, RefusalCode, Topic, TopicSettings, WantedTopic};
use walpost::sink::{Connection, KafkaSink, TopicRules, Topics, Traffic, partition_of};

use crate::harness::Harness;

use super::{PATIENCE, feed, numbered, options, read, record, sink, values, values_of};

/// A Kafka, and walpost's rules for it.
struct Kafka {
    harness: Harness,
    rules: TopicRules,
    connection: Arc<Connection>,
}

impl Kafka {
    async fn new(test: &str) -> Self {
        Self { harness: Harness::new(test).await, rules: TopicRules::default(), connection: Arc::default() }
    }

    fn servers(&self) -> &str {
        self.harness.kafka()
    }

    /// The name of a topic that does not exist yet.
    fn name(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        self.harness.topic(&format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn sink(&self) -> KafkaSink {
        KafkaSink::new(options(self.servers(), &[]), self.rules.clone(), Arc::clone(&self.connection))
            .expect("a producer")
    }

    async fn ensure(&self, name: &str, settings: &TopicSettings, create: bool) -> Result<Topic, Refusal> {
        let options = options(self.servers(), &[]);
        let topics = Topics::new(&options, self.rules.clone(), Arc::clone(&self.connection)).expect("an admin client");
        topics.ensure(name, settings, create).await.expect("kafka answers")
    }

    /// Creates a topic with one partition and these settings.
    async fn topic(&self, config: &[(&str, &str)]) -> String {
        let name = self.name();
        self.ensure(&name, &settings(1, config), true).await.expect("the topic is created");
        name
    }

    async fn delete(&self, name: &str) {
        let admin: AdminClient<DefaultClientContext> =
            rdkafka::ClientConfig::new().set("bootstrap.servers", self.servers()).create().expect("an admin client");
        let results = admin.delete_topics(&[name], &AdminOptions::new()).await.expect("kafka answers");
        results[0].as_ref().expect("the topic is deleted");
    }
}

fn settings(partitions: i32, config: &[(&str, &str)]) -> TopicSettings {
    let config: BTreeMap<_, _> = config.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TopicSettings { partitions: Some(partitions), replication_factor: None, config }
}

#[tokio::test]
async fn case_09_a_key_goes_to_the_partition_that_the_java_client_picks() {
    let kafka = Kafka::new("case_09_a_key_goes_to_the_partition_that").await;
    let topic = kafka.name();
    kafka.ensure(&topic, &settings(7, &[]), true).await.expect("the topic is created");
    let keys = ["", "21", "foobar", "a-little-bit-long-string", "ä€𝄞", "order-17", "order-18", "\0\0\0", "x"];
    let run = feed(&mut kafka.sink(), keys.iter().map(|key| record(&topic, key, "v")).collect()).await;
    assert_eq!(run.acked, keys.len());
    let found = read(kafka.servers(), &topic);
    assert_eq!(found.len(), keys.len());
    for (partition, record) in found {
        let key = record.key.expect("every record has a key");
        assert_eq!(u32::try_from(partition), Ok(partition_of(&key, 7)), "{key:?}");
    }
}

#[tokio::test]
async fn case_02_null_empty_and_arbitrary_bytes_arrive_unchanged() {
    let kafka = Kafka::new("case_02_null_and_empty_and_any_bytes_arri").await;
    let topic = kafka.topic(&[("max.message.bytes", "2000000")]).await;
    let base = || record(&topic, "k", "v");
    let records = vec![
        OwnedRecord { key: None, ..base() },
        OwnedRecord { key: Some(Vec::new()), ..base() },
        OwnedRecord { value: None, ..base() },
        OwnedRecord { value: Some(Vec::new()), ..base() },
        OwnedRecord { value: Some(vec![0, 255, 0, 128]), headers: Vec::new(), ..base() },
        OwnedRecord { value: Some(vec![7; 1_000_000]), ..base() },
        OwnedRecord {
            headers: vec![
                ("null".to_owned(), None),
                ("empty".to_owned(), Some(Vec::new())),
                ("twice".to_owned(), Some(b"1".to_vec())),
                ("twice".to_owned(), Some(vec![0, 1])),
                ("ä".to_owned(), Some("€".as_bytes().to_vec())),
            ],
            timestamp_millis: 1,
            ..base()
        },
    ];
    let mut sink = kafka.sink();
    assert_eq!(feed(&mut sink, records.clone()).await.acked, records.len());
    let found: Vec<_> = read(kafka.servers(), &topic).into_iter().map(|(_, record)| record).collect();
    assert_eq!(found, records);
    assert!(kafka.connection.is_up());
}

#[tokio::test]
async fn case_26_a_topic_with_a_small_limit_refuses_no_innocent_record() {
    let kafka = Kafka::new("case_26_a_topic_with_a_small_limit_refus").await;
    let topic = kafka.topic(&[("max.message.bytes", "20000"), ("compression.type", "producer")]).await;
    assert_eq!(kafka.rules.batch_bytes(), 20_000);
    let mut records: Vec<_> = (0..2_000_u32).map(|number| record(&topic, "key", noise(number, 1_000))).collect();
    records.insert(1_000, record(&topic, "key", noise(9, 30_000)));
    let run = feed(&mut kafka.sink(), records.clone()).await;
    assert_eq!(run.acked, 2_000);
    let [(refused, refusal)] = run.refused.as_slice() else { panic!("{} refused", run.refused.len()) };
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(*refused == records.remove(1_000), "another record was refused");
    assert_same(&kafka, &topic, &records);
}

#[tokio::test]
async fn case_26_an_unknown_limit_refuses_no_innocent_record_either() {
    let kafka = Kafka::new("case_26_a_limit_that_nobody_told_of_refu").await;
    let topic = kafka.topic(&[("max.message.bytes", "20000")]).await;
    let records: Vec<_> = (0..300_u32).map(|number| record(&topic, "key", noise(number, 1_000))).collect();
    let run = feed(&mut sink(kafka.servers(), &[], &TopicRules::default()), records.clone()).await;
    assert_eq!((run.acked, run.refused.len()), (300, 0));
    assert!(run.returned > 0, "no batch was too large");
    assert_same(&kafka, &topic, &records);
}

#[tokio::test]
async fn case_26_only_the_record_that_the_broker_names_as_invalid_is_refused() {
    let kafka = Kafka::new("case_26_a_record_that_the_broker_names_a").await;
    let topic = kafka.topic(&[("cleanup.policy", "compact")]).await;
    // Many batches are in flight when one is refused: none may overtake what is returned.
    let mut sink = sink(kafka.servers(), &[("batch.num.messages", "10")], &TopicRules::default());
    let mut records = numbered(&topic, 200, 10);
    records[50].key = None;
    records[120].key = None;
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!(run.acked, 198);
    let refused: Vec<_> = run.refused.iter().map(|(record, refusal)| (record.clone(), refusal.code)).collect();
    let code = RefusalCode::ContractViolation;
    assert_eq!(refused, [(records[50].clone(), code), (records[120].clone(), code)]);
    records.retain(|record| record.key.is_some());
    assert_same(&kafka, &topic, &records);
}

#[tokio::test]
async fn case_26_a_record_without_key_for_a_compacted_topic_is_refused_before_it_is_sent() {
    let kafka = Kafka::new("case_26_a_record_without_key_for_a_compa").await;
    let topic = kafka.topic(&[("cleanup.policy", "compact,delete")]).await;
    let mut records = numbered(&topic, 100, 10);
    records[0].key = None;
    let run = feed(&mut kafka.sink(), records.clone()).await;
    assert_eq!((run.acked, run.returned), (99, 0));
    let [(refused, refusal)] = run.refused.as_slice() else { panic!("{:?}", run.refused) };
    assert_eq!((refused, refusal.code), (&records[0], RefusalCode::ContractViolation));
    assert_eq!(values(kafka.servers(), &topic), values_of(&records[1..]));
}

#[tokio::test]
async fn case_18_a_deleted_and_recreated_topic_gets_the_remaining_records_in_order() {
    let kafka = Kafka::new("topic_made_again").await;
    // The client waits for the topic that it still believes in, or returns the records at once.
    for patience in ["30000", "0"] {
        let topic = kafka.topic(&[]).await;
        let properties = [("topic.metadata.propagation.max.ms", patience)];
        let mut sink = sink(kafka.servers(), &properties, &kafka.rules);
        feed(&mut sink, numbered(&topic, 100, 10)).await;
        kafka.delete(&topic).await;
        let records: Vec<_> = numbered(&topic, 2_100, 10).split_off(100);
        let again = async {
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            kafka.ensure(&topic, &settings(1, &[]), true).await.expect("the topic is created again");
        };
        let (run, ()) = tokio::join!(feed(&mut sink, records.clone()), again);
        assert_eq!((run.acked, run.refused.len()), (2_000, 0));
        assert_eq!(run.returned > 0, patience == "0", "{} returned", run.returned);
        assert_same(&kafka, &topic, &records);
    }
}

#[tokio::test]
async fn topics_are_created_with_their_settings_or_refused() {
    let kafka = Kafka::new("topics_are_created_with_their_settings_o").await;
    let name = kafka.name();
    let refusal = kafka.ensure(&name, &settings(3, &[]), false).await.expect_err("it may not be created");
    assert_eq!(refusal.code, RefusalCode::UnknownTopic);
    let wanted = settings(3, &[("max.message.bytes", "54321")]);
    for create in [true, false, true] {
        let topic = kafka.ensure(&name, &wanted, create).await.expect("the topic is there");
        assert_eq!(topic.max_message_bytes, 54_321);
    }
    let bad = [("no such name", settings(1, &[])), (kafka.name().as_str(), settings(1, &[("cleanup.policy", "burn")]))]
        .map(|(name, settings)| (name.to_owned(), settings));
    for (name, settings) in bad {
        let refusal = kafka.ensure(&name, &settings, true).await.expect_err("it can't be created");
        assert_eq!(refusal.code, RefusalCode::UnknownTopic, "{refusal:?}");
    }
}

#[tokio::test]
async fn a_topic_looked_up_along_with_another_is_used_once() {
    let kafka = Kafka::new("a_topic_is_looked_up_along_with_another").await;
    let [first, second] = [kafka.topic(&[]).await, kafka.topic(&[("max.message.bytes", "54321")]).await];
    let topics = Topics::new(&options(kafka.servers(), &[]), TopicRules::default(), Arc::clone(&kafka.connection));
    let topics = topics.expect("an admin client");
    let wanted = |name: &str| {
        let (name, settings) = (name.into(), TopicSettings::default());
        WantedTopic { name, settings, named_by: NamedBy::Owner }
    };
    let missing = wanted(&kafka.name());
    topics
        .ensure_among(&wanted(&first), false, &[wanted(&second), missing.clone()])
        .await
        .expect("kafka answers")
        .expect("the topic is there");
    // Kafka is not asked again.
    kafka.delete(&second).await;
    let answer = topics.ensure_among(&wanted(&second), false, &[]).await.expect("nobody has to answer");
    assert_eq!(answer.expect("it was there").max_message_bytes, 54_321);
    assert_eq!(topics.facts(&second).map(|facts| facts.partitions), Some(1));
    for gone in [wanted(&second), missing] {
        let answer = topics.ensure_among(&gone, false, &[]).await.expect("kafka answers");
        assert_eq!(answer.expect_err("there is none").code, RefusalCode::UnknownTopic);
    }
}

#[tokio::test]
async fn a_second_batch_does_not_overtake_a_refused_first_one() {
    // A broker that does not know a producer accepts any first sequence number, so a second batch could overtake.
    let kafka = Kafka::new("a_refused_first_batch_is_not_passed_by_t").await;
    let topic = kafka.topic(&[("cleanup.policy", "compact")]).await;
    let mut sink = sink(kafka.servers(), &[("batch.num.messages", "2")], &TopicRules::default());
    let mut records = numbered(&topic, 100, 10);
    records[0].key = None;
    let run = feed(&mut sink, records.clone()).await;
    assert_eq!((run.acked, run.refused.len()), (99, 1));
    assert_same(&kafka, &topic, &records[1..]);
}

/// Asserts that the topic has exactly these records, in this order.
fn assert_same(kafka: &Kafka, topic: &str, records: &[OwnedRecord]) {
    let found = read(kafka.servers(), topic);
    let places: Vec<_> = found.iter().map(|(_, found)| records.iter().position(|record| record == found)).collect();
    let expected: Vec<_> = (0..records.len()).map(Some).collect();
    assert_eq!(places, expected);
}

/// Incompressible bytes, prefixed with their number.
fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(byte).take(bytes).collect()
}

/// A broker's time goes by requests, so this is what speed over many partitions depends on.
#[tokio::test]
async fn a_backlog_over_many_partitions_goes_in_few_requests() {
    const PARTITIONS: u64 = 100;
    const RECORDS: u64 = 30_000;
    let kafka = Kafka::new("a_backlog_over_many_partitions_goes_in_fe").await;
    let topic = kafka.name();
    kafka.ensure(&topic, &settings(100, &[]), true).await.expect("the topic is created");
    let options = options(kafka.servers(), &[]);
    let mut sink = KafkaSink::new(options, kafka.rules.clone(), Arc::clone(&kafka.connection)).expect("a producer");
    let records = (0..RECORDS).map(|number| record(&topic, &format!("key-{number}"), "v")).collect();
    let run = feed(&mut sink, records).await;
    assert_eq!(run.acked as u64, RECORDS);
    let is_counted = async {
        while kafka.connection.traffic().records < RECORDS {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, is_counted).await.expect("the statistics count every record");
    // The first record of each partition goes alone.
    let Traffic { requests, .. } = kafka.connection.traffic();
    let records_a_request = RECORDS / (requests - PARTITIONS).max(1);
    assert!(records_a_request >= 20, "{requests} requests for {RECORDS} records");
}
