//! What the topic's last record under a key says.

use uuid::Uuid;

use super::*;
use crate::relay::boundary::{Checkpoint, MacKey, PositionKey, PositionKeys};
use crate::sink::stored_position::Cluster;

#[test]
fn positions_are_in_one_partition_and_on_more_than_one_broker_where_there_are_more() {
    assert!(check_layout(1).is_ok());
    assert!(matches!(check_layout(2), Err(ReadError::Partitioned(2))));
    assert!(is_at_risk(3, Some(1)));
    assert!(!is_at_risk(1, Some(1)) && !is_at_risk(3, Some(2)) && !is_at_risk(3, None));
}

#[test]
fn a_null_value_is_not_a_missing_record() {
    assert!(matches!(entry(None, "k", None), Ok(PositionEntry::Nothing)));
    assert!(matches!(entry(Some(None), "k", None), Ok(PositionEntry::Forgotten)));
    assert!(matches!(entry(Some(Some(b"{}".to_vec())), "k", None), Err(ReadError::Malformed)));
}

fn keys(ids: &[u8]) -> PositionKeys {
    let key = |id: u8| MacKey::new(&[id; 64], &[id + 1; 64]).expect("two blocks");
    let keys = ids.iter().map(|id| PositionKey { id: i64::from(*id), key: key(*id) });
    PositionKeys { keys: keys.collect(), ..PositionKeys::default() }
}

fn stored(keys: &PositionKeys) -> Vec<u8> {
    let cluster = Cluster { system_identifier: "7012".to_owned(), timeline: 2 };
    StoredPosition::new(Checkpoint::default(), cluster, keys).encode("r/s", keys)
}

fn read(value: &[u8], under: &str, keys: &PositionKeys, system: &str) -> Result<Option<i64>, ReadError> {
    let check = Check { keys: keys.clone(), system_identifier: system.to_owned() };
    let found = entry(Some(Some(value.to_vec())), under, Some(&check))?;
    Ok(found.position().expect("there is one").signed_by)
}

#[test]
fn case_39_positions_are_signed_per_key_and_unsigned_ones_are_refused_after_the_first() {
    let (signed, unsigned) = (stored(&keys(&[1])), stored(&keys(&[])));
    let (upgraded, known) = (keys(&[9, 1]), PositionKeys { must_be_signed: true, ..keys(&[9, 1]) });
    assert!(matches!(read(&signed, "r/s", &known, "7012"), Ok(Some(1))));
    assert!(matches!(read(&unsigned, "r/s", &upgraded, "7012"), Ok(None)), "of an earlier version");
    for (value, under, keys) in
        [(&unsigned, "r/s", &known), (&signed, "r/s", &keys(&[9, 2])), (&signed, "r/t", &upgraded)]
    {
        assert!(matches!(read(value, under, keys, "7012"), Err(ReadError::Forged)), "{under} {keys:?}");
    }
    assert!(matches!(read(&signed, "r/s", &keys(&[2]), "8"), Ok(None)), "of another cluster, which is reported");
}

#[test]
fn case_39_a_position_of_another_epoch_was_forgotten() {
    let of = |epoch| PositionKeys { epoch: Some(Uuid::from_u128(epoch)), must_have_epoch: true, ..keys(&[1]) };
    let (before, now) = (stored(&of(1)), stored(&of(2)));
    assert!(matches!(read(&now, "r/s", &of(2), "7012"), Ok(Some(1))));
    assert!(matches!(read(&before, "r/s", &of(2), "7012"), Err(ReadError::Forgotten)));
    assert!(matches!(read(&stored(&keys(&[1])), "r/s", &of(2), "7012"), Err(ReadError::Forgotten)));
    let downgraded = PositionKeys { must_have_epoch: false, ..of(2) };
    assert!(matches!(read(&stored(&keys(&[1])), "r/s", &downgraded, "7012"), Ok(Some(1))), "of an earlier version");
    let text = String::from_utf8(before)
        .expect("JSON is text")
        .replace(&Uuid::from_u128(1).to_string(), &Uuid::from_u128(2).to_string());
    assert!(matches!(read(text.as_bytes(), "r/s", &of(2), "7012"), Err(ReadError::Forged)), "it is signed");
}
