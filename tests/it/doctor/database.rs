//! Schema, publication, grants.

use expect_test::expect;

use super::{broken_by, examine};
use crate::harness::{Harness, Relay, config};

#[tokio::test(flavor = "multi_thread")]
async fn case_24_the_publication() {
    let harness = Harness::migrated("doctor_publication").await;
    let config = config(&harness, "");
    let mut reported = String::new();
    let back = "alter publication outbox set (publish = 'insert', publish_via_partition_root = true)";
    for (damage, fix) in [
        ("alter publication outbox drop table outbox.event", "alter publication outbox add table outbox.event"),
        ("alter publication outbox set (publish_via_partition_root = false)", back),
        ("alter publication outbox set (publish = 'insert, update')", back),
        (
            "alter publication outbox set table outbox.event where (key <> 'x')",
            "alter publication outbox set table outbox.event",
        ),
    ] {
        // After a failed check, the checks that depend on it are skipped.
        harness.execute(damage).await;
        let found = examine(&config);
        reported += &format!("{}\n", found.of(&harness, "publication").join("\n"));
        reported +=
            &found.of(&harness, "replica_identity").iter().map(|line| format!("  {line}\n")).collect::<String>();
        let expected = if damage.contains("update") { 0 } else { 69 };
        assert_eq!(found.code, Some(expected), "{found:?}");
        harness.execute(fix).await;
        assert_eq!(examine(&config).not_ok(), [("max_slot_wal_keep_size", "warning")]);
    }
    expect![[r#"
        failure: publication outbox lacks table "outbox"."event": run `alter publication "outbox" add table "outbox"."event"`
        failure: publication outbox publishes the partitions of "outbox"."event" under their own names: run `alter publication "outbox" set (publish_via_partition_root = true)`
        ok: outbox has table "outbox"."event"
          warning: publication outbox also publishes updates or deletes, which the relay ignores and Postgres refuses on a table without a replica identity: run `alter publication "outbox" set (publish = 'insert')`
        failure: publication outbox excludes rows of "outbox"."event" by a row filter, where ((key <> 'x'::text)): run `alter publication "outbox" drop table "outbox"."event"; alter publication "outbox" add table "outbox"."event"`
    "#]]
    .assert_eq(&reported);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_migrations_and_partitions_are_checked() {
    let harness = Harness::migrated("doctor_schema").await;
    let config = config(&harness, "");
    let mut reported = String::new();
    for (damage, fix) in [
        (
            "update outbox._migrations set version = 999 where version = 1",
            "update outbox._migrations set version = 1 where version = 999",
        ),
        (
            "update outbox._migrations set checksum = checksum || 'x' where version = 2",
            "update outbox._migrations set checksum = substr(checksum, 1, 48) where version = 2",
        ),
        (
            "create table outbox.backup as select * from outbox._migrations; insert into outbox._migrations \
             select 999, description, installed_on, success, checksum, execution_time from outbox._migrations where version = 1",
            "delete from outbox._migrations where version = 999; drop table outbox.backup",
        ),
        (
            "do $$ declare p record; begin for p in select * from outbox.event_partitions() loop \
             execute format('drop table outbox.%I', p.name); end loop; end $$",
            "select outbox.maintain(retention => null)",
        ),
    ] {
        reported += &broken_by(&harness, &config, damage, fix).await;
    }
    expect![[r#"
        migrations: failure: migration 1 (schema versions) is missing: run `walpost migrate`
        migrations: failure: migration 2 was applied with different SQL: compare `walpost migrate --print` with the database
        migrations: warning: migration 999 comes from a newer walpost: upgrade the relay
        partitions: warning: outbox.event has no partition for tomorrow, so rows would go to outbox.event_default: start the relay, which creates partitions, or run `select * from outbox.maintain(retention => null)`
    "#]]
    .assert_eq(&reported);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_the_relays_role() {
    let harness = Harness::migrated("doctor_role").await;
    let role = format!("{}_relay", harness.name());
    harness.execute(&format!("create role {role} login password 'hunter2' replication")).await;
    let migrate = ["migrate", "--database-url", harness.url(), "--relay-role", &role];
    assert!(crate::harness::walpost().args(migrate).output().expect("the binary runs").status.success());
    let mut url = url::Url::parse(harness.url()).expect("a URL");
    url.set_username(&role).and_then(|()| url.set_password(Some("hunter2"))).expect("the URL has a host");
    let config = config(&harness, "").replace(harness.url(), url.as_str());
    let found = examine(&config);
    assert_eq!((found.code, found.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{found:?}");
    let migrations = found.of(&harness, "migrations");
    assert!(migrations[0].ends_with("applied, none missing"), "{migrations:?}");
    let mut reported = String::new();
    let policy = "alter table outbox.event enable row level security";
    for (damage, fix) in [
        (format!("alter role {role} noreplication"), format!("alter role {role} replication")),
        (format!("revoke update on outbox.relay from {role}"), format!("grant update on outbox.relay to {role}")),
        (format!("revoke select on outbox.event from {role}"), format!("grant select on outbox.event to {role}")),
        (
            format!("revoke execute on function outbox.maintain(interval, integer) from {role}"),
            format!("grant execute on function outbox.maintain(interval, integer) to {role}"),
        ),
        (policy.to_owned(), policy.replace("enable", "disable")),
    ] {
        reported += &broken_by(&harness, &config, &damage, &fix).await;
    }
    expect![[r#"
        replication: failure: role db_relay lacks the REPLICATION attribute: run `alter role "db_relay" replication`
        rights: failure: role db_relay may not use all of schema outbox that the relay needs: run `walpost migrate --relay-role db_relay` as the schema's owner
        rights: failure: role db_relay may not use all of schema outbox that the relay needs: run `walpost migrate --relay-role db_relay` as the schema's owner
        rights: failure: role db_relay may not use all of schema outbox that the relay needs: run `walpost migrate --relay-role db_relay` as the schema's owner
        row_security: failure: policies hide rows of "outbox"."event" from this role, and the first start reads the table: run `alter role "db_relay" bypassrls`
    "#]]
    .assert_eq(&reported);
    assert!(!format!("{:?}", examine(&config)).contains("hunter2"), "a password is shown");
    harness.execute(&format!("drop owned by {role}; drop role {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_table_is_checked_too() {
    let harness = Harness::migrated("doctor_table").await;
    let tables = "[[outbox]]\ntable = 'outbox.event'\n[[outbox]]\ntable = 'public.parcel'\ntopic = 'parcels'\n";
    let config = config(&harness, tables);
    let found = examine(&config);
    let lines = found.of(&harness, "publication");
    assert!(
        lines.len() == 2 && lines[1].starts_with("failure: table \"public\".\"parcel\" does not exist"),
        "{lines:?}"
    );
    harness.execute("create table public.parcel (id uuid, key text, payload json, created_at timestamptz)").await;
    let before = examine(&config);
    assert!(before.of(&harness, "publication")[1].contains("lacks table"), "{before:?}");
    harness.execute("alter publication outbox add table public.parcel").await;
    let after = examine(&config);
    assert_eq!((after.code, after.not_ok()), (Some(0), vec![("max_slot_wal_keep_size", "warning")]), "{after:?}");
    // The configured tables replace the default.
    let alone = crate::harness::config(&harness, "[[outbox]]\ntable = 'public.parcel'\ntopic = 'parcels'\n");
    let stray = &examine(&alone).of(&harness, "publication")[1];
    assert!(stray.starts_with("warning: outbox has table \"outbox\".\"event\", but no [[outbox]] names"), "{stray}");
    let mut relay = Relay::start_with(&alone);
    relay.wait_for_log("table is in the publication but not in the configuration").await;
    relay.ready().await;
    harness.register("order.placed").await;
    for _ in 0..2 {
        harness.execute("select outbox.emit('order.placed', '1', '{}')").await;
    }
    relay.wait_for_log("row not published: its table is in the publication, but no [[outbox]] names it").await;
    harness.execute("insert into public.parcel values (gen_random_uuid(), 'k', '{}', now())").await;
    relay.wait_for("the record of the parcel", |status| status["events"] == 1).await;
    let metrics = relay.get("/metrics").await.expect("the relay answers").1;
    assert!(metrics.contains("walpost_ignored_rows_total 2"), "{metrics}");
    assert_eq!(relay.log().matches("row not published").count(), 1, "{}", relay.log());
}
