//! Settings that administrators change in an emergency.

use walpost::lab::sandbox::PostgresOptions;

use crate::harness::{Harness, PATIENCE, Relay, config, program};

#[tokio::test(flavor = "multi_thread")]
async fn case_36_neither_a_read_only_default_nor_any_synchronous_standby_blocks_the_relay() {
    let harness = Harness::with_own_postgres("emergency", PostgresOptions::default()).await;
    harness.migrate().await;
    harness.register("order.placed").await;
    harness.execute(&format!("alter database {} set default_transaction_read_only = on", harness.name())).await;
    let emit = |key: &str| format!("begin read write; select outbox.emit('order.placed', '{key}', '1'); commit");
    harness.execute(&emit("before")).await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    harness.consume(&harness.topic("order.placed"), 1).await;
    let slot = harness.name();
    harness.wait_for(&format!("select backfill = 'done' from outbox.relay where slot = '{slot}'")).await;
    // Partitions are created ahead.
    harness.wait_for("select count(*) > 5 from pg_inherits where inhparent = 'outbox.event'::regclass").await;

    harness.execute("alter system set synchronous_standby_names = '*'").await;
    harness.execute("select pg_reload_conf()").await;
    relay.wait_for("recognized", |status| status["synchronous_standby"] == true).await;
    relay.wait_for_log("synchronous_standby_names").await;
    let commits = async {
        for number in 0..30 {
            harness.execute(&emit(&number.to_string())).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, commits).await.is_ok(), "commits wait for the relay");
    harness.consume(&harness.topic("order.placed"), 31).await;

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    std::fs::write(&path, config(&harness, "")).expect("the configuration is written");
    let doctor = program::run("doctor", &["--config", path.to_str().expect("UTF-8")]);
    for check in ["default_transaction_read_only is on", "makes the relay a synchronous standby"] {
        assert!(doctor.stdout.contains(check), "{}", doctor.stdout);
    }
    harness.execute("alter system reset synchronous_standby_names").await;
    harness.execute("select pg_reload_conf()").await;
    assert_eq!(relay.terminate().await.code(), Some(0));
}
