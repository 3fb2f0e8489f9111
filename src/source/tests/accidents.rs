//! Everything that is required and missing: a definite error, in one line, with the fix.

use std::sync::OnceLock;

use super::decoded::{lost, read_payloads};
use super::{Outbox, connect, lease_of};
use crate::postgres::Connection;
use crate::postgres::scratch::{Scratch, eventually};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::relay::decode::layout_error::LayoutError;
use crate::relay::decode::outbox::Column;
use crate::relay::decode::role::Role;
use crate::relay::resume::LeaseAcquisition;
use crate::source::{Lease, SourceError};

/// Matches the error's variant, including its fields, and its one line.
macro_rules! assert_error {
    ($error:expr, $fix:expr, $($pattern:tt)+) => {
        let error = $error;
        assert!(matches!(&error, $($pattern)+), "{error:?}");
        let line = error.to_string();
        assert!(line.contains($fix) && !line.contains('\n'), "{line}");
    };
}

#[tokio::test]
async fn publications_and_tables_that_do_not_fit() {
    let outbox = Outbox::new(Scratch::shared(), "publications");
    outbox.sql("drop publication outbox");
    assert_error!(
        outbox.error().await,
        "create publication \"outbox\" for table \"outbox\".\"event\"",
        SourceError::PublicationMissing { .. }
    );
    // The fix that the message names works.
    outbox.sql("create publication outbox with (publish = 'insert', publish_via_partition_root = true)");
    assert_error!(
        outbox.error().await,
        "alter publication \"outbox\" add table \"outbox\".\"event\"",
        SourceError::PublicationLacksTable { .. }
    );
    outbox.sql("alter publication outbox add table outbox.event; alter publication outbox set (publish = 'update')");
    assert_error!(outbox.error().await, "set (publish = 'insert')", SourceError::PublicationWithoutInserts { .. });
    outbox.sql(
        "alter publication outbox set (publish = 'insert', publish_via_partition_root = false); drop table outbox.event;
         create table outbox.event (payload text) partition by list (payload);
         create table outbox.event_all partition of outbox.event default; alter publication outbox add table outbox.event",
    );
    assert_error!(
        outbox.error().await,
        "set (publish_via_partition_root = true)",
        SourceError::PublicationByPartition { .. }
    );
    outbox.sql("drop table outbox.event");
    assert_error!(outbox.error().await, "walpost migrate", SourceError::TableMissing { .. });
    // A check leaves nothing behind.
    assert_eq!(outbox.value("select count(*) from pg_replication_slots where database = 'publications'"), "0");
}

#[tokio::test]
async fn a_missing_required_column_is_reported() {
    let mut outbox = Outbox::new(Scratch::shared(), "columns");
    let key = Column { role: Role::Key, name: "key".to_owned(), needed: true };
    outbox.options.tables[0].outbox.columns.push(key);
    assert_error!(
        outbox.error().await,
        "add the column",
        SourceError::Layout(misfit) if matches!(&**misfit, LayoutError::MissingColumn { column, .. } if column == "key")
    );
}

#[tokio::test]
async fn a_column_dropped_before_its_table_is_read_is_reported_by_the_next_attempt() {
    let mut outbox = Outbox::new(Scratch::shared(), "altered");
    outbox.sql(
        "create table outbox.second (like outbox.event including all); alter publication outbox add table outbox.second;
         insert into outbox.event (payload) select repeat('x', 10000) from generate_series(1, 3000)",
    );
    let mut second = outbox.options.tables[0].clone();
    second.table.name = "second".to_owned();
    second.outbox.table = "second".to_owned();
    outbox.options.tables.push(second);
    let mut source = outbox.connect().await;
    // More than the channel holds is before the second table, so it has not been read yet.
    outbox.sql("alter table outbox.second drop column payload");
    let error = lost(&mut source.stream).await;
    assert!(error.is_transient(), "{error}");
    assert_error!(error, "\"outbox\".\"second\"", SourceError::TableAltered { .. });
    drop(source);
    assert_error!(outbox.error().await, "add the column", SourceError::Layout(_));
}

#[tokio::test]
async fn unusable_slots_are_reported() {
    let outbox = Outbox::new(Scratch::shared(), "slots");
    let kind = |sql: &str| {
        outbox.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'slots'");
        outbox.sql(sql);
    };
    kind("select pg_create_physical_replication_slot('slots')");
    assert_error!(outbox.error().await, "pg_drop_replication_slot('slots')", SourceError::SlotPhysical { .. });
    kind("select pg_create_logical_replication_slot('slots', 'test_decoding')");
    assert_error!(outbox.error().await, "not pgoutput", SourceError::SlotPlugin { plugin, .. } if plugin == "test_decoding");
    kind("select 1");
    outbox.server.sql("select pg_create_logical_replication_slot('slots', 'pgoutput')");
    assert_error!(outbox.error().await, "connect to postgres", SourceError::SlotDatabase { found, .. } if found == "postgres");
    kind("select 1");
    let mut wrong = outbox.options.clone();
    wrong.slot = "Wal-Post".to_owned();
    assert_error!(connect(&wrong, None).await.expect_err("no name"), "0-9 and _", SourceError::SlotName(_));
}

#[tokio::test]
async fn a_lease_is_new_until_the_slot_is_inspected() {
    let outbox = Outbox::new(Scratch::shared(), "acquisition");
    let lease = Lease::new(outbox.options.connect.clone(), outbox.options.slot.clone());
    let tenures = tokio::task::spawn_blocking(move || {
        let take = || lease.take().expect("nobody has it");
        let before = [take(), take()];
        lease.settle();
        (before, lease.take().expect("it is held"))
    });
    assert_eq!(tenures.await.expect("no panic"), ([LeaseAcquisition::New; 2], LeaseAcquisition::Kept));
}

#[tokio::test]
async fn a_slot_created_by_something_else_is_adopted() {
    let outbox = Outbox::new(Scratch::shared(), "adopted");
    outbox.insert(&["before"]);
    outbox.sql("select pg_create_logical_replication_slot('adopted', 'pgoutput')");
    outbox.insert(&["after"]);
    let mut source = outbox.connect().await;
    assert_eq!((source.backfill_end, source.stream.confirmed()), (None, None));
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["after"]);
    assert_eq!(outbox.value("select backfill from outbox.relay"), "done");
}

#[tokio::test]
async fn a_held_slot_names_its_process_and_can_be_taken_later() {
    let outbox = Outbox::new(Scratch::shared(), "held");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    let error = outbox.rival().await.expect_err("the lease is taken");
    assert!(error.is_transient());
    assert_error!(error, "pg_terminate_backend(", SourceError::SlotHeld { pid: Some(_), .. });
    // Another program that streams from it has no lease, and is not terminated.
    source.stream.stop().await.expect("an orderly end");
    let other = outbox.options.connect.clone().or_application_name("psql");
    let mut foreign = Connection::open_replication(&other).expect("a replication connection");
    foreign
        .start_copy_both(b"START_REPLICATION SLOT held LOGICAL 0/0 (proto_version '1', publication_names 'outbox')")
        .expect("a stream");
    let error = outbox.error().await;
    let pid = foreign.process_id();
    assert_error!(error, "is held by process", SourceError::SlotHeld { pid: Some(found), .. } if *found == pid);
    drop(foreign);
    let _freed: String = eventually("the slot", || Some(outbox.slot("active")).filter(|active| active == "f"));
    // What this process has left behind is terminated.
    let source = outbox.connect().await;
    outbox.connect().await;
    drop(source);
}

#[tokio::test]
async fn a_slot_that_another_relay_is_backfilling_is_left_alone() {
    let outbox = Outbox::new(Scratch::shared(), "filling");
    outbox.sql("insert into outbox.event (payload) select repeat('x', 10000) from generate_series(1, 3000)");
    let mut source = outbox.connect().await;
    assert_eq!(outbox.slot("active"), "f");
    let error = outbox.rival().await.expect_err("the lease is taken");
    assert_error!(error, "is held by process", SourceError::SlotHeld { pid: Some(_), .. });
    assert_eq!(read_payloads(&mut source.stream, 3000).await.0.len(), 3000);
}

#[tokio::test]
async fn a_missing_moved_or_rewound_slot_is_always_reported() {
    let outbox = Outbox::new(Scratch::shared(), "gone");
    let mut source = outbox.connect().await;
    let (_, confirmed) = read_payloads(&mut source.stream, 0).await;
    source.stream.confirm(confirmed);
    source.stream.stop().await.expect("an orderly end");
    lease_of(&outbox.options).note_backfill().await.expect("noted");

    outbox.insert(&["skipped by another hand"]);
    outbox.sql("select pg_replication_slot_advance('gone', pg_current_wal_lsn())");
    let error = connect(&outbox.options, Some(Resume::Confirmed(confirmed))).await.expect_err("a gap");
    assert!(!error.is_transient());
    assert_error!(error, "something other than this relay", SourceError::SlotAdvanced { expected, .. } if *expected == confirmed);

    let far = Lsn(u64::MAX / 2);
    let error = connect(&outbox.options, Some(Resume::Confirmed(far))).await.expect_err("a server from a backup");
    assert_error!(error, "restored from a backup", SourceError::ServerRewound { expected, .. } if *expected == far);

    outbox.sql("select pg_drop_replication_slot('gone')");
    let error = outbox.error().await;
    assert!(!error.is_transient());
    assert_error!(error, "run `walpost slot recreate`", SourceError::SlotMissing { .. });

    outbox.sql("update outbox.relay set system_identifier = '1'");
    assert_error!(outbox.error().await, "restored elsewhere", SourceError::SystemChanged { stored, .. } if stored == "1");
}

#[tokio::test]
async fn a_slot_whose_wal_was_removed_is_reported() {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        Scratch::start(&[("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")])
    });
    let outbox = Outbox::new(server, "invalidated");
    let mut source = outbox.connect().await;
    read_payloads(&mut source.stream, 0).await;
    source.stream.stop().await.expect("an orderly end");
    lease_of(&outbox.options).note_backfill().await.expect("noted");
    eventually("the slot to be invalidated", || {
        outbox.sql("select pg_logical_emit_message(false, 'x', 'x'); select pg_switch_wal()");
        outbox.sql("checkpoint");
        (outbox.slot("wal_status") == "lost").then_some(())
    });
    assert_error!(outbox.error().await, "run `walpost slot recreate`", SourceError::SlotLost { .. });
    // A slot from which nothing was confirmed has lost nothing.
    outbox.sql("update outbox.relay set backfill = 'pending'");
    assert!(outbox.connect().await.backfill_end.is_some());
}

#[tokio::test]
async fn missing_roles_and_grants_are_reported() {
    let outbox = Outbox::new(Scratch::shared(), "roles");
    let as_role = |role: &str| {
        let mut options = outbox.options.clone();
        options.connect = outbox.server.options(role, "password=secret").with_database("roles");
        options
    };
    outbox.sql("drop table outbox.relay");
    assert_error!(outbox.error().await, "walpost migrate", SourceError::MigrationsMissing { database } if database == "roles");
    outbox.sql("drop publication outbox; drop schema outbox cascade");
    outbox.sql(super::TABLES);
    let error = connect(&as_role("plain"), None).await.expect_err("no replication");
    assert_error!(error, "alter role \"plain\" replication", SourceError::NoReplicationRole { role, .. } if role == "plain");
    outbox.sql("grant usage on schema outbox to scram");
    let error = connect(&as_role("scram"), None).await.expect_err("no grants");
    assert_error!(error, "walpost migrate --relay-role scram", SourceError::NoPrivilege { role, .. } if role == "scram");
    outbox.sql(
        "grant select, insert, update on outbox.relay, outbox.lease to scram; grant select on outbox.secret to scram",
    );
    let mut source = connect(&as_role("scram"), None).await.expect("a stream");
    let error = super::decoded::lost(&mut source.stream).await;
    assert_error!(
        error,
        "walpost migrate --relay-role scram",
        SourceError::NoPrivilege { doing: "read the outbox tables", .. }
    );
    drop(source);
    // These grants are all it takes.
    outbox.sql("grant select on outbox.event to scram");
    outbox.insert(&["seen"]);
    let mut source = loop {
        match connect(&as_role("scram"), None).await {
            Err(SourceError::SlotHeld { .. }) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            other => break other.expect("a stream"),
        }
    };
    assert_eq!(read_payloads(&mut source.stream, 1).await.0, ["seen"]);
    source.stream.stop().await.expect("an orderly end");
    lease_of(&as_role("scram")).note_backfill().await.expect("noted");
}

#[tokio::test]
async fn a_server_without_free_slots_walsenders_or_logical_wal_is_reported() {
    static SERVER: OnceLock<Scratch> = OnceLock::new();
    let server = SERVER.get_or_init(|| Scratch::start(&[("max_replication_slots", "1"), ("max_wal_senders", "1")]));
    let outbox = Outbox::new(server, "limits");
    outbox.sql("select pg_create_physical_replication_slot('other')");
    let error = outbox.error().await;
    assert_error!(error, "max_replication_slots", SourceError::SlotsUsedUp { limit: 1 });
    outbox.sql("select pg_drop_replication_slot('other')");
    let other = Connection::open_replication(&outbox.options.connect).expect("the only walsender");
    let error = outbox.error().await;
    assert_error!(error, "max_wal_senders", SourceError::SendersUsedUp { limit: 1 });
    other.close();
    eventually("the walsender to end", || {
        (outbox.value("select count(*) from pg_stat_replication") == "0").then_some(())
    });
    outbox.connect().await;

    static REPLICA: OnceLock<Scratch> = OnceLock::new();
    let server = REPLICA.get_or_init(|| Scratch::start(&[("wal_level", "replica")]));
    let outbox = Outbox::new(server, "level");
    assert_error!(outbox.error().await, "alter system set wal_level = logical", SourceError::WalLevel { found, .. } if found == "replica");
}
