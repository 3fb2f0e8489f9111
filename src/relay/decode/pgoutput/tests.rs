use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn check(bytes: &[u8], expected: Expect) {
    let shown = match decode(bytes) {
        Ok(message) => format!("{message:?}"),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&shown);
}

fn relation(columns: &[(&str, u32)]) -> Vec<u8> {
    let mut bytes = b"R\0\0\x40\x74outbox\0event\0d".to_vec();
    bytes.extend_from_slice(&u16::try_from(columns.len()).expect("few columns").to_be_bytes());
    for (name, type_oid) in columns {
        bytes.push(0);
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&type_oid.to_be_bytes());
        bytes.extend_from_slice(&(-1_i32).to_be_bytes());
    }
    bytes
}

fn insert(values: &[Value<'_>]) -> Vec<u8> {
    let mut bytes = b"I\0\0\x40\x74N".to_vec();
    bytes.extend_from_slice(&u16::try_from(values.len()).expect("few values").to_be_bytes());
    for value in values {
        let (kind, content) = match value {
            Value::Null => (b'n', None),
            Value::Unchanged => (b'u', None),
            Value::Text(content) => (b't', Some(content)),
            Value::Binary(content) => (b'b', Some(content)),
            Value::Withheld(_) | Value::Unreadable(_) => unreachable!("Postgres sends every value"),
        };
        bytes.push(kind);
        if let Some(content) = content {
            bytes.extend_from_slice(&i32::try_from(content.len()).expect("short").to_be_bytes());
            bytes.extend_from_slice(content);
        }
    }
    bytes
}

#[test]
fn begin_and_commit_carry_lsns_and_time() {
    check(
        b"B\0\0\0\0\x01\x6B\x37\x48\0\0\0\0\0\0\0\x01\0\0\x02\xD6",
        expect!["Begin { commit: Lsn(23803720), at: Timestamp(946684800000001), xid: 726 }"],
    );
    check(
        b"C\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\x20\0\0\0\0\0\0\0\0",
        expect!["Commit { commit: Lsn(16), end: Lsn(32) }"],
    );
}

#[test]
fn a_relation_has_names_and_types() {
    let bytes = relation(&[("id", 2950), ("Größe \"x\"", 25)]);
    let Ok(Message::Relation(relation)) = decode(&bytes) else { panic!("no relation") };
    assert_eq!((relation.oid, relation.namespace, relation.name), (16_500, "outbox", "event"));
    let columns: Vec<_> = relation.columns().map(|column| (column.name, column.type_oid)).collect();
    assert_eq!(columns, [("id", 2950), ("Größe \"x\"", 25)]);
}

#[test]
fn null_empty_text_and_binary_are_four_things() {
    let values = [Value::Null, Value::Text(b""), Value::Binary(b"\0\xFF"), Value::Unchanged];
    let bytes = insert(&values);
    let Ok(Message::Insert { relation, row }) = decode(&bytes) else { panic!("no insert") };
    assert_eq!(relation, 16_500);
    assert_eq!(row.values().collect::<Vec<_>>(), values);
}

#[test]
fn a_logical_message_is_borrowed() {
    check(
        b"M\x01\0\0\0\0\0\0\0\x09outbox\0\0\0\0\x02{}",
        expect![[
            r#"Logical { transactional: true, lsn: Lsn(9), prefix: [111, 117, 116, 98, 111, 120], content: [123, 125] }"#
        ]],
    );
}

#[test]
fn what_an_outbox_does_not_read_is_ignored() {
    for tag in [b"Y", b"O", b"U", b"D", b"T"] {
        assert_eq!(decode(tag), Ok(Message::Ignored));
    }
}

#[test]
fn case_30_invalid_bytes_are_reported_with_their_offset() {
    check(b"", expect!["the pgoutput message tag at byte 0 of a replication message"]);
    check(b"Z", expect!["an unknown pgoutput message tag at byte 0 of a replication message"]);
    check(b"B\0\0", expect!["Begin's LSN at byte 1 of a replication message"]);
    check(b"I\0\0\0\x01O", expect!["an insert without a new row at byte 5 of a replication message"]);
    check(b"I\0\0\0\x01N\0\x01x", expect!["an unknown kind of value at byte 8 of a replication message"]);
    check(b"I\0\0\0\x01N\0\x01t\xFF\xFF\xFF\xFF", expect!["a value's length at byte 9 of a replication message"]);
    check(b"I\0\0\0\x01N\0\x01t\x7F\xFF\xFF\xFFab", expect!["a value at byte 13 of a replication message"]);
    check(b"R\0\0\0\x01\xFF\0", expect!["Relation's schema at byte 5 of a replication message"]);
    check(b"I\0\0\0\x01N\0\0!", expect!["bytes after the end of the message at byte 8 of a replication message"]);
    for bad in [&b"d"[..], b"d\0\0\0\x03", b"d\xFF\xFF\xFF\xFF", b"d\x7F\xFF\xFF\xFFw", b"E\0\0\0\x04", b"d\0\0\0\x05x"]
    {
        assert!(next_frame(bad).is_err(), "{bad:?} was taken for a frame");
    }
}

proptest! {
    #[test]
    fn case_30_any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = next_frame(&bytes);
        let _ = decode(&bytes);
    }

    /// Bytes that start like a message get further than random ones.
    #[test]
    fn case_30_damaged_messages_are_survived(
        at in any::<prop::sample::Index>(),
        damage in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        rows in any::<bool>(),
    ) {
        let mut bytes = if rows {
            insert(&[Value::Binary(b"0123456789abcdef"), Value::Null, Value::Text(b"{}")])
        } else {
            relation(&[("id", 2950), ("payload", 114)])
        };
        let index = at.index(bytes.len());
        bytes[index] = damage;
        bytes.truncate(cut.index(bytes.len()) + 1);
        match decode(&bytes) {
            Ok(Message::Insert { row, .. }) => prop_assert_eq!(row.values().count(), row.len()),
            Ok(_) => {}
            Err(error) => prop_assert!(error.offset <= bytes.len()),
        }
    }

    #[test]
    fn a_row_survives_a_round_trip(values in prop::collection::vec(prop::option::of(".*"), 0..20)) {
        let values: Vec<_> =
            values.iter().map(|value| value.as_ref().map_or(Value::Null, |text| Value::Binary(text.as_bytes()))).collect();
        let bytes = insert(&values);
        let Ok(Message::Insert { row, .. }) = decode(&bytes) else { panic!("no insert") };
        prop_assert_eq!(row.values().collect::<Vec<_>>(), values);
    }
}
