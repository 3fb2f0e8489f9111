use super::*;
use crate::relay::boundary::ColumnType;
use crate::relay::boundary::Wait;
use crate::relay::decode::message::from_message;
use crate::relay::decode::outbox::{Outbox, TemplatePart, Unresolved};
use crate::relay::decode::pgoutput::{Message as Pgoutput, decode};

/// A relation message and a row message with these columns: name, type OID, value.
fn frames(columns: &[(&str, u32, Value<'_>)]) -> (Vec<u8>, Vec<u8>) {
    let count = u16::try_from(columns.len()).expect("few columns").to_be_bytes();
    let mut relation = [&b"R\0\0\0\x01outbox\0event\0d"[..], &count].concat();
    let mut row = [&b"I\0\0\0\x01N"[..], &count].concat();
    for (name, type_oid, value) in columns {
        relation.extend_from_slice(&[b"\0", name.as_bytes(), b"\0", &type_oid.to_be_bytes(), &[255; 4]].concat());
        match value {
            Value::Null => row.push(b'n'),
            Value::Unchanged => row.push(b'u'),
            Value::Withheld(length) => row.extend([&b"W"[..], &length.to_be_bytes()].concat()),
            Value::Text(bytes) | Value::Binary(bytes) | Value::Unreadable(bytes) => {
                row.push(match value {
                    Value::Text(_) => b't',
                    Value::Binary(_) => b'b',
                    _ => b'E',
                });
                row.extend_from_slice(&i32::try_from(bytes.len()).expect("short").to_be_bytes());
                row.extend_from_slice(bytes);
            }
        }
    }
    (relation, row)
}

/// Types in the database: 16400 is an enum or the like, 16401 a domain over jsonb, 16402 a composite type, 16403 was
/// dropped.
fn known(oid: u32) -> Result<Option<ColumnType>, Wait> {
    let sent_as = match oid {
        16400 => Some(25),
        16401 => Some(3802),
        16403 => return Ok(None),
        _ => None,
    };
    Ok(Some(ColumnType { name: format!("public.t{oid}"), sent_as }))
}

fn layout(outbox: &Outbox, relation: &[u8]) -> Layout {
    let Ok(Pgoutput::Relation(relation)) = decode(relation) else { panic!("no relation") };
    Layout::resolve(outbox, &relation, known).expect("the layout fits")
}

/// Reads one row and passes the event to `look`.
fn read(outbox: &Outbox, columns: &[(&str, u32, Value<'_>)], look: impl FnOnce(&Event<'_>, Option<Refusal>)) {
    let (relation, row) = frames(columns);
    let layout = layout(outbox, &relation);
    let Ok(Pgoutput::Insert { row, .. }) = decode(&row) else { panic!("no insert") };
    let (event, refusal) = from_row(&row, &layout);
    look(&event, refusal);
}

const ID: (&str, u32, Value<'_>) = ("id", 2950, Value::Binary(&[0xAB; 16]));
const ID_TEXT: &[u8] = b"abababab-abab-abab-abab-abababababab";

fn walpost<'a>(key: (u32, Value<'a>), payload: (u32, Value<'a>)) -> Vec<(&'a str, u32, Value<'a>)> {
    vec![
        ("extra", 600, Value::Text(b"(1,2)")),
        ID,
        ("schema_name", 25, Value::Binary(b"order.placed")),
        ("schema_version", 25, Value::Binary(b"2")),
        ("key", key.0, key.1),
        ("payload", payload.0, payload.1),
        ("created_at", 1184, Value::Binary(&[0, 0, 0, 0, 0, 0, 0, 9])),
    ]
}

#[test]
fn case_02_every_payload_type_gives_its_bytes() {
    let outbox = Outbox::walpost("outbox", "event");
    let cases: [(u32, Value<'_>, Option<&[u8]>); 9] = [
        (114, Value::Binary(b"{\"b\": 1.50, \"a\":2}"), Some(b"{\"b\": 1.50, \"a\":2}")),
        (114, Value::Text(b"[]"), Some(b"[]")),
        (3802, Value::Binary(b"\x01{\"a\": 1}"), Some(b"{\"a\": 1}")),
        (3802, Value::Text(b"{}"), Some(b"{}")),
        (25, Value::Binary(b""), Some(b"")),
        (1043, Value::Binary("Größe".as_bytes()), Some("Größe".as_bytes())),
        (17, Value::Binary(b"\0\x01\0"), Some(b"\0\x01\0")),
        (17, Value::Text(b"\\x00fF"), Some(b"\0\xFF")),
        (114, Value::Null, None),
    ];
    for (type_oid, value, expected) in cases {
        read(&outbox, &walpost((25, Value::Null), (type_oid, value)), |event, refusal| {
            assert_eq!(refusal, None);
            assert_eq!(event.payload.as_deref(), expected);
            assert_eq!(&*event.id, ID_TEXT);
            assert!(event.key.is_none());
            assert_eq!(event.created_at, Some(Timestamp::from_postgres(9)));
        });
    }
}

#[test]
fn every_key_type_gives_its_text() {
    let outbox = Outbox::walpost("outbox", "event");
    let cases: [(u32, Value<'_>, &[u8]); 7] = [
        (25, Value::Binary(b""), b""),
        (2950, Value::Binary(&[0xAB; 16]), ID_TEXT),
        (21, Value::Binary(&[0xFF, 0xFF]), b"-1"),
        (23, Value::Binary(&[0, 0, 1, 0]), b"256"),
        (20, Value::Binary(&[0x80, 0, 0, 0, 0, 0, 0, 0]), b"-9223372036854775808"),
        (17, Value::Binary(b"\0k"), b"\0k"),
        (20_000, Value::Text(b"label of an enum"), b"label of an enum"),
    ];
    for (type_oid, value, expected) in cases {
        read(&outbox, &walpost((type_oid, value), (114, Value::Null)), |event, refusal| {
            assert_eq!(refusal, None);
            assert_eq!(event.key.as_deref(), Some(expected));
        });
    }
}

#[test]
fn case_26_unreadable_parts_are_refused_and_the_rest_is_kept() {
    let outbox = Outbox::walpost("outbox", "event");
    type Case<'a> = ((u32, Value<'a>), (u32, Value<'a>), &'a str);
    let cases: [Case<'_>; 5] = [
        ((2950, Value::Binary(b"short")), (114, Value::Binary(b"{}")), "key is a uuid whose length is not 16 bytes"),
        (
            (23, Value::Binary(b"abc")),
            (114, Value::Binary(b"{}")),
            "key is an integer whose length is not 2, 4 or 8 bytes",
        ),
        (
            (20_000, Value::Binary(b"x")),
            (114, Value::Binary(b"{}")),
            "key has a type whose binary format the relay can't read",
        ),
        ((25, Value::Unchanged), (114, Value::Binary(b"{}")), "key was not sent by the server"),
        (
            (17, Value::Text(b"\\000")),
            (114, Value::Binary(b"{}")),
            "key is bytea text that is not \\x and hexadecimal digits",
        ),
    ];
    for (key, payload, detail) in cases {
        read(&outbox, &walpost(key, payload), |event, refusal| {
            let expected = Refusal { code: RefusalCode::Undecodable, detail: detail.to_owned() };
            assert_eq!(refusal, Some(expected));
            assert_eq!(event.payload.as_deref(), Some(&b"{}"[..]), "the payload is kept for the dead letter");
            assert_eq!(&*event.id, ID_TEXT);
        });
    }
    read(&outbox, &walpost((25, Value::Null), (3802, Value::Binary(b"\x02{}"))), |event, refusal| {
        assert_eq!(
            refusal.map(|refusal| refusal.detail).as_deref(),
            Some("payload is jsonb of an unknown binary format version")
        );
        assert_eq!(event.payload.as_deref(), Some(&b"\x02{}"[..]), "what can't be read is kept as it came");
    });
}

#[test]
fn a_template_makes_the_topic_as_the_debezium_router_does() {
    let mut outbox = Outbox::debezium("public", "outbox");
    outbox.header_columns.push(("type".to_owned(), "eventType".to_owned()));
    let columns = |kind| {
        vec![
            ID,
            ("aggregatetype", 1043, kind),
            ("aggregateid", 1043, Value::Binary(b"42")),
            ("type", 1043, Value::Binary(b"OrderPlaced")),
            ("payload", 3802, Value::Binary(b"\x01{}")),
        ]
    };
    read(&outbox, &columns(Value::Binary(b"order")), |event, refusal| {
        assert_eq!(refusal, None);
        assert_eq!(event.topic.as_deref(), Some("outbox.event.order"));
        assert_eq!(event.key.as_deref(), Some(&b"42"[..]));
        let placed: Vec<_> = event.placed.iter().map(|(name, value)| (*name, value.as_deref())).collect();
        assert_eq!(placed, [("eventType", Some(&b"OrderPlaced"[..]))]);
        assert!(!event.has_contract);
    });
    read(&outbox, &columns(Value::Null), |event, refusal| {
        assert_eq!((event.topic.as_deref(), refusal), (None, None), "no topic is for the publisher to refuse");
    });
    outbox.routing = crate::relay::decode::outbox::Routing::Template(vec![TemplatePart::Column("type".to_owned())]);
    read(&outbox, &columns(Value::Null), |event, _| assert_eq!(event.topic.as_deref(), Some("OrderPlaced")));
}

#[test]
fn case_05_a_mismatched_table_is_an_error_that_names_the_column() {
    let mut outbox = Outbox::walpost("outbox", "event");
    outbox.columns[Role::CreatedAt as usize].needed = true;
    let resolve = |columns: &[(&str, u32, Value<'_>)]| {
        let (relation, _) = frames(columns);
        let Ok(Pgoutput::Relation(relation)) = decode(&relation) else { panic!("no relation") };
        match Layout::resolve(&outbox, &relation, known) {
            Err(Unresolved::Misfit(error)) => error.to_string(),
            other => panic!("the layout does not fit: {other:?}"),
        }
    };
    let mut columns = walpost((25, Value::Null), (114, Value::Null));
    columns[5].1 = 600;
    let text = resolve(&columns);
    assert!(text.contains("\"payload\"") && text.contains("type public.t600,") && text.contains("bytea"), "{text}");
    for (oid, name) in [(16401, "type public.t16401,"), (16403, "type with OID 16403,")] {
        columns[6].1 = oid;
        columns[5].1 = 114;
        let text = resolve(&columns);
        assert!(text.contains("\"created_at\"") && text.contains(name) && text.contains("timestamptz"), "{text}");
    }
    // Unless the configuration names it.
    let (relation, _) = frames(&columns);
    assert_eq!(layout(&Outbox::walpost("outbox", "event"), &relation).roles[Role::CreatedAt as usize], None);
    columns.remove(5);
    let text = resolve(&columns);
    assert!(text.contains("table outbox.event has no column \"payload\""), "{text}");
}

#[test]
fn case_37_rows_of_a_table_that_does_not_fit_can_be_refused_one_by_one() {
    let mut outbox = Outbox::walpost("outbox", "event");
    outbox.header_columns.push(("extra".to_owned(), "place".to_owned()));
    let mut columns = walpost((25, Value::Binary(b"k")), (114, Value::Binary(b"{}")));
    columns.retain(|(name, ..)| *name != "schema_version");
    let (relation, row) = frames(&columns);
    let Ok(Pgoutput::Relation(relation)) = decode(&relation) else { panic!("no relation") };
    let (layout, misfit) = Layout::resolve_in_part(&outbox, &relation, known).expect("types are known");
    let misfit = misfit.expect("a column is missing").to_string();
    assert!(misfit.contains("no column \"schema_version\""), "{misfit}");
    let Ok(Pgoutput::Insert { row, .. }) = decode(&row) else { panic!("no insert") };
    let (event, refusal) = from_row(&row, &layout);
    assert_eq!(refusal, Some(Refusal { code: RefusalCode::Undecodable, detail: misfit }));
    assert_eq!((event.key.as_deref(), event.payload.as_deref()), (Some(&b"k"[..]), Some(&b"{}"[..])));
    assert_eq!(event.placed[0].1.as_deref(), Some(&b"(1,2)"[..]));
}

#[test]
fn case_37_scalars_are_keys_headers_and_parts_of_topics() {
    let mut outbox = Outbox::debezium("public", "outbox");
    outbox.routing = crate::relay::decode::outbox::Routing::Template(vec![TemplatePart::Column("day".to_owned())]);
    outbox.header_columns = vec![("paid".to_owned(), "paid".to_owned())];
    let columns = [
        ID,
        ("aggregateid", 1700, Value::Binary(&[0, 2, 0, 0, 0, 0, 0, 2, 0, 1, 0x13, 0x88])),
        ("payload", 25, Value::Binary(b"{}")),
        ("day", 1082, Value::Binary(&[0, 0, 0, 0x3B])),
        ("paid", 16, Value::Binary(&[1])),
    ];
    read(&outbox, &columns, |event, refusal| {
        assert_eq!(refusal, None);
        assert_eq!(event.key.as_deref(), Some(&b"1.50"[..]));
        assert_eq!(event.topic.as_deref(), Some("2000-02-29"));
        assert_eq!(event.placed[0].1.as_deref(), Some(&b"true"[..]));
    });
    let mut broken = columns;
    broken[1].2 = Value::Binary(b"short");
    read(&outbox, &broken, |event, refusal| {
        let detail = refusal.map(|refusal| refusal.detail);
        assert_eq!(detail.as_deref(), Some("key is not in the binary format of its type"));
        assert_eq!(event.key.as_deref(), Some(&b"short"[..]), "what can't be read is kept as it came");
    });
}

#[test]
fn a_row_with_the_wrong_number_of_columns_is_refused() {
    let outbox = Outbox::walpost("outbox", "event");
    let columns = walpost((25, Value::Null), (114, Value::Null));
    let (relation, _) = frames(&columns);
    let (_, row) = frames(&columns[1..]);
    let layout = layout(&outbox, &relation);
    let Ok(Pgoutput::Insert { row, .. }) = decode(&row) else { panic!("no insert") };
    let (_, refusal) = from_row(&row, &layout);
    assert_eq!(refusal.map(|refusal| refusal.code), Some(RefusalCode::Undecodable));
}

#[test]
fn a_logical_message_carries_the_payload_as_written() {
    let content = br#"{"id":"a\u0062c","schema_name":"order.placed","schema_version":"2.1","topic":null,
        "key":"k\n1","payload":{"b" : 1.50,"a":null},"headers":{"x":"y"},"created_at":"2026-11-21T00:00:00Z"}"#;
    let (event, refusal) = from_message(content);
    assert_eq!(refusal, None);
    assert_eq!(&*event.id, b"abc");
    assert_eq!(event.key.as_deref(), Some(&b"k\n1"[..]));
    assert_eq!(event.payload.as_deref(), Some(&br#"{"b" : 1.50,"a":null}"#[..]));
    assert_eq!(event.headers.as_deref(), Some(&br#"{"x":"y"}"#[..]));
    assert_eq!(event.topic, None);
    assert!(event.has_contract);
}

#[test]
fn case_02_in_a_logical_message_white_space_around_the_payload_is_a_part_of_it() {
    let content =
        b"{\"id\":\"1\",\"schema_name\":\"s\",\"schema_version\":\"1\",\"payload\": \t[1]\r\n ,\"headers\":null}";
    assert_eq!(from_message(content).0.payload.as_deref(), Some(&b" \t[1]\r\n "[..]));
    let content = b"{\"id\":\"1\",\"schema_name\":\"s\",\"schema_version\":\"1\",\"payload\":1 }";
    assert_eq!(from_message(content).0.payload.as_deref(), Some(&b"1 "[..]));
}

#[test]
fn case_02_in_a_logical_message_null_is_a_payload_and_absence_a_tombstone() {
    let (event, _) = from_message(br#"{"id":"1","schema_name":"s","schema_version":"1","payload":null}"#);
    assert_eq!(event.payload.as_deref(), Some(&b"null"[..]));
    let (event, _) = from_message(br#"{"id":"1","schema_name":"s","schema_version":"1"}"#);
    assert_eq!(event.payload, None);
    assert!(event.key.is_none());
}

#[test]
fn case_30_a_message_of_any_content_is_refused_whole() {
    let deep = "[".repeat(100_000);
    for content in
        [&b""[..], b"\xFF", b"{}", b"[1]", deep.as_bytes(), br#"{"id":1,"schema_name":"s","schema_version":"1"}"#]
    {
        let (event, refusal) = from_message(content);
        assert_eq!(refusal.map(|refusal| refusal.code), Some(RefusalCode::Undecodable));
        assert_eq!(event.payload.as_deref(), Some(content));
    }
}

#[test]
fn case_02_a_type_of_the_databases_own_is_read_as_what_it_is_sent_as() {
    let outbox = Outbox::walpost("outbox", "event");
    let key = (16400, Value::Binary(b"green"));
    read(&outbox, &walpost(key, (16401, Value::Binary(b"\x01{}"))), |event, refusal| {
        assert_eq!(refusal, None);
        assert_eq!((event.key.as_deref(), event.payload.as_deref()), (Some(&b"green"[..]), Some(&b"{}"[..])));
    });
    for oid in [16402, 16403] {
        read(&outbox, &walpost(key, (oid, Value::Binary(b"\0\0"))), |event, refusal| {
            assert_eq!(refusal.map(|refusal| refusal.code), Some(RefusalCode::Undecodable));
            assert_eq!(event.payload.as_deref(), Some(&b"\0\0"[..]), "what can't be read is kept as it came");
        });
        read(&outbox, &walpost(key, (oid, Value::Text(b"(1,2)"))), |event, refusal| {
            assert_eq!(refusal, None, "text is text, whatever the type");
            assert_eq!(event.payload.as_deref(), Some(&b"(1,2)"[..]));
        });
    }
}

#[test]
fn case_05_an_unknown_type_is_waited_for() {
    let outbox = Outbox::walpost("outbox", "event");
    let (relation, _) = frames(&walpost((16400, Value::Null), (114, Value::Null)));
    let Ok(Pgoutput::Relation(relation)) = decode(&relation) else { panic!("no relation") };
    let mut asked = Vec::new();
    let resolved = Layout::resolve(&outbox, &relation, |oid| {
        asked.push(oid);
        Err(Wait)
    });
    assert_eq!(
        (resolved, asked),
        (Err(Unresolved::Wait), vec![16400]),
        "and no other: what is not read is not asked for"
    );
}
