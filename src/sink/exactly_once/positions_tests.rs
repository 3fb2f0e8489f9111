//! The format of a stored position.

use expect_test::expect;

use super::*;
use crate::relay::boundary::MacKey;
use crate::relay::boundary::{Lsn, Position};

#[test]
fn positions_are_in_one_partition_and_on_more_than_one_broker_where_there_are_more() {
    assert!(check_layout(1).is_ok());
    assert!(matches!(check_layout(2), Err(ReadError::Partitioned(2))));
    assert!(is_at_risk(3, Some(1)));
    assert!(!is_at_risk(1, Some(1)) && !is_at_risk(3, Some(2)) && !is_at_risk(3, None));
}

#[test]
fn a_null_value_is_not_a_missing_record() {
    assert!(matches!(PositionEntry::of(None, "k", None), Ok(PositionEntry::Nothing)));
    assert!(matches!(PositionEntry::of(Some(None), "k", None), Ok(PositionEntry::Forgotten)));
    assert!(matches!(PositionEntry::of(Some(Some(b"{}".to_vec())), "k", None), Err(ReadError::Malformed)));
}

#[test]
fn a_position_is_json_that_a_person_can_read() {
    let position = Position { commit: Lsn(0x1_0000_00FF), ordinal: 3 };
    let mut stored = StoredPosition {
        checkpoint: Checkpoint { position, committed_at: Some(Timestamp(1_700_000_000_000_001)), flush: Lsn(0x80) },
        cluster: Cluster { system_identifier: "7012".to_owned(), timeline: 2 },
        transaction: Uuid::from_u128(1),
        is_signed: false,
    };
    let bytes = stored.encode("k", &PositionKeys::default());
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

#[test]
fn case_39_positions_are_signed_per_key_and_unsigned_ones_are_refused_after_the_first() {
    let key = |byte: u8| MacKey::new(&[byte; 64], &[byte + 1; 64]).expect("two blocks");
    let keys = PositionKeys { keys: vec![key(1)], must_be_signed: false };
    let cluster = Cluster { system_identifier: "7012".to_owned(), timeline: 2 };
    let (checkpoint, transaction) = (Checkpoint::default(), Uuid::nil());
    let stored = StoredPosition { checkpoint, cluster, transaction, is_signed: true };
    let (signed, unsigned) = (stored.encode("r/s", &keys), stored.encode("r/s", &PositionKeys::default()));
    let read = |value: &[u8], under: &str, must_be_signed, by: u8, system: &str| {
        let keys = PositionKeys { keys: vec![key(9), key(by)], must_be_signed };
        let check = Check { keys, system_identifier: system.to_owned() };
        PositionEntry::of(Some(Some(value.to_vec())), under, Some(&check))
    };
    let is_signed =
        |kept: Result<PositionEntry, ReadError>| kept.ok().and_then(|kept| Some(kept.position()?.is_signed));
    assert_eq!(is_signed(read(&signed, "r/s", true, 1, "7012")), Some(true));
    assert_eq!(is_signed(read(&unsigned, "r/s", false, 1, "7012")), Some(false), "of an earlier version");
    for (value, under, must_be_signed, by) in
        [(&unsigned, "r/s", true, 1), (&signed, "r/s", false, 2), (&signed, "r/t", false, 1)]
    {
        assert!(matches!(read(value, under, must_be_signed, by, "7012"), Err(ReadError::Forged)), "{under} {by}");
    }
    assert_eq!(is_signed(read(&signed, "r/s", true, 2, "8")), Some(false), "of another cluster, which is told");
}
