//! Tests of how dead letters are split into transactions.

use super::*;

fn item(offset: i64) -> Item {
    let record = |bytes| OwnedRecord {
        topic: "t".to_owned(),
        key: None,
        value: Some(vec![0; bytes]),
        headers: Vec::new(),
        timestamp_millis: 0,
    };
    let dead_letter = DeadLetterId { partition: 0, offset };
    let redriven = Redriven { dead_letter, event: None, topic: "t".to_owned(), version: None };
    Item { redriven, record: record(900), mark: record(100) }
}

#[test]
fn case_35_a_batch_that_timed_out_is_split_and_stays_in_order() {
    let mut size = TransactionSize::new(250, 4 << 20, Duration::from_secs(60));
    let mut waiting: VecDeque<Item> = (0..100).map(item).collect();
    let part = first_part(&mut waiting, &size);
    assert_eq!((part.len(), waiting.len()), (100, 0));
    assert!(size.aborted(100, 100_000, Duration::from_secs(30)));
    part.into_iter().rev().for_each(|item| waiting.push_front(item));
    let parts: Vec<Vec<Item>> = std::iter::from_fn(|| {
        let part = first_part(&mut waiting, &size);
        (!part.is_empty()).then_some(part)
    })
    .collect();
    assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [50, 50]);
    assert!(parts.iter().flatten().map(|item| item.redriven.dead_letter.offset).eq(0..100));
    for _ in 0..20 {
        size.aborted(1, 1_000, Duration::from_secs(30));
    }
    waiting.extend([item(0), item(1)]);
    assert_eq!(first_part(&mut waiting, &size).len(), 1, "one always fits");
}
