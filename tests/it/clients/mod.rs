//! Third-party clients read the records: the official CloudEvents SDKs, kafkajs, sarama, Kafka's own client, confluent-kafka and kcat.
//! The programs are in `tests/clients`; `docs/clients.md` has the results.

mod emitted;
mod install;
mod kcat;

use std::collections::BTreeMap;
use std::process::Command;

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

use crate::harness::{Harness, PATIENCE, Received, Relay, config};
use crate::refusals::create_topic;
use emitted::Emitted;
use install::{Client, finished};

/// One run of the relay into a separate topic.
struct Round {
    style: &'static str,
    /// As a line of `[kafka]`; empty for the default.
    compression: &'static str,
    delivery: &'static str,
    /// The header for Debezium's `type` column.
    type_header: &'static str,
}

impl Round {
    const fn new(
        style: &'static str,
        compression: &'static str,
        delivery: &'static str,
        type_header: &'static str,
    ) -> Self {
        Self { style, compression, delivery, type_header }
    }

    fn is_read_by_kafkajs(&self) -> bool {
        matches!(self.compression, "none" | "gzip")
    }
}

const ONCE: &str = "exactly-once";
const LEAST: &str = "at-least-once";

/// Every style, every codec (lz4 is the default), both delivery guarantees.
const ROUNDS: [Round; 6] = [
    Round::new("cloudevents", "", LEAST, "ce_type"),
    Round::new("plain", "none", LEAST, "type"),
    Round::new("plain", "zstd", LEAST, "type"),
    // From here on exactly once: a relay can switch to it after a clean stop, but not back.
    Round::new("cloudevents", "gzip", ONCE, "eventtype"),
    Round::new("debezium", "none", ONCE, "eventType"),
    Round::new("plain", "snappy", ONCE, "type"),
];

/// A topic with its expected records.
struct Topic {
    round: &'static Round,
    name: String,
    emitted: Vec<Emitted>,
    records: Vec<Received>,
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_official_sdks_and_common_clients_read_every_record() {
    let installing = Client::ALL.map(|client| tokio::task::spawn_blocking(move || (client, client.program())));
    let harness = Harness::migrated("clients").await;
    emitted::prepare(&harness).await;
    let mut topics = Vec::new();
    for (number, round) in ROUNDS.iter().enumerate() {
        topics.push(publish(&harness, number, round).await);
    }
    for topic in &topics {
        check_headers(topic);
    }
    for client in installing {
        let (client, program) = client.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let can_read = |topic: &&Topic| client != Client::JavaScript || topic.round.is_read_by_kafkajs();
        let read: Vec<&Topic> = topics.iter().filter(can_read).collect();
        let printed = tokio::task::block_in_place(|| run(program, harness.kafka(), &read));
        check(client, &read, &printed.unwrap_or_else(|reason| panic!("{client:?}: {reason}")));
    }
    for topic in &topics {
        kcat::check(harness.kafka(), topic);
        if !topic.round.is_read_by_kafkajs() {
            let program = Client::JavaScript.program();
            let printed = tokio::task::block_in_place(|| run(program, harness.kafka(), &[topic]));
            let reason = printed.expect_err("kafkajs has learned this codec: see docs/clients.md and doctor's line");
            let codec = if topic.round.compression.is_empty() { "LZ4" } else { topic.round.compression };
            let wanted = format!("{codec} compression not implemented").to_lowercase();
            assert!(reason.to_lowercase().contains(&wanted), "{wanted}: {reason}");
        }
    }
}

/// Runs a relay with the round's configuration, and stops it when the topic has everything.
async fn publish(harness: &Harness, number: usize, round: &'static Round) -> Topic {
    let name = harness.topic(&format!("round{number}"));
    // One partition, so that the records are in the order of the events.
    create_topic(harness, &name, &[]).await;
    if round.delivery == ONCE {
        abort_one(harness, &name).await;
    }
    let compression = match round.compression {
        "" => String::new(),
        codec => format!("compression = \"{codec}\"\n"),
    };
    let sections = format!("headers = \"{}\"\n{}", round.style, emitted::outboxes(&name, round.type_header));
    let kafka = format!("[kafka]\ndelivery = \"{}\"\n{compression}", round.delivery);
    let mut relay = Relay::start_with(&config(harness, &sections).replace("[kafka]\n", &kafka));
    relay.ready().await;
    let emitted = emitted::emit(harness, number, &name).await;
    let records = harness.consume(&name, emitted.len()).await;
    assert_eq!(records.len(), emitted.len(), "{name}");
    for (record, emitted) in records.iter().zip(&emitted) {
        assert!(emitted.is(record), "{emitted:?} is not {record:?}");
    }
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    Topic { round, name, emitted, records }
}

/// Adds a record of an aborted transaction to the topic, which nobody may read.
async fn abort_one(harness: &Harness, topic: &str) {
    let (kafka, topic) = (harness.kafka().to_owned(), topic.to_owned());
    let aborting = move || {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", kafka).set("transactional.id", &topic);
        let producer: BaseProducer = client.create().expect("a producer");
        producer.init_transactions(PATIENCE).expect("Kafka answers");
        producer.begin_transaction().expect("it has none");
        producer.send(BaseRecord::<[u8], _>::to(&topic).payload("aborted")).expect("there is room");
        producer.flush(PATIENCE).expect("Kafka has it");
        producer.abort_transaction(PATIENCE).expect("Kafka answers");
    };
    tokio::task::spawn_blocking(aborting).await.expect("a transaction is aborted");
}

/// The headers of the style and those of the row are present.
fn check_headers(topic: &Topic) {
    for (record, emitted) in topic.records.iter().zip(&topic.emitted) {
        let id = emitted.id.as_deref();
        match topic.round.style {
            "cloudevents" => {
                let position = record.header("outbox-position");
                let kind = match (emitted.schema, emitted.event_type, topic.round.type_header) {
                    (Some((name, _)), ..) => name,
                    (None, Some(kind), "ce_type") => kind,
                    (None, ..) => &topic.name,
                };
                assert_eq!(record.header("ce_id"), id.or(position), "{record:?}");
                assert_eq!(record.header("ce_type"), Some(kind), "{record:?}");
                assert_eq!(record.header("ce_dataschema"), emitted.data_schema, "{record:?}");
                assert_eq!(record.header("content-type"), emitted.content_type, "{record:?}");
            }
            "plain" => {
                let schema = (record.header("schema"), record.header("schema-version"));
                assert_eq!(schema, (emitted.schema.map(|schema| schema.0), emitted.schema.map(|schema| schema.1)));
                assert_eq!(record.header("id"), Some(id.unwrap_or_default()), "{record:?}");
            }
            _ => assert_eq!(record.header("id"), Some(id.unwrap_or_default()), "{record:?}"),
        }
        let is_attribute = |name: &str| topic.round.style == "cloudevents" && name.starts_with("ce_");
        for (name, value) in &emitted.headers {
            if value.is_some() || !is_attribute(name) {
                let found = record.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_deref());
                assert_eq!(found, Some(value.map(str::as_bytes)), "{name} of {record:?}");
            }
        }
        let kind = record.header(topic.round.type_header);
        assert!(emitted.event_type.is_none() || kind == emitted.event_type, "{record:?}");
    }
}

/// A program's output for these topics, one value per record.
fn run(mut program: Command, kafka: &str, topics: &[&Topic]) -> Result<Vec<Value>, String> {
    let (events, others): (Vec<&Topic>, Vec<&Topic>) =
        topics.iter().partition(|topic| topic.round.style == "cloudevents");
    let list = |topics: &[&Topic]| {
        let count: usize = topics.iter().map(|topic| topic.records.len()).sum();
        let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
        format!("{count}:{}", names.join(","))
    };
    let output = finished(program.args([kafka, &list(&events), &list(&others)]))?;
    let text = String::from_utf8(output.stdout).map_err(|error| error.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))).collect()
}

fn check(client: Client, topics: &[&Topic], printed: &[Value]) {
    for topic in topics {
        let of_topic: Vec<&Value> = printed.iter().filter(|printed| printed["topic"] == *topic.name).collect();
        assert_eq!(of_topic.len(), topic.records.len(), "{client:?} reads {}", topic.name);
        if topic.round.style != "cloudevents" {
            // A single partition is read in order.
            for (printed, record) in of_topic.into_iter().zip(&topic.records) {
                check_record(client, printed, record);
            }
            continue;
        }
        let by_id: BTreeMap<&str, &Value> =
            of_topic.iter().map(|printed| (printed["id"].as_str().unwrap_or_default(), *printed)).collect();
        for (record, emitted) in topic.records.iter().zip(&topic.emitted) {
            let id = record.header("ce_id").unwrap_or_default();
            let printed = by_id.get(id).unwrap_or_else(|| panic!("{client:?} does not give {record:?}"));
            check_event(client, printed, record, emitted);
        }
    }
}

/// Decodes bytes that a program has printed.
fn bytes(printed: &Value) -> Option<Vec<u8>> {
    let digits = printed.as_str()?.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    Some(digits.chunks(2).map(|pair| byte(pair).expect("it prints hexadecimal digits")).collect())
}

fn check_record(client: Client, printed: &Value, record: &Received) {
    assert_eq!(bytes(&printed["key"]), record.key, "{client:?}: {printed}");
    assert_eq!(bytes(&printed["value"]), record.value, "{client:?}: {printed}");
    let headers: BTreeMap<String, Option<Vec<u8>>> = record.headers.iter().cloned().collect();
    let found = printed["headers"].as_object().expect("headers are an object");
    let found = found.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
    assert_eq!(headers, found, "{client:?}: {printed}");
}

/// The event that an SDK parsed matches what was emitted.
fn check_event(client: Client, printed: &Value, record: &Received, emitted: &Emitted) {
    let what = format!("{client:?}: {printed} of {emitted:?}");
    if printed["tombstone"] == true {
        assert_eq!(emitted.value, None, "{what}");
        return;
    }
    assert_eq!(printed["type"].as_str(), record.header("ce_type"), "{what}");
    assert_eq!(printed["source"].as_str(), record.header("ce_source"), "{what}");
    assert_eq!(printed["dataschema"].as_str(), emitted.data_schema, "{what}");
    assert_eq!(printed["datacontenttype"].as_str(), emitted.content_type, "{what}");
    // Languages format fractions of a second and UTC differently.
    let second = |time: Option<&str>| time.and_then(|time| time.get(..19)).map(str::to_owned);
    assert_eq!(second(printed["time"].as_str()), second(record.header("ce_time")), "{what}");
    let mut extensions = printed["extensions"].as_object().expect("extensions are an object").clone();
    if let Some(key) = extensions.remove("partitionkey") {
        assert_eq!(key.as_str(), emitted.key, "{what}");
    }
    let wanted: serde_json::Map<String, Value> =
        emitted.extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    assert_eq!(extensions, wanted, "{what}");
    let data = bytes(&printed["data"]).unwrap_or_default();
    let value = emitted.value.clone().unwrap_or_default();
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    // Some SDKs parse JSON, which is then serialized again.
    assert!(data == value || parsed(&data).is_some_and(|data| Some(data) == parsed(&value)), "{what}");
}
