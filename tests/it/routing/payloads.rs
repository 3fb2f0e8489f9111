//! Case 2: bytes arrive unchanged.

use super::{register_ordered, values};
use crate::harness::{Harness, Received, Relay};

/// JSON whose bytes change if it is parsed and serialized again.
const PAYLOADS: [&str; 10] = [
    r#"{"total": 1.50, "b": 1, "a": 2, "b": 3}"#,
    r#"{ "z" : 1e5,	"ü" : "日本 🦀 \u00e9\u0000\/" }"#,
    "100000000000000000000000.000",
    r#""""#,
    r#""text""#,
    "null",
    "[]",
    "{}",
    " [1 ,\n 2]\n",
    "\t{\"a\":1} ",
];

#[tokio::test(flavor = "multi_thread")]
async fn case_02_payload_bytes_arrive_unchanged() {
    let harness = Harness::migrated("payload_bytes").await;
    let topics = [register_ordered(&harness, "row").await, register_ordered(&harness, "message").await];
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    for payload in PAYLOADS {
        let emit = "select outbox.emit('row', 'k', $1::text), outbox.emit_message('message', 'k', $1::text)";
        client.execute(emit, &[&payload]).await.expect("events are emitted");
    }
    for topic in topics {
        let records = harness.consume(&topic, PAYLOADS.len()).await;
        assert_eq!(values(&records), PAYLOADS.map(Some), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_a_payload_of_a_megabyte_arrives() {
    let harness = Harness::migrated("megabyte").await;
    let topics = [register_ordered(&harness, "row").await, register_ordered(&harness, "message").await];
    // Far more than the window: it is sent alone.
    let mut relay = Relay::start(&harness, "max_in_flight_bytes = 1000");
    relay.ready().await;
    // Digits that do not repeat: compression must not hide a limit.
    let noise = "select string_agg(md5(i::text), '') from generate_series(1, 32768) i";
    let noise = harness.query_text(noise).await.expect("a text");
    assert_eq!(noise.len(), 1 << 20);
    let payload = format!(r#"{{"noise": "{noise}"}}"#);
    let client = harness.session().await;
    let emit = "select outbox.emit('row', 'k', $1::text), outbox.emit_message('message', 'k', $1::text)";
    client.execute(emit, &[&payload]).await.expect("events are emitted");
    client.execute(emit, &[&"1"]).await.expect("events are emitted");
    for topic in topics {
        let records = harness.consume(&topic, 2).await;
        assert!(records[0].value_text() == Some(&payload), "{topic}: a megabyte was changed");
        assert_eq!(records[1].value_text(), Some("1"), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_keys_arrive_unchanged() {
    let harness = Harness::migrated("key_bytes").await;
    let topics = [register_ordered(&harness, "row").await, register_ordered(&harness, "message").await];
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let client = harness.session().await;
    let keys =
        [None, Some(""), Some(" "), Some("null"), Some("Größe 日本 🦀"), Some("a\n\t\"\\\u{1}\u{7f}"), Some("007.0")];
    for key in keys {
        let emit = "select outbox.emit('row', $1, '1'::text), outbox.emit_message('message', $1, '1'::text)";
        client.execute(emit, &[&key]).await.expect("events are emitted");
    }
    for topic in topics {
        let records = harness.consume(&topic, keys.len()).await;
        assert_eq!(records.iter().map(Received::key_text).collect::<Vec<_>>(), keys, "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_null_json_null_and_empty_payloads_are_distinct() {
    let harness = Harness::migrated("nothings").await;
    let topic = register_ordered(&harness, "json").await;
    let texts = harness.topic("texts");
    super::create_table(&harness, "public.texts", "id uuid default gen_random_uuid(), key text, payload text").await;
    let outboxes =
        format!("[[outbox]]\ntable = \"outbox.event\"\n[[outbox]]\ntable = \"public.texts\"\ntopic = \"{texts}\"");
    let mut relay = Relay::start(&harness, &outboxes);
    relay.ready().await;
    harness
        .execute(
            "insert into public.texts (key, payload) values ('k', null), ('k', ''), ('k', 'null'), (null, null); \
             select outbox.emit('json', 'k', null::json); select outbox.emit('json', 'k', 'null'); \
             select outbox.emit_message('json', 'k', null::json); select outbox.emit_message('json', 'k', 'null')",
        )
        .await;
    assert_eq!(values(&harness.consume(&topic, 4).await), [None, Some("null"), None, Some("null")]);
    let mut records = harness.consume(&texts, 4).await;
    records.sort_by_key(|record| super::ordinals(std::slice::from_ref(record)));
    assert_eq!(values(&records), [None, Some(""), Some("null"), None]);
    assert_eq!(records[3].key, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_header_bytes_arrive_unchanged() {
    let harness = Harness::migrated("header_bytes").await;
    let topics = [register_ordered(&harness, "row").await, register_ordered(&harness, "message").await];
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let headers = r#"{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "empty": "", "none": null,
        "Größe": "日本 \"🦀\"\n", "number": 1.500, "flag": true, "nested": {"b": [1, null]}, "": "no name"}"#;
    let emit = format!(
        "select outbox.emit('row', 'k', '1', headers => '{headers}'), outbox.emit_message('message', 'k', '1', headers => '{headers}')"
    );
    harness.execute(&emit).await;
    let expected: [(&str, Option<&str>); 8] = [
        ("traceparent", Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
        ("empty", Some("")),
        ("none", None),
        ("Größe", Some("日本 \"🦀\"\n")),
        ("number", Some("1.500")),
        ("flag", Some("true")),
        ("nested", Some(r#"{"b": [1, null]}"#)),
        ("", Some("no name")),
    ];
    for topic in topics {
        let records = harness.consume(&topic, 1).await;
        for (name, value) in expected {
            let found = records[0].headers.iter().find(|(found, _)| found == name);
            let (_, found) =
                found.unwrap_or_else(|| panic!("{topic} has no header {name:?}: {:?}", records[0].headers));
            assert_eq!(found.as_deref(), value.map(str::as_bytes), "{topic} {name:?}");
        }
    }
}
