//! Case 2: payloads that are not JSON, from `outbox.emit_bytes`.

use std::path::Path;

use crate::harness::program::{self, Ended};
use crate::harness::{Harness, Received, Relay, config};

/// No UTF-8, with zero bytes, and what text formats escape.
const BYTES: &[u8] = b"\0\x01\xFE\xFF\\\"\n\0";

const CONTENT_TYPES: [(&str, &str); 4] = [
    ("avro", "application/avro"),
    ("protobuf", "application/protobuf"),
    ("text", "text/plain; charset=utf-8"),
    ("bytes", "application/octet-stream"),
];

/// Registers a schema of this format with a topic of one partition.
async fn register(harness: &Harness, format: &str) -> String {
    let topic = harness.topic(format);
    harness
        .execute(&format!(
            "select outbox.register_schema_version(name => '{format}', version => '1', topic => '{topic}', \
             format => '{format}', topic_config => '{{\"partitions\": 1}}')"
        ))
        .await;
    topic
}

fn values(records: &[Received]) -> Vec<Option<&[u8]>> {
    records.iter().map(|record| record.value.as_deref()).collect()
}

/// Runs a command with a configuration file in `folder`.
fn run(folder: &Path, name: &str, arguments: &[&str]) -> Ended {
    let path = folder.join("walpost.toml").display().to_string();
    let ended = program::run(name, &[arguments, &["--json", "--config", path.as_str()]].concat());
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_bytes_arrive_from_the_table_the_stream_and_a_replay() {
    let harness = Harness::migrated("bytes").await;
    let mut topics = Vec::new();
    for (format, _) in CONTENT_TYPES {
        topics.push(register(&harness, format).await);
    }
    let client = harness.session().await;
    let emit = async || {
        for (format, _) in CONTENT_TYPES {
            for payload in [Some(BYTES), Some(b"".as_slice()), None] {
                let emit = "select outbox.emit_bytes($1, 'k', $2, headers => '{\"traceparent\": \"00-1\"}')";
                client.execute(emit, &[&format, &payload]).await.expect("an event");
            }
        }
    };
    emit().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&harness, "");
    std::fs::write(folder.path().join("walpost.toml"), &config).expect("the configuration is written");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    emit().await;
    for topic in &topics {
        harness.consume(topic, 6).await;
    }
    let report = run(folder.path(), "replay", &["--from-table"]).report();
    assert_eq!(report["events"], 24);
    for (topic, (_, content_type)) in topics.iter().zip(CONTENT_TYPES) {
        let records = harness.consume(topic, 12).await;
        assert_eq!(values(&records), [Some(BYTES), Some(b""), None].repeat(4), "{topic}");
        for record in &records {
            assert_eq!((record.key_text(), record.header("content-type")), (Some("k"), Some(content_type)));
            assert_eq!(record.header("traceparent"), Some("00-1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_bytes_of_a_dead_letter_are_kept_and_redriven() {
    let harness = Harness::migrated("dead_bytes").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(&harness, "");
    std::fs::write(folder.path().join("walpost.toml"), &config).expect("the configuration is written");
    let mut relay = Relay::start_with(&config);
    relay.ready().await;
    let client = harness.session().await;
    let insert =
        "insert into outbox.event (schema_name, schema_version, key, payload_bytes) values ('avro', '1', 'k', $1)";
    client.execute(insert, &[&BYTES]).await.expect("an event");
    let letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!((values(&letters), letters[0].header("outbox-error")), (vec![Some(BYTES)], Some("unknown_schema")));
    let topic = register(&harness, "avro").await;
    run(folder.path(), "dead-letter", &["redrive", "--all"]);
    let records = harness.consume(&topic, 1).await;
    assert_eq!((values(&records), records[0].key_text()), (vec![Some(BYTES)], Some("k")));
    assert_eq!(records[0].header("content-type"), Some("application/avro"));
}

/// Services insert with their own ORM or COPY, into tables of their own as well.
#[tokio::test(flavor = "multi_thread")]
async fn case_02_a_table_of_ones_own_may_have_payload_bytes() {
    let harness = Harness::migrated("own_bytes").await;
    let columns = "id uuid default gen_random_uuid(), key text, payload text, payload_bytes bytea";
    super::create_table(&harness, "public.box", columns).await;
    let topic = harness.topic("box");
    let outbox = format!("[[outbox]]\ntable = \"public.box\"\ntopic = \"{topic}\"");
    let mut relay = Relay::start(&harness, &outbox);
    relay.ready().await;
    let rows = "('k', 'text', null), ('k', null, '\\x00ff'), ('k', null, null), ('k', 'a', '\\x00')";
    harness.execute(&format!("insert into box (key, payload, payload_bytes) values {rows}")).await;
    let records = harness.consume(&topic, 3).await;
    assert_eq!(values(&records), [Some(b"text".as_slice()), Some(b"\0\xFF"), None]);
    let letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    let detail = letters[0].header("outbox-error-detail");
    assert_eq!(
        (values(&letters), detail),
        (vec![Some(b"a".as_slice())], Some("payload_bytes and payload are both set"))
    );
}
