//! A position's form.

use expect_test::expect;

use super::*;
use crate::relay::boundary::{Lsn, Position};

#[test]
fn positions_are_in_one_partition_and_on_more_than_one_broker_where_there_are_more() {
    assert!(check_layout(1).is_ok());
    assert!(matches!(check_layout(2), Err(ReadError::Partitioned(2))));
    assert!(is_at_risk(3, Some(1)));
    assert!(!is_at_risk(1, Some(1)) && !is_at_risk(3, Some(2)) && !is_at_risk(3, None));
}

#[test]
fn a_null_is_no_missing_record() {
    assert!(matches!(Kept::of(None), Ok(Kept::Nothing)));
    assert!(matches!(Kept::of(Some(None)), Ok(Kept::TakenBack)));
    assert!(matches!(Kept::of(Some(Some(b"{}".to_vec()))), Err(ReadError::Malformed)));
}

#[test]
fn a_position_is_json_that_a_person_can_read() {
    let position = Position { commit: Lsn(0x1_0000_00FF), ordinal: 3 };
    let mut stored = StoredPosition {
        checkpoint: Checkpoint { position, committed_at: Some(Timestamp(1_700_000_000_000_001)), flush: Lsn(0x80) },
        cluster: Cluster { system_identifier: "7012".to_owned(), timeline: 2 },
        transaction: Uuid::from_u128(1),
    };
    let bytes = stored.encode();
    let text = String::from_utf8(bytes.clone()).expect("JSON is text").replace(env!("CARGO_PKG_VERSION"), "V");
    expect![[r#"{"position":"1/FF/3","committed_at_micros":1700000000000001,"flush":"0/80","system_identifier":"7012","timeline":2,"transaction":"00000000-0000-0000-0000-000000000001","version":"V"}"#]]
        .assert_eq(&text);
    assert_eq!(StoredPosition::decode(&bytes), Some(stored.clone()));
    let older = br#"{"position":"1/FF/3","flush":"0/80","system_identifier":"7012","timeline":2,"version":"0.1.0"}"#;
    stored.checkpoint.committed_at = None;
    stored.transaction = Uuid::nil();
    assert_eq!(
        StoredPosition::decode(older),
        Some(stored),
        "a value from before there were commit times and transactions"
    );
    for bad in [
        &b"{}"[..],
        b"",
        b"null",
        br#"{"position":"x","flush":"0/0","system_identifier":"","timeline":1,"version":""}"#,
    ] {
        assert_eq!(StoredPosition::decode(bad), None);
    }
}
