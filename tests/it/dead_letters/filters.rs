//! Filters of listing and redriving.

use expect_test::expect;

use super::{Commands, counts, produce, refused};
use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_selected_by_contract_code_time_and_id() {
    let harness = Harness::migrated("redrive_filters").await;
    let (commands, dead_letters) = (Commands::new(&harness), harness.topic("dead-letter"));
    let topics = ["order.placed", "order.paid"].map(|schema| harness.topic(schema));
    for schema in ["order.placed", "order.paid"] {
        harness.register(schema).await;
    }
    harness.create_topic(&dead_letters, 1, &[]).await;
    for (id, schema, code, topic) in [
        ("1", "order.placed", "too_large", &topics[0]),
        ("2", "order.paid", "too_large", &topics[1]),
        ("3", "order.placed", "unknown_topic", &topics[0]),
        ("4", "order.paid", "unknown_topic", &topics[1]),
        ("5", "order.paid", "unknown_topic", &topics[1]),
    ] {
        produce(&harness, &dead_letters, Some("{}"), &refused(schema, id, code, topic));
    }
    let found = |arguments: &[&str]| {
        let listed = commands.list(arguments);
        let dead_letters = listed["letters"].as_array().expect("a list").iter();
        dead_letters.map(|dead_letter| dead_letter["letter"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found(&["--contract", "order.paid"]), ["0/1", "0/3", "0/4"]);
    assert_eq!(found(&["--contract", "order.paid/1", "--code", "too_large"]), ["0/1"]);
    assert_eq!(found(&["--contract", "order.paid/2"]), Vec::<String>::new());
    assert_eq!(found(&["--since", "1h"]).len(), 5);
    assert_eq!(found(&["--until", "1h"]).len(), 0);
    assert_eq!(found(&["--limit", "2"]), ["0/3", "0/4"]);
    let text = commands.run(&["list", "--limit", "2"]);
    assert!(
        text.stdout.contains("the newest 2 of 5") && text.stdout.contains("2 too_large, 3 unknown_topic"),
        "{text:?}"
    );

    let redriven = |arguments: &[&str]| counts(&commands.redrive(arguments));
    assert_eq!(redriven(&["--until", "1h"]), [0, 0, 0]);
    assert_eq!(redriven(&["--contract", "order.paid", "--code", "unknown_topic"]), [2, 0, 0]);
    assert_eq!(redriven(&["0/0", "0/3"]), [1, 0, 1]);
    assert_eq!(redriven(&["--code", "too_large"]), [1, 0, 1]);
    assert_eq!(redriven(&["--all"]), [1, 0, 4]);
    let ids = |records: &[crate::harness::Received]| {
        records.iter().map(|record| record.header("id").unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&harness.consume(&topics[0], 2).await), ["1", "3"]);
    assert_eq!(ids(&harness.consume(&topics[1], 3).await), ["4", "5", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_shown_in_full_as_text_or_hexadecimal() {
    let harness = Harness::migrated("dead_letter_show").await;
    let (commands, dead_letters) = (Commands::new(&harness), harness.topic("dead-letter"));
    harness.create_topic(&dead_letters, 1, &[]).await;
    let mut headers = refused("order.placed", "7", "no_topic", "");
    headers.push(("raw", &[0xFF, 0x00]));
    produce(&harness, &dead_letters, Some("{\n  \"a\": \"\u{1b}[2J\"\n}"), &headers);
    let shown = commands.run(&["show", "0/0"]);
    assert_eq!(shown.code(), Some(0), "{shown:?}");
    let lines: Vec<_> = shown.stdout.lines().filter(|line| !line.starts_with("time ")).collect();
    expect![[r#"
        0/0 no_topic (open)
        reason    why
        event     7
        contract  order.placed/1
        topic     -
        position  0/1/1
        bytes     152
        key       k
        header    id: 7
        header    schema: order.placed
        header    schema-version: 1
        header    outbox-position: 0/1/1
        header    outbox-relay: walpost
        header    outbox-error: no_topic
        header    outbox-error-detail: why
        header    outbox-topic: empty
        header    raw: hex ff00
        value     {\n  "a": "\u{1b}[2J"\n}"#]]
    .assert_eq(&lines.join("\n"));
    let report = commands.run(&["show", "0/0", "--json"]).report();
    assert_eq!(
        (&report["key"]["text"], &report["headers"][8]["value"]["hex"]),
        (&"k".into(), &"ff00".into()),
        "{report}"
    );
    assert_eq!(report["value"]["text"], "{\n  \"a\": \"\u{1b}[2J\"\n}");
    let report = commands.run(&["show", "0/0", "--json", "--hex"]).report();
    assert_eq!(report["key"]["hex"], "6b");
}
