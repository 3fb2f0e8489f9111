use std::borrow::Cow;

use expect_test::{Expect, expect};

use super::*;
use crate::relay::boundary::{Lsn, RefusalCode};

fn check_headers(style: HeaderStyle, event: &Event<'_>, contract: ContractHeaders<'_>, expected: Expect) {
    let encoder =
        Encoder { style, source: "/shop".to_owned(), relay: "eu-1".to_owned(), recovered: None, replay: None };
    let row_headers = RowHeaders::parse(event.headers.as_deref()).expect("the headers are an object");
    let stamps = Stamps::new(Position { commit: Lsn(0x16B_3748), ordinal: 3 }, Timestamp(1_700_000_000_123_456));
    let shown: Vec<String> = encoder
        .headers(event, &row_headers, contract, &stamps)
        .list
        .iter()
        .map(|header| format!("{}: {}\n", header.name, header.value.map_or("(null)".into(), String::from_utf8_lossy)))
        .collect();
    expected.assert_eq(&shown.concat());
}

fn event(headers: &'static str) -> Event<'static> {
    Event {
        id: crate::relay::decode::text::Text::Borrowed(b"7f3c"),
        schema: Some(("order.placed".into(), "2.1.0".into())),
        headers: Some(Cow::Borrowed(headers.as_bytes())),
        has_contract: true,
        ..Event::default()
    }
}

const CONTRACT: ContractHeaders<'_> = ContractHeaders {
    name: Some("order.placed"),
    data_schema: Some("urn:walpost:schema:order.placed/2.1.0"),
    format: Some(Format::Json),
    violation: None,
    topic: Some("shop.orders"),
};

#[test]
fn case_34_a_dead_letter_with_a_rejected_timestamp_gets_the_send_time_and_then_none() {
    let record = |timestamp_millis| OwnedRecord {
        topic: "letters".to_owned(),
        key: None,
        value: None,
        headers: Vec::new(),
        timestamp_millis,
    };
    let mut dead_letter = record(1_700_000_000_123);
    assert!(restamp(&mut dead_letter));
    assert_eq!(dead_letter.timestamp_millis, Record::TIME_OF_SENDING);
    let time = b"2023-11-14T22:13:20.123000Z".to_vec();
    assert_eq!(dead_letter.headers, [(names::TIMESTAMP.to_owned(), Some(time))]);
    assert!(restamp(&mut dead_letter) && !restamp(&mut dead_letter), "there is nothing less than no time");
    assert_eq!((dead_letter.timestamp_millis, dead_letter.headers.len()), (Record::NO_TIME, 1));
    for (millis, time) in [(i64::MAX, "9999-12-31T23:59:59.999999Z"), (i64::MIN, "0000-01-01T00:00:00.000000Z")] {
        let mut dead_letter = record(millis);
        assert!(restamp(&mut dead_letter));
        assert_eq!(dead_letter.headers[0].1.as_deref(), Some(time.as_bytes()));
    }
}

#[test]
fn cloudevents_in_binary_mode() {
    check_headers(
        HeaderStyle::CloudEvents,
        &event(
            r#"{"Content-Type": "application/cloudevents+json", "traceparent": "00-ab-cd-01", "n": 1.50, "none": null, "nested": {"a": ["b"]}}"#,
        ),
        CONTRACT,
        expect![[r#"
            ce_specversion: 1.0
            ce_id: 7f3c
            ce_source: /shop
            ce_type: order.placed
            ce_time: 2023-11-14T22:13:20.123456Z
            ce_dataschema: urn:walpost:schema:order.placed/2.1.0
            content-type: application/json
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
            traceparent: 00-ab-cd-01
            n: 1.50
            none: (null)
            nested: {"a": ["b"]}
        "#]],
    );
}

#[test]
fn case_42_an_event_without_a_schema_and_id_is_a_cloudevent_too() {
    let contract = ContractHeaders { topic: Some("outbox.event.Order"), ..ContractHeaders::default() };
    let nameless = |headers| Event { id: Default::default(), schema: None, ..event(headers) };
    let end = |headers, expected| check_headers(HeaderStyle::CloudEvents, &nameless(headers), contract, expected);
    end(
        r#"{"ce_type": null, "ce_subject": null, "ce_my-ext": "1", "CE_ID": "forged", "a": "b"}"#,
        expect![[r#"
            ce_specversion: 1.0
            ce_id: 0/16B3748/3
            ce_source: /shop
            ce_time: 2023-11-14T22:13:20.123456Z
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
            a: b
            ce_type: outbox.event.Order
        "#]],
    );
    end(
        r#"{"ce_type": "OrderPlaced", "a": "b"}"#,
        expect![[r#"
            ce_specversion: 1.0
            ce_id: 0/16B3748/3
            ce_source: /shop
            ce_time: 2023-11-14T22:13:20.123456Z
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
            ce_type: OrderPlaced
            a: b
        "#]],
    );
}

#[test]
fn plain_and_debezium() {
    check_headers(
        HeaderStyle::Plain,
        &event("{}"),
        CONTRACT,
        expect![[r#"
            id: 7f3c
            schema: order.placed
            schema-version: 2.1.0
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
        "#]],
    );
    let placed = vec![("eventType", Some(crate::relay::decode::text::Text::Borrowed(b"OrderPlaced"))), ("gone", None)];
    check_headers(
        HeaderStyle::Debezium,
        &Event { schema: None, placed, ..event("{}") },
        ContractHeaders::default(),
        expect![[r#"
            id: 7f3c
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
            eventType: OrderPlaced
            gone: (null)
        "#]],
    );
}

#[test]
fn a_row_cannot_forge_the_relays_headers() {
    check_headers(
        HeaderStyle::Plain,
        &event(r#"{"outbox-position": "0/0/1", "id": "other", "x": "\u00e4\"", "x": "again"}"#),
        CONTRACT,
        expect![[r#"
            id: 7f3c
            schema: order.placed
            schema-version: 2.1.0
            outbox-position: 0/16B3748/3
            outbox-relay: eu-1
            x: ä"
        "#]],
    );
}

#[test]
fn case_40_row_headers_with_the_relays_prefix_are_dropped_and_reported() {
    let forged = r#"{"outbox-replay": "r", "outbox-redriven": "0/1", "outbox-violation": "v", "outbox-recovered": "0/1",
        "outbox-anything": "x", "ce_id": "other", "ce_subject": "s", "Outbox-position": "o", "a": "1", "a": "2"}"#;
    let row = event(forged);
    for style in [HeaderStyle::CloudEvents, HeaderStyle::Plain, HeaderStyle::Debezium] {
        let encoder =
            Encoder { style, source: "/shop".to_owned(), relay: "w".to_owned(), recovered: None, replay: None };
        let row_headers = RowHeaders::parse(row.headers.as_deref()).expect("an object");
        let stamps = Stamps::new(Position { commit: Lsn(1), ordinal: 1 }, Timestamp(0));
        let headers = encoder.headers(&row, &row_headers, CONTRACT, &stamps);
        let reserved: Vec<_> =
            headers.list.iter().map(|header| header.name).filter(|name| name.starts_with("outbox-")).collect();
        assert_eq!(reserved, ["outbox-position", "outbox-relay"], "{style:?}");
        assert!(headers.list.iter().all(|header| header.name != "a" || header.value == Some(b"1")), "the first counts");
        let mut expected =
            vec!["outbox-replay", "outbox-redriven", "outbox-violation", "outbox-recovered", "outbox-anything"];
        expected.extend((style == HeaderStyle::CloudEvents).then_some("ce_id"));
        expected.push("a");
        assert!(headers.has_dropped);
        assert_eq!(headers.dropped(&row, &row_headers).collect::<Vec<_>>(), expected, "{style:?}");
    }
    let innocent = self::event(r#"{"traceparent": "00-1"}"#);
    let row_headers = RowHeaders::parse(innocent.headers.as_deref()).expect("an object");
    let encoder = Encoder {
        style: HeaderStyle::CloudEvents,
        source: String::new(),
        relay: String::new(),
        recovered: None,
        replay: None,
    };
    let stamps = Stamps::new(Position::default(), Timestamp(0));
    assert!(!encoder.headers(&innocent, &row_headers, CONTRACT, &stamps).has_dropped);
}

#[test]
fn headers_that_could_not_be_read_are_in_the_dead_letter_as_they_came() {
    let event = Event { headers: Some(Cow::Borrowed(b"[]")), ..event("{}") };
    let row_headers = RowHeaders::unparsed(event.headers.as_deref());
    let encoder = Encoder {
        style: HeaderStyle::Debezium,
        source: String::new(),
        relay: "w".to_owned(),
        recovered: None,
        replay: None,
    };
    let stamps = Stamps::new(Position::default(), Timestamp(0));
    let headers = encoder.headers(&event, &row_headers, ContractHeaders::default(), &stamps);
    assert_eq!(headers.list.last(), Some(&Header { name: names::HEADERS, value: Some(b"[]") }));
    assert!(!headers.has_dropped);
}

#[test]
fn case_31_headers_that_are_not_an_object_are_refused() {
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert!(RowHeaders::parse(Some(deep.as_bytes())).is_ok(), "deep JSON is passed on as text, without recursion");
    for bad in ["", "[]", "1", "{", r#"{"a": 1} x"#, r#"{1: 2}"#, "{\"a\": \"\\ud800\"}", r#"{"a\u0000b": "x"}"#] {
        let refusal = RowHeaders::parse(Some(bad.as_bytes())).expect_err(bad);
        assert_eq!(refusal.code, RefusalCode::Undecodable);
    }
}

#[test]
fn a_dead_letter_keeps_the_record_and_adds_the_reason() {
    let record = OwnedRecord {
        topic: "orders".to_owned(),
        key: Some(b"k".to_vec()),
        value: Some(vec![0; 100]),
        headers: vec![("id".to_owned(), None)],
        timestamp_millis: 5,
    };
    let refusal = Refusal { code: RefusalCode::TooLarge, detail: "100 bytes".to_owned() };
    let mut dead_letter = dead_letter(record.clone(), "dead", &refusal);
    assert_eq!((&dead_letter.topic[..], &dead_letter.key, &dead_letter.value), ("dead", &record.key, &record.value));
    let texts: Vec<_> = dead_letter.headers[1..].iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
    let expected: [(&str, Option<&[u8]>); 3] = [
        ("outbox-error", Some(b"too_large")),
        ("outbox-error-detail", Some(b"100 bytes")),
        ("outbox-topic", Some(b"orders")),
    ];
    assert_eq!(texts, expected);
    assert!(shrink(&mut dead_letter));
    assert_eq!(dead_letter.value, None);
    assert_eq!(dead_letter.headers.last(), Some(&("outbox-value-omitted".to_owned(), Some(b"100".to_vec()))));
    dead_letter.key = Some(vec![0; 5_000]);
    dead_letter.headers.push(("baggage".to_owned(), Some(vec![0; 5_000])));
    dead_letter.headers.push(("ce_type".to_owned(), Some(vec![b'x'; 5_000])));
    assert!(shrink(&mut dead_letter));
    assert_eq!(
        (dead_letter.key.as_deref(), dead_letter.headers.last()),
        (None, Some(&("ce_type".to_owned(), Some(vec![b'x'; 1_024]))))
    );
    assert!(dead_letter.headers.iter().all(|(name, _)| name != "baggage"));
    assert!(!shrink(&mut dead_letter), "there is nothing more to take");
}

#[test]
fn only_a_shrunk_tombstone_has_the_header_for_it() {
    let dead_letter = |key: usize| OwnedRecord {
        topic: "letters".to_owned(),
        key: Some(vec![b'k'; key]),
        value: None,
        headers: vec![("id".to_owned(), Some(b"7".to_vec()))],
        timestamp_millis: 0,
    };
    let (mut small, mut large) = (dead_letter(10), dead_letter(1_000_000));
    assert!(!shrink(&mut small));
    assert_eq!(small, dead_letter(10));
    assert!(shrink(&mut large));
    assert_eq!(large.headers.last(), Some(&(names::VALUE_OMITTED.to_owned(), Some(b"0".to_vec()))));
    assert_eq!(large.key, None);
}
