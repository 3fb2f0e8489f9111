//! Topics of very many partitions, of ever more, and with one that can't be written to.

use std::collections::BTreeMap;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::mocking::MockCluster;
use walpost::relay::boundary::{Ticket, TopicSettings};
use walpost::sink::{Deliveries, Sink as _, TopicRules, Topics, partition_of};

use super::{PATIENCE, feed, offer, options, read, record, rules, sink};
use crate::harness::Harness;

const TOPIC: &str = "t";

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_may_have_ten_thousand_partitions() {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    cluster.create_topic(TOPIC, 10_000, 1).expect("create a topic");
    let mut sink = sink(&cluster.bootstrap_servers(), &[], &rules(TOPIC, 10_000));
    let records: Vec<_> = (0..10_000).map(|number| record(TOPIC, &format!("key-{number}"), "v")).collect();
    let run = feed(&mut sink, [records.clone(), records].concat()).await;
    assert_eq!((run.acked, run.returned), (20_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_partitions_continue_while_one_has_no_leader() {
    let cluster = MockCluster::new(1).expect("start a mock cluster");
    cluster.create_topic(TOPIC, 20, 1).expect("create a topic");
    cluster.partition_leader(TOPIC, 0, None).expect("depose the leader");
    let mut sink =
        sink(&cluster.bootstrap_servers(), &[("topic.metadata.refresh.fast.interval.ms", "50")], &rules(TOPIC, 20));
    let records: Vec<_> = (0..2_000).map(|number| record(TOPIC, &format!("key-{}", number % 100), "v")).collect();
    let is_of_first = |key: &Option<Vec<u8>>| partition_of(key.as_deref().unwrap_or_default(), 20) == 0;
    let of_first = records.iter().filter(|record| is_of_first(&record.key)).count();
    assert!((1..1_000).contains(&of_first));
    for (number, record) in (0..).zip(&records) {
        offer(&mut sink, Ticket(number), record).expect("it is taken");
    }
    let mut deliveries = Deliveries::default();
    for left in [of_first, 0] {
        let answered = async {
            while sink.outstanding() > left {
                sink.deliveries(&mut deliveries).await.expect("the sink continues");
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("the others are answered");
        assert_eq!(sink.outstanding(), left);
        cluster.partition_leader(TOPIC, 0, Some(1)).expect("elect a leader");
    }
    assert_eq!((deliveries.acked.len(), deliveries.failed.len()), (2_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_gets_more_partitions_while_records_are_sent() {
    let harness = Harness::new("a_topic_gets_more_partitions_while_sent").await;
    let (topic, rules) = (harness.topic("grows"), TopicRules::default());
    let options = options(harness.kafka(), &[]);
    let topics = Topics::new(&options, rules.clone(), std::sync::Arc::default()).expect("an admin client");
    let settings = TopicSettings { partitions: Some(2), ..TopicSettings::default() };
    topics.ensure(&topic, &settings, true).await.expect("kafka answers").expect("the topic is created");
    let mut sink = sink(harness.kafka(), &[("topic.metadata.refresh.interval.ms", "200")], &rules);
    let of = |range: std::ops::Range<u32>| -> Vec<_> {
        range.map(|number| record(&topic, &format!("key-{}", number % 50), format!("{number:06}"))).collect()
    };
    assert_eq!(feed(&mut sink, of(0..1_000)).await.acked, 1_000);
    let admin: AdminClient<DefaultClientContext> =
        rdkafka::ClientConfig::new().set("bootstrap.servers", harness.kafka()).create().expect("an admin client");
    let more = NewPartitions::new(&topic, 9);
    let grown = admin.create_partitions(&[more], &AdminOptions::new()).await.expect("kafka answers");
    grown[0].as_ref().expect("the topic has more partitions");
    let (mut sent, mut partitions) = (1_000, 0);
    // Until the client has noticed it.
    while partitions < 9 {
        let run = feed(&mut sink, of(sent..sent + 1_000)).await;
        assert_eq!((run.acked, run.returned), (1_000, 0));
        sent += 1_000;
        let mut found: BTreeMap<i32, Vec<Vec<u8>>> = BTreeMap::new();
        for (partition, record) in read(harness.kafka(), &topic) {
            found.entry(partition).or_default().push(record.value.expect("a value"));
        }
        assert!(found.values().all(|values| values.is_sorted()), "the order within a partition");
        assert_eq!(found.values().map(Vec::len).sum::<usize>(), sent as usize);
        partitions = found.len();
    }
}
