//! Redriving after a schema is registered: from the dead letter to the topic, once.

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};

use super::{Commands, counts, refuse, remaining};
use crate::harness::{Harness, Received, Relay};
use crate::refusals::admin;

fn names(record: &Received) -> Vec<&str> {
    record.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_a_dead_letter_is_redriven_once_when_its_schema_is_registered() {
    let harness = Harness::migrated("redrive").await;
    let (commands, topic) = (Commands::new(&harness), harness.topic("order.lost"));
    let mut relay = refuse(&harness, "order.lost", 3).await;
    let listed = commands.list(&[]);
    assert_eq!(listed["open"]["unknown_schema"], 3, "{listed}");
    assert_eq!(listed["letters"][0]["contract"], "order.lost/1", "{listed}");

    // Nothing is fixed yet.
    for arguments in [&["--all"][..], &["--all", "--dry-run"]] {
        let ended = commands.redrive(arguments);
        assert_eq!((ended.code(), counts(&ended)), (Some(65), [0, 3, 0]), "{ended:?}");
        assert!(remaining(&ended).iter().all(|(_, code)| code == "unknown_schema"), "{ended:?}");
        assert!(ended.stderr.contains("3 dead letters in topic"), "{ended:?}");
    }

    harness.register("order.lost").await;
    let dry = commands.redrive(&["--all", "--dry-run"]);
    assert_eq!((dry.code(), counts(&dry)), (Some(0), [3, 0, 0]), "{dry:?}");
    assert_eq!(harness.partitions(&topic), 0, "a dry run creates no topic");
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [3, 0, 0]), "{ended:?}");
    assert_eq!(ended.report()["redriven_letters"][0]["schema_version"], "order.lost/1");

    // A directly published event for comparison.
    harness.register("order.known").await;
    harness.execute("select outbox.emit('order.known', 'k1', '4', headers => '{\"traceparent\": \"00-1\"}')").await;
    let straight = &harness.consume(&harness.topic("order.known"), 1).await[0];
    let records = harness.consume(&topic, 3).await;
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 3).await;
    for dead_letter in &dead_letters {
        let redriven = records.iter().find(|record| record.header("ce_id") == dead_letter.header("ce_id"));
        let redriven = redriven.unwrap_or_else(|| panic!("{dead_letter:?} is not in {records:?}"));
        assert_eq!((&redriven.key, &redriven.value), (&dead_letter.key, &dead_letter.value));
        assert_eq!(redriven.timestamp_ms, dead_letter.timestamp_ms);
        for header in ["outbox-position", "ce_time", "ce_source", "outbox-relay", "traceparent", "ce_type"] {
            assert_eq!(redriven.header(header), dead_letter.header(header), "{header}");
        }
        assert_eq!(names(redriven), [&names(straight)[..], &["outbox-redriven"]].concat());
        assert_eq!(redriven.header("ce_dataschema"), Some("urn:walpost:schema:order.lost/1"));
        let mark = redriven.header("outbox-redriven").expect("it is marked");
        assert!(mark.starts_with(&format!("{}/{} 2", dead_letter.partition, dead_letter.offset)), "{mark}");
    }

    let again = commands.redrive(&["--all"]);
    assert_eq!((again.code(), counts(&again)), (Some(0), [0, 0, 3]), "{again:?}");
    let one = commands.redrive(&["0/0"]);
    assert_eq!((one.code(), counts(&one)), (Some(0), [0, 0, 1]), "{one:?}");
    assert_eq!(harness.consume(&topic, 3).await.len(), 3);
    let listed = commands.list(&["--state", "redriven"]);
    assert_eq!((&listed["matching"], &listed["redriven"]), (&3.into(), &3.into()), "{listed}");
    assert_eq!(commands.list(&["--state", "open"])["matching"], 0);
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The offsets of a recreated topic start over, and old marks must not apply to other dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_a_recreated_topic_are_new() {
    let harness = Harness::migrated("redrive_again").await;
    let (commands, dead_letters) = (Commands::new(&harness), harness.topic("dead-letter"));
    for round in 1..=2 {
        let schema = format!("order.lost{round}");
        drop(refuse(&harness, &schema, 2).await);
        harness.register(&schema).await;
        let ended = commands.redrive(&["--all"]);
        assert_eq!((ended.code(), counts(&ended)), (Some(0), [2, 0, 0]), "{ended:?}");
        assert_eq!(harness.consume(&harness.topic(&schema), 2).await.len(), 2);
        if round == 1 {
            harness.delete_topic(&dead_letters).await;
        }
    }
}

/// A mark is kept as long as its dead letter.
#[tokio::test(flavor = "multi_thread")]
async fn marks_of_expired_dead_letters_are_deleted() {
    let harness = Harness::migrated("redrive_expired").await;
    let (commands, dead_letters) = (Commands::new(&harness), harness.topic("dead-letter"));
    drop(refuse(&harness, "order.lost", 3).await);
    harness.register("order.lost").await;
    assert_eq!(counts(&commands.redrive(&["--all"])), [3, 0, 0]);
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&dead_letters, 0, Offset::Offset(2)).expect("a valid offset");
    admin(&harness).delete_records(&before, &AdminOptions::new()).await.expect("kafka answers");
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [0, 0, 1]), "{ended:?}");
    let key = format!("{dead_letters}/0/");
    let ours = move |records: &[Received]| {
        records.iter().filter(|record| record.key_text().is_some_and(|found| found.starts_with(&key))).count()
    };
    let enough = ours.clone();
    let marks = harness
        .consume_until(&["walpost.redriven"], "three marks, two taken away", move |records| enough(records) >= 5)
        .await;
    assert_eq!(ours(&marks), 5);
    let gone = marks.iter().filter(|mark| mark.value.is_none()).filter_map(Received::key_text);
    let gone: Vec<_> = gone.filter_map(|found| found.strip_prefix(&dead_letters)).collect();
    assert_eq!(gone, ["/0/0", "/0/1"]);
}

/// The dead letters are written in transactions, like the records.
#[tokio::test(flavor = "multi_thread")]
async fn case_29_dead_letters_of_an_exactly_once_relay_are_redriven() {
    let harness = Harness::migrated("redrive_exact").await;
    let (commands, topic) = (Commands::new(&harness), harness.topic("order.lost"));
    let mut relay = Relay::start_with(&crate::exactly_once::exact(&harness, ""));
    relay.ready().await;
    harness.execute(&super::insert("order.lost", 3)).await;
    harness.consume(&harness.topic("dead-letter"), 3).await;
    harness.register("order.lost").await;
    for expected in [[3, 0, 0], [0, 0, 3]] {
        let ended = commands.redrive(&["--all", "--relay", "exact"]);
        assert_eq!((ended.code(), counts(&ended)), (Some(0), expected), "{ended:?}");
    }
    assert_eq!(harness.consume(&topic, 3).await.len(), 3);
    assert_eq!(relay.terminate().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_ids_are_reported_and_nothing_else_is_redriven() {
    let harness = Harness::migrated("redrive_nothing").await;
    let commands = Commands::new(&harness);
    let listed = commands.run(&["list"]);
    assert_eq!(listed.code(), Some(0), "without a dead-letter topic there are no dead letters: {listed:?}");
    assert!(listed.stdout.starts_with("no matching dead letters"), "{listed:?}");
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [0, 0, 0]), "{ended:?}");
    for arguments in [&["show", "0/7"][..], &["redrive", "0/7"]] {
        let ended = commands.run(arguments);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("no dead letter 0/7"), "{ended:?}");
    }
    for arguments in
        [&["redrive"][..], &["redrive", "--all", "--code", "no_topic"], &["redrive", "x"], &["list", "--code", "x"]]
    {
        let ended = commands.run(arguments);
        assert_eq!(ended.code(), Some(2), "{ended:?}");
    }
    let ended = commands.run(&["list", "--kafka", "127.0.0.1:1"]);
    assert_eq!(ended.code(), Some(69), "{ended:?}");
    assert!(ended.stderr.contains("did not answer"), "{ended:?}");
}
