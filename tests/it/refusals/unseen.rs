//! Commits that are streamed before other sessions can see them.

use walpost::lab::sandbox::{Durability, PostgresOptions};

use super::{emit, values};
use crate::harness::{Harness, Relay};

#[tokio::test(flavor = "multi_thread")]
async fn case_40_a_version_registered_with_its_event_is_known_while_the_commit_waits_for_a_standby() {
    let options = PostgresOptions { durability: Durability::NoFsync, ..PostgresOptions::default() };
    let harness = Harness::with_own_postgres("unseen", options).await;
    harness.migrate().await;
    let mut relay = Relay::start(&harness, "");
    relay.ready().await;
    let standbys = |names: &str| format!("alter system set synchronous_standby_names = '{names}'");
    harness.execute(&standbys("nobody")).await;
    harness.execute("select pg_reload_conf()").await;
    harness.wait_for("select current_setting('synchronous_standby_names') = 'nobody'").await;

    let (topic, session) = (harness.topic("new.one"), harness.session().await);
    let both =
        format!("select outbox.register_schema_version('new.one', '1', '{topic}'); {}", emit("new.one", "k", "1"));
    let commit = tokio::spawn(async move { session.batch_execute(&both).await });
    relay.wait_for_log("its commit waits for a synchronous standby").await;
    assert!(!commit.is_finished());
    harness.execute(&standbys("")).await;
    harness.execute("select pg_reload_conf()").await;
    commit.await.expect("no panic").expect("the commit is over");
    assert_eq!(values(&harness.consume(&topic, 1).await), ["1"]);
    assert!(!relay.log().contains("event refused"), "{}", relay.log());
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}
