//! Discarded dead letters, and dead letters of other relays.

use super::{Commands, NAMED, counts, produce, refuse, refused};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_29_a_discarded_dead_letter_has_a_reason_and_is_redriven_only_on_request() {
    let harness = Harness::migrated("discard").await;
    let (commands, topic, dead_letters) =
        (Commands::new(&harness), harness.topic("order.lost"), harness.topic("dead-letter"));
    let mut relay = refuse(&harness, "order.lost", 3).await;
    assert_eq!(
        harness.topic_property(&dead_letters, "retention.ms").await.as_deref(),
        Some("-1"),
        "dead letters never expire"
    );

    for without in [&["discard", "--all"][..], &["discard", "--reason", "x"], &["discard", "--all", "--reason", " "]] {
        assert_eq!(commands.run(without).code(), Some(2), "{without:?}");
    }
    let of = |arguments: &[&str]| {
        let ended = commands.run(&[&["discard", "--json", "--reason", "test data"], arguments].concat());
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        let report = ended.report();
        ["discarded", "redriven_before", "discarded_before"].map(|key| report[key].as_u64().expect("a count"))
    };
    assert_eq!(of(&["--all", "--dry-run"]), [3, 0, 0]);
    let listed = commands.list(&[]);
    assert_eq!((&listed["discarded"], &listed["open"]["unknown_schema"]), (&0.into(), &3.into()), "{listed}");
    let first = listed["letters"][0]["letter"].as_str().expect("an id").to_owned();
    assert_eq!(of(&[&first]), [1, 0, 0]);
    assert_eq!(of(&["--code", "unknown_schema", "--contract", "order.lost", "--until", "1h"]), [0, 0, 0]);
    let listed = commands.list(&["--state", "discarded"]);
    assert_eq!((&listed["matching"], &listed["letters"][0]["reason"]), (&1.into(), &"test data".into()), "{listed}");
    assert_eq!(commands.list(&["--state", "open"])["matching"], 2);
    let shown = commands.run(&["show", &first]);
    assert!(shown.stdout.contains("(discarded)") && shown.stdout.contains(": test data\n"), "{shown:?}");

    harness.register("order.lost").await;
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [2, 0, 0]), "{ended:?}");
    assert_eq!(ended.report()["discarded_before"], 1, "{ended:?}");
    assert_eq!(counts(&commands.redrive(&[&first])), [0, 0, 0], "an id alone does not include discarded ones");
    assert_eq!(of(&["--all"]), [0, 2, 1], "a redriven dead letter is not discarded, nor is one discarded twice");
    let ended = commands.redrive(&["--all", "--discarded"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [1, 0, 2]), "{ended:?}");
    assert_eq!(harness.consume(&topic, 3).await.len(), 3);
    assert_eq!(commands.list(&["--state", "redriven"])["matching"], 3);
    let missing = commands.run(&["discard", "0/77", "--reason", "x"]);
    assert!(missing.code() == Some(1) && missing.stderr.contains("no dead letter 0/77"), "{missing:?}");
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// Like two databases that share a Kafka and therefore a dead-letter topic: each has its own contracts.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_dead_letters_of_another_relay_are_skipped_and_counted() {
    let harness = Harness::migrated("letters_of_others").await;
    let (commands, topic, dead_letters) =
        (Commands::new(&harness), harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.register("order.placed").await;
    harness.create_topic(&dead_letters, 1, &[]).await;
    let of = |relay: &'static str, id: &'static str| {
        let headers = refused("order.placed", id, "unknown_topic", &topic).into_iter();
        headers
            .map(move |(name, value)| (name, if name == "outbox-relay" { relay.as_bytes() } else { value }))
            .collect::<Vec<_>>()
    };
    for (relay, id) in [("walpost", "1"), ("billing", "2"), ("billing", "3"), ("stock\u{1b}", "4")] {
        produce(&harness, &dead_letters, Some("{}"), &of(relay, id));
    }
    let listed = commands.list(&[]);
    assert_eq!((&listed["matching"], &listed["of_other_relays"]), (&1.into(), &3.into()), "{listed}");
    assert_eq!(listed["other_relays"]["billing"], 2, "{listed}");
    let text = commands.run(&["list"]).stdout;
    assert!(text.contains("skipped 3 of other relays (billing: 2, stock\\u{1b}: 1); --relay NAME"), "{text}");

    for command in [&["redrive", "0/1"][..], &["show", "0/1"], &["discard", "0/1", "--reason", "x"]] {
        let ended = commands.run(command);
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        assert!(ended.stderr.contains("0/1 in topic") && ended.stderr.contains("another relay (billing)"), "{ended:?}");
    }
    let ended = commands.redrive(&["--all"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [1, 0, 0]), "{ended:?}");
    assert_eq!(ended.report()["of_other_relays"], 3, "{ended:?}");
    assert_eq!(harness.consume(&topic, 1).await[0].header("id"), Some("1"));
    let ended = commands.redrive(&["--all", "--relay", "billing"]);
    assert_eq!((ended.code(), counts(&ended)), (Some(0), [2, 0, 0]), "{ended:?}");
    let records = harness.consume(&topic, 3).await;
    assert_eq!(records.iter().filter_map(|record| record.header("id")).collect::<Vec<_>>(), ["1", "2", "3"]);
}

/// Without configured relay names, neither of two databases processes the other's dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_the_default_relay_name_is_the_databases() {
    let harness = Harness::migrated("unnamed").await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.execute(&super::insert("order.lost", 1)).await;
    let dead_letter = &harness.consume(&harness.topic("dead-letter"), 1).await[0];
    assert_eq!(dead_letter.header("outbox-relay"), Some(harness.name()));
    assert_eq!(relay.status().await["relay"], harness.name());
    assert_eq!(Commands::new(&harness).list(&[])["matching"], 0, "{NAMED} is another relay");
    assert_eq!(relay.terminate().await.code(), Some(0));
}
