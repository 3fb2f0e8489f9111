//! A replay next to a relay under load.

use std::time::Duration;

use walpost::random::Random;

use super::{Stage, assert_same, positions, split};
use crate::harness::{Load, Verdict};
use crate::lifecycle::SCHEMA;

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_next_to_a_loaded_relay_is_complete_and_disturbs_nothing() {
    let mut stage = Stage::new("replay_beside", "").await;
    stage.report("bookmark", &["create", "start"]);
    let load = Load::start(&stage.harness, SCHEMA, 3, Duration::from_millis(2), &mut Random::new(61));
    crate::lifecycle::published(&mut stage.relay, 1_000).await;
    let target = stage.harness.topic("again");
    stage.harness.create_topic(&target, 3, &[]).await;
    // The relay's slot is in use throughout.
    let report = stage.report("replay", &["--bookmark", "start", "--topic", &target]);
    load.stop().await;
    // A relay that is stopped leaves what it has not begun to the next one.
    Verdict::of(&stage.harness, SCHEMA).await.assert_exact();
    assert!(stage.relay.terminate().await.success());
    let events = report["events"].as_u64().expect("a count");
    assert!(events >= 1_000, "{report}");
    let (_, again) = split(stage.harness.consume(&target, usize::try_from(events).expect("few")).await);
    let again = again.into_values().next().expect("one replay");
    // Everything up to the end of the WAL at the replay's start, once each, in the original order.
    let (first, _) = split(stage.harness.consume(&stage.topic(), 1_000).await);
    let end = report["to_lsn"].as_str().expect("an end");
    let lsn = |text: &str| {
        let (high, low) = text.split_once('/').expect("an LSN");
        (u64::from_str_radix(high, 16).expect("digits") << 32) | u64::from_str_radix(low, 16).expect("digits")
    };
    let commit = |position: &str| lsn(position.rsplit_once('/').expect("a position").0);
    let expected: Vec<_> = first
        .into_iter()
        .filter(|record| commit(record.header("outbox-position").expect("a position")) <= lsn(end))
        .map(|mut record| {
            record.topic.clone_from(&target);
            record
        })
        .collect();
    assert_eq!(positions(&again), positions(&expected));
    assert_same(&expected, &again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_does_not_fence_an_exactly_once_relay() {
    let harness = crate::harness::Harness::new("replay_exact").await;
    let mut stage = Stage::on(harness, "").await;
    stage.relay.kill();
    let config = std::fs::read_to_string(stage.config_path()).expect("it was written");
    let config = config.replace("[kafka]\n", "[kafka]\ndelivery = \"exactly-once\"\n");
    std::fs::write(stage.config_path(), &config).expect("it can be written");
    stage.relay = crate::harness::Relay::start_with(&config);
    stage.relay.ready().await;
    stage.report("bookmark", &["create", "start"]);
    stage.harness.execute(&crate::lifecycle::emit("a", 0, 100)).await;
    stage.published(100).await;
    assert_eq!(stage.report("replay", &["--bookmark", "start", "--id", "r"])["events"], 100);
    stage.harness.execute(&crate::lifecycle::emit("a", 100, 200)).await;
    stage.published(200).await;
    let (first, replays) = stage.records(300).await;
    assert_eq!((first.len(), replays["r"].len()), (200, 100));
    assert!(stage.relay.terminate().await.success());
}
