//! Records in the dead-letter topic that no relay wrote.

use expect_test::expect;

use super::{Commands, produce, refused, remaining};
use crate::harness::Harness;

type Headers<'a> = Vec<(&'a str, &'a [u8])>;

#[tokio::test(flavor = "multi_thread")]
async fn records_that_no_relay_wrote_are_not_redriven_and_block_no_other() {
    let harness = Harness::migrated("redrive_hostile").await;
    let (commands, topic, dead_letters) =
        (Commands::new(&harness), harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.register("order.placed").await;
    harness.create_topic(&dead_letters, 1, &[("max.message.bytes", "9000000")]).await;
    let giant = vec![b'x'; 2_000_000];
    let long = "n".repeat(5_000);
    let of = |code| refused("order.placed", "7", code, &topic);
    let with = |headers: &[(&'static str, &'static [u8])]| headers.to_vec();
    let mut records: Vec<(Option<&str>, Headers<'_>)> = vec![
        (Some("{}"), Vec::new()),
        (None, with(&[("outbox-error", b"fun"), ("outbox-topic", b"x")])),
        (Some("\u{1b}[2J"), with(&[("outbox-error", b"\xff\xfe"), ("outbox-error-detail", b"\x1b[31m")])),
        (Some("{}"), with(&[("outbox-error", b"no_topic")])),
        (
            Some("{}"),
            with(&[
                ("outbox-relay", b"walpost"),
                ("outbox-error", b"too_large"),
                ("outbox-topic", b"walpost.positions"),
            ]),
        ),
        (
            Some("{}"),
            with(&[("outbox-relay", b"walpost"), ("outbox-error", b"too_large"), ("outbox-topic", b"../etc")]),
        ),
        (Some("{}"), refused(&long, "7", "unknown_schema", "")),
        (Some("{}"), refused("a\0b", "7", "unknown_schema", "")),
        (Some("{}"), of("undecodable")),
    ];
    let mut omitted = of("too_large");
    omitted.push(("outbox-value-omitted", b"5000000"));
    records.push((None, omitted));
    let mut large = of("unknown_topic");
    large.insert(0, ("giant", &giant));
    records.push((Some("{}"), large));
    let mut many = of("unknown_topic");
    many.extend((0..20_000).map(|_| ("h", &b"v"[..])));
    records.push((Some("{}"), many));
    // And one valid record.
    records.push((Some("{}"), of("unknown_topic")));
    for (value, headers) in &records {
        produce(&harness, &dead_letters, *value, headers);
    }

    let ended = commands.redrive(&["--all"]);
    assert_eq!(ended.code(), Some(65), "{ended:?}");
    let stays: Vec<String> =
        remaining(&ended).into_iter().map(|(dead_letter, code)| format!("{dead_letter} {code}\n")).collect();
    expect![[r#"
        0/0 not_a_dead_letter
        0/1 not_a_dead_letter
        0/2 not_a_dead_letter
        0/3 not_a_dead_letter
        0/4 not_authorized
        0/5 unknown_topic
        0/6 unknown_schema
        0/7 unknown_schema
        0/8 undecodable
        0/9 value_omitted
        0/10 too_large
    "#]]
    .assert_eq(&stays.concat());
    // Many headers are no reason to refuse a record that its topic accepts.
    assert_eq!(harness.consume(&topic, 2).await.len(), 2);

    let listed = commands.run(&["list"]);
    assert_eq!(listed.code(), Some(0), "{listed:?}");
    assert!(!listed.stdout.contains('\u{1b}') && listed.stdout.len() < 20_000, "{listed:?}");
    for number in 0..records.len() {
        let shown = commands.run(&["show", &format!("0/{number}")]);
        assert!(shown.code() == Some(0) && !shown.stdout.contains('\u{1b}'), "{number}");
    }
    assert_eq!(commands.list(&[])["letters"][0]["code"], serde_json::Value::Null);
}
