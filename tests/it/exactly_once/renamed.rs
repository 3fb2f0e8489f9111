//! A relay whose name has changed.

use crate::harness::{Harness, Relay, config};
use crate::lifecycle::{SCHEMA, emit, prepare, published};

fn exact(harness: &Harness, keys: &str) -> String {
    config(harness, keys).replace("[kafka]\n", "[kafka]\ndelivery = \"exactly-once\"\n")
}

/// The default name was "walpost", and is now the database's: a position under the old name is not silently ignored.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_relay_whose_default_name_changed_names_the_one_with_its_position() {
    let harness = Harness::new("exact renamed").await;
    prepare(&harness).await;
    let before = exact(&harness, "name = \"walpost\"\n");
    let mut relay = Relay::start_with(&before);
    relay.ready().await;
    harness.execute(&emit("w0-0", 0, 10)).await;
    published(&mut relay, 10).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());

    let mut unnamed = Relay::start_with(&exact(&harness, ""));
    assert_eq!(unnamed.exit().await.code(), Some(69), "{}", unnamed.log());
    let (log, slot) = (unnamed.log(), harness.name());
    let key = format!("no record with key {slot}/{slot}");
    assert!(log.contains(&key), "{log}");
    assert!(log.replace('\\', "").contains("set name = \"walpost\" under [relay]"), "{log}");
    assert!(log.contains(&format!("the position is under walpost/{slot}")), "{log}");

    let mut relay = Relay::start_with(&before);
    relay.ready().await;
    harness.execute(&emit("w0-0", 10, 20)).await;
    assert_eq!(harness.consume(&harness.topic(SCHEMA), 20).await.len(), 20);
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
