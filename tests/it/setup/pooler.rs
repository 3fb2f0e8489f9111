//! Behind a connection pooler, sessions are shared: a setting or a lock of ours would be another client's.

use crate::harness::program::{Ended, run};
use crate::harness::{Harness, Pooler, config};
use crate::setup::ended_with;

/// What a client of the pooler finds set in the session that it is given.
async fn session_settings(harness: &Harness, pooler: &Pooler) -> String {
    let client = harness.session_at(pooler.url()).await;
    // These two are each client's, also for the pooler.
    let rows = client.simple_query(
        "select coalesce(string_agg(name || ' = ' || setting, ', '), 'none') from pg_settings \
         where source = 'session' and name not in ('application_name', 'client_encoding')",
    );
    let rows = rows.await.expect("the pooler passes queries on");
    let row = rows.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    row.expect("an aggregate has a row").to_owned()
}

fn is_refused(command: &str, ended: &Ended) {
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code(), Some(69), "{command}: {said}");
    assert!(said.contains("connection pooler") && said.contains("connect to the server directly"), "{command}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_46_no_command_leaves_settings_or_locks_in_a_poolers_sessions() {
    let harness = Harness::migrated("pooler").await;
    harness.register("order.placed").await;
    harness.execute("select outbox.emit('order.placed', 'a', '1')").await;
    let pooler = Pooler::before(&harness).await;
    let clean = session_settings(&harness, &pooler).await;
    let pooled = config(&harness, "").replace(harness.url(), pooler.url());

    for command in [
        "doctor",
        "run",
        "slot recreate",
        "slot adopt",
        "slot skip --lsn 0/1",
        "bookmark create before",
        "replay --from-lsn 0/1 --dry-run",
        "replay --from-table --dry-run",
    ] {
        is_refused(command, &ended_with(&pooled, command));
        assert_eq!(session_settings(&harness, &pooler).await, clean, "{command}");
    }
    // What needs no session of its own works.
    for command in ["status", "bookmark list", "contract list"] {
        let ended = ended_with(&pooled, command);
        assert_eq!(ended.code(), Some(0), "{command}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(session_settings(&harness, &pooler).await, clean, "{command}");
    }
    let migrated = run("migrate", &["--database-url", pooler.url()]);
    assert_eq!(migrated.code(), Some(0), "{}", migrated.stderr);
    assert_eq!(session_settings(&harness, &pooler).await, clean);

    let locks = "select count(*)::text from pg_locks where locktype = 'advisory' and database = \
                 (select oid from pg_database where datname = current_database())";
    assert_eq!(harness.query_text(locks).await.as_deref(), Some("0"));
}
