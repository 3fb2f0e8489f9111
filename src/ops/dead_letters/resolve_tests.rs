use serde_json::{Value, json};

use super::super::dead_letter::tests::dead_letter;
use super::*;
use crate::relay::route::data_schema::DEFAULT_BASE;
use crate::relay::route::destination::TopicPattern;

fn version(version: &str, ordinal: i32, topic: Option<&str>, schema: Option<Value>) -> RedriveVersion {
    let registered = Registered {
        name: "order.placed".to_owned(),
        version: version.to_owned(),
        ordinal,
        topic: topic.map(str::to_owned),
        format: "json".to_owned(),
        schema,
        compatibility: "none".to_owned(),
        on_violation: None,
        owner: None,
        description: None,
        sla: None,
        lineage: None,
        topic_config: Some(json!({"partitions": 3})),
        status: "active".to_owned(),
        registered_at: String::new(),
    };
    RedriveVersion::new(&registered, DEFAULT_BASE).expect("it is well formed")
}

fn number() -> Option<Value> {
    Some(json!({"type": "number"}))
}

/// A dead letter of order.placed, version 2, with this code and topic.
fn refused<'a>(code: &'a str, topic: &'a str, value: Option<&str>) -> DeadLetter {
    let headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", "7"),
        ("ce_type", "order.placed"),
        ("ce_time", "t"),
        ("ce_dataschema", "order.placed/2"),
        ("outbox-position", "0/1/1"),
        ("outbox-relay", "w"),
        ("traceparent", "00"),
        ("content-type", "from-the-row"),
        ("outbox-error", code),
        ("outbox-error-detail", "why"),
        ("outbox-topic", topic),
    ];
    dead_letter(&headers, value)
}

fn destinations() -> Destinations {
    Destinations::new("dead-letters", &[TopicPattern::parse("*").expect("a pattern")])
}

fn headers(record: &OwnedRecord) -> Vec<(&str, &str)> {
    let text =
        |value: &'_ Option<Vec<u8>>| std::str::from_utf8(value.as_deref().expect("a value")).expect("text").to_owned();
    record.headers.iter().map(|(name, value)| (name.as_str(), &*text(value).leak())).collect()
}

fn stays(dead_letter: &DeadLetter, versions: &[RedriveVersion]) -> (&'static str, String) {
    let stay = resolve(dead_letter, &destinations(), versions).expect_err("it can't be redriven");
    (stay.code(), stay.detail())
}

#[test]
fn once_registered_a_record_is_published_as_the_relay_would() {
    let found = refused("unknown_schema", "", Some("1"));
    let resolved = resolve(&found, &destinations(), &[version("2", 1, Some("orders"), None)]).expect("it is redriven");
    assert_eq!(resolved.record.topic, "orders");
    assert_eq!(resolved.version.as_deref(), Some("order.placed/2"));
    assert_eq!(resolved.settings.partitions, Some(3));
    assert_eq!((&resolved.record.key, &resolved.record.value), (&found.record.key, &found.record.value));
    assert_eq!(resolved.record.timestamp_millis, found.record.timestamp_millis);
    assert_eq!(
        headers(&resolved.record),
        [
            ("ce_specversion", "1.0"),
            ("ce_id", "7"),
            ("ce_type", "order.placed"),
            ("ce_time", "t"),
            // Written as the current relay would, whatever the dead letter has.
            ("ce_dataschema", "urn:walpost:schema:order.placed/2"),
            ("content-type", "application/json"),
            ("outbox-position", "0/1/1"),
            ("outbox-relay", "w"),
            ("traceparent", "00"),
        ]
    );
}

#[test]
fn case_42_a_dead_letter_with_another_schema_base_is_redriven_with_the_current_one() {
    let mut found = refused("unknown_schema", "", Some("1"));
    let foreign = ("ce_dataschema".to_owned(), Some(b"https://schemas.example.com/order.placed/2".to_vec()));
    found.record.headers[4] = foreign;
    let resolved = resolve(&found, &destinations(), &[version("2", 1, Some("orders"), None)]).expect("it is redriven");
    assert_eq!(resolved.version.as_deref(), Some("order.placed/2"));
    assert!(headers(&resolved.record).contains(&("ce_dataschema", "urn:walpost:schema:order.placed/2")));
}

#[test]
fn the_rows_topic_takes_precedence_over_the_contracts() {
    let resolved = resolve(
        &refused("unknown_schema", "of-row", Some("1")),
        &destinations(),
        &[version("2", 1, Some("orders"), None)],
    );
    assert_eq!(resolved.expect("it is redriven").record.topic, "of-row");
}

#[test]
fn a_later_version_that_accepts_the_payload_replaces_the_named_one() {
    let text = || Some(json!({"type": "string"}));
    let versions = [version("2", 1, Some("orders"), text()), version("3", 2, Some("orders.v3"), number())];
    let resolved = resolve(&refused("contract_violation", "orders", Some("1")), &destinations(), &versions)
        .expect("it is redriven");
    assert_eq!((resolved.record.topic.as_str(), resolved.version.as_deref()), ("orders", Some("order.placed/3")));
    assert!(headers(&resolved.record).contains(&("ce_dataschema", "urn:walpost:schema:order.placed/3")));
    let (code, detail) = stays(&refused("contract_violation", "orders", Some("[]")), &versions);
    assert_eq!(code, "contract_violation");
    assert!(
        detail.contains("violates order.placed/2")
            && detail.contains("the latest version, order.placed/3, does not accept it"),
        "{detail}"
    );
}

#[test]
fn neither_a_version_without_schema_nor_an_older_one_replaces_the_named_one() {
    let dead_letter = refused("contract_violation", "orders", Some("1"));
    let text = || Some(json!({"type": "string"}));
    for versions in [
        [version("2", 1, Some("orders"), text()), version("3", 2, Some("orders"), None)],
        [version("1", 1, Some("orders"), number()), version("2", 2, Some("orders"), text())],
    ] {
        assert_eq!(stays(&dead_letter, &versions).0, "contract_violation");
    }
    let unknown = refused("unknown_schema", "", Some("1"));
    assert_eq!(stays(&unknown, &[version("1", 1, Some("orders"), None)]).0, "unknown_schema");
    assert_eq!(stays(&unknown, &[]).0, "unknown_schema");
    let resolved = resolve(&unknown, &destinations(), &[version("1", 1, Some("orders"), number())])
        .expect("its schema accepts it");
    assert_eq!(resolved.version.as_deref(), Some("order.placed/1"));
}

#[test]
fn a_tombstone_passes_every_schema_and_an_empty_payload_none() {
    let versions = [version("2", 1, Some("orders"), number())];
    assert!(resolve(&refused("no_topic", "", None), &destinations(), &versions).is_ok());
    assert_eq!(stays(&refused("no_topic", "", Some("")), &versions).0, "contract_violation");
}

#[test]
fn a_schema_that_cannot_be_compiled_blocks_the_redrive() {
    let (code, detail) =
        stays(&refused("too_large", "orders", Some("1")), &[version("2", 1, None, Some(json!({"$ref": "#"})))]);
    assert_eq!(code, "contract_violation");
    assert!(detail.contains("is unusable"), "{detail}");
}

#[test]
fn without_a_topic_nothing_is_redriven() {
    assert_eq!(stays(&refused("no_topic", "", Some("1")), &[version("2", 1, None, None)]).0, "no_topic");
}

#[test]
fn case_39_reserved_and_invalid_topics_are_refused() {
    for topic in ["dead-letters", "walpost.positions", "walpost.redriven", "__consumer_offsets"] {
        let stay = stays(&refused("too_large", topic, Some("1")), &[version("2", 1, None, None)]);
        assert_eq!(stay.0, "not_authorized", "{topic}");
    }
    let only = Destinations::new("dead-letters", &[TopicPattern::parse("orders*").expect("a pattern")]);
    let stay = resolve(&refused("too_large", "payments", Some("1")), &only, &[version("2", 1, None, None)])
        .expect_err("stays");
    assert!(stay.code() == "not_authorized" && stay.detail().contains("[relay] topics"), "{stay:?}");
    let long = "x".repeat(1_000_000);
    for topic in ["a b", "..", &long] {
        let (code, detail) = stays(&refused("too_large", topic, Some("1")), &[version("2", 1, None, None)]);
        assert!(code == "unknown_topic" && detail.len() < 500, "{detail}");
    }
}

#[test]
fn case_39_a_forged_dead_letter_may_have_its_headers_anywhere() {
    let forged = [
        ("ce_specversion", "1.0"),
        ("ce_type", "order.placed"),
        ("outbox-error", "too_large"),
        ("outbox-error-detail", "why"),
        ("outbox-topic", "orders"),
        ("outbox-redriven", "0/1"),
        ("outbox-position", "0/1/1"),
        ("outbox-relay", "w"),
    ];
    let versions = [version("2", 1, Some("orders"), number())];
    let resolved =
        resolve(&dead_letter(&forged, Some("1")), &destinations(), &versions).expect("its contract accepts it");
    assert_eq!(
        headers(&resolved.record),
        [
            ("ce_specversion", "1.0"),
            ("ce_type", "order.placed"),
            ("ce_dataschema", "urn:walpost:schema:order.placed/2"),
            ("content-type", "application/json"),
            ("outbox-position", "0/1/1"),
            ("outbox-relay", "w"),
        ]
    );
}

#[test]
fn dead_letters_that_can_never_be_redriven_say_so() {
    let versions = [version("2", 1, Some("orders"), None)];
    assert_eq!(stays(&dead_letter(&[], Some("1")), &versions).0, "not_a_dead_letter");
    assert_eq!(stays(&dead_letter(&[("outbox-error", "no_topic")], Some("1")), &versions).0, "not_a_dead_letter");
    let of_nobody = [("outbox-error", "no_topic"), ("outbox-topic", "orders")];
    assert_eq!(stays(&dead_letter(&of_nobody, Some("1")), &versions).0, "not_a_dead_letter");
    assert_eq!(stays(&refused("undecodable", "orders", Some("1")), &versions).0, "undecodable");
    let mut omitted = refused("too_large", "orders", None);
    omitted.record.headers.push(("outbox-value-omitted".to_owned(), Some(b"5000000".to_vec())));
    let (code, detail) = stays(&omitted, &versions);
    assert!(code == "value_omitted" && detail.contains("5000000"), "{detail}");
    let mut foreign = refused("too_large", "orders", Some("1"));
    foreign.is_text = false;
    assert_eq!(stays(&foreign, &versions).0, "not_a_dead_letter");
}

#[test]
fn without_a_contract_only_codes_that_need_no_check_are_redriven() {
    let bare = |code| {
        let own = [("id", "7"), ("outbox-position", "0/1/1"), ("outbox-relay", "w"), ("outbox-redriven", "forged")];
        dead_letter(&[&own[..], &[("outbox-error", code), ("outbox-topic", "t")]].concat(), None)
    };
    let resolved = resolve(&bare("unknown_topic"), &destinations(), &[]).expect("no check is needed");
    assert_eq!(headers(&resolved.record), [("id", "7"), ("outbox-position", "0/1/1"), ("outbox-relay", "w")]);
    assert_eq!(stays(&bare("unknown_schema"), &[]).0, "unknown_schema");
    assert_eq!(stays(&bare("contract_violation"), &[]).0, "contract_violation");
}

#[test]
fn plain_headers_name_the_version_too() {
    let plain = [
        ("id", "7"),
        ("schema", "order.placed"),
        ("schema-version", "2"),
        ("outbox-position", "0/1/1"),
        ("outbox-relay", "w"),
        ("outbox-error", "unknown_schema"),
        ("outbox-topic", ""),
    ];
    let resolved =
        resolve(&dead_letter(&plain, Some("1")), &destinations(), &[version("3", 1, Some("orders"), number())]);
    let record = resolved.expect("the latest version accepts it").record;
    assert_eq!(
        headers(&record),
        [
            ("id", "7"),
            ("schema", "order.placed"),
            ("schema-version", "3"),
            ("outbox-position", "0/1/1"),
            ("outbox-relay", "w")
        ]
    );
}
