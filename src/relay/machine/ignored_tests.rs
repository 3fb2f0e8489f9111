use std::time::Instant;

use crate::relay::boundary::{Batch, Lsn};
use crate::relay::limits::IGNORED_TABLES_MAX;
use crate::relay::{Core, Idle, Settings};
use crate::source::TableName;
use crate::source::frames::{FrameWriter, RelationFrame};

fn table(oid: u32) -> RelationFrame {
    let table = TableName { schema: "shop".to_owned(), name: format!("table_{oid}") };
    RelationFrame { oid, table, ..RelationFrame::outbox_event(&[("id", 2_950)]) }
}

fn core() -> Core {
    Core::new(Settings::of_tests())
}

/// Streams a transaction with a row of each of these tables; returns what is reported.
fn stream(core: &mut Core, commit: Lsn, oids: &[u32]) -> Vec<String> {
    let mut writer = FrameWriter { bytes: Vec::new(), commit, committed_at: 0 };
    writer.begin().expect("short");
    for oid in oids {
        writer.relation(&table(*oid)).expect("short");
        writer.insert(&table(*oid), [Some(&[7; 16][..])]).expect("short");
    }
    writer.commit(Lsn(commit.0 + 50)).expect("short");
    core.handle_batch(Batch { bytes: writer.bytes.into() });
    let idle = core.poll(Instant::now(), |_, _| panic!("there is no event")).expect("nothing is wrong with these rows");
    assert_eq!(idle, Idle::Input);
    std::iter::from_fn(|| core.poll_ignored_table()).collect()
}

#[test]
fn rows_of_other_tables_are_counted_and_the_first_of_each_is_reported() {
    let mut core = core();
    core.handle_connected(Lsn(0));
    assert_eq!(stream(&mut core, Lsn(100), &[7, 8, 7]), ["shop.table_7", "shop.table_8"]);
    assert_eq!(core.counters().ignored_rows, 3);
    assert_eq!(core.flush(), Lsn(150));
    assert_eq!(stream(&mut core, Lsn(200), &[7, 9]), ["shop.table_9"]);
    // Sent again after a reconnection: nothing new.
    core.handle_connected(Lsn(150));
    assert_eq!(stream(&mut core, Lsn(200), &[7, 9, 10]), ["shop.table_10"]);
}

#[test]
fn reports_are_limited_in_number_and_rows_are_counted_all_the_same() {
    let mut core = core();
    core.handle_connected(Lsn(0));
    let most = u32::try_from(IGNORED_TABLES_MAX).expect("small");
    let oids: Vec<u32> = (0..most + 10).map(|number| 20_000 + number).collect();
    assert_eq!(stream(&mut core, Lsn(100), &oids).len(), IGNORED_TABLES_MAX);
    assert_eq!(core.counters().ignored_rows, u64::from(most) + 10);
}
