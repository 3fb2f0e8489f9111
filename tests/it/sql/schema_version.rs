//! Registering schema versions, and their immutability.

use anyhow::Context;

use super::database::{Database, refusal, run, text};

const FULL: &str = r#"name => 'order.paid', version => '2.1.0', topic => 'payments', format => 'json',
    schema => '{"type": "object",  "required": ["id"]}', compatibility => 'backward', owner => 'team-pay',
    description => 'an order was paid', sla => '{"freshness_seconds": 5}', lineage => '["payments.ledger"]',
    topic_config => '{"partitions": 6, "replication_factor": 3, "config": {"cleanup.policy": "compact"}}',
    on_violation => 'warn'"#;

fn register(arguments: &str) -> String {
    format!("select outbox.register_schema_version({arguments})")
}

#[tokio::test]
async fn registering_the_same_again_is_a_no_op_whatever_its_white_space() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    assert_eq!(text(&mut connection, &register(FULL)).await?.as_deref(), Some("true"));
    assert_eq!(text(&mut connection, &register(FULL)).await?.as_deref(), Some("false"));
    let reordered =
        FULL.replace(r#"{"type": "object",  "required": ["id"]}"#, r#"{"required":["id"],"type":"object"}"#);
    assert_ne!(reordered, FULL);
    assert_eq!(text(&mut connection, &register(&reordered)).await?.as_deref(), Some("false"));
    let kept = "select schema from outbox.schema_version where name = 'order.paid'";
    assert_eq!(text(&mut connection, kept).await?.as_deref(), Some(r#"{"type": "object",  "required": ["id"]}"#));
    Ok(())
}

#[tokio::test]
async fn registering_a_different_definition_fails_with_each_difference() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, &register(FULL)).await?;
    let changes = [
        ("'payments'", "'payments-2'", r#"topic: "payments", not "payments-2""#),
        ("format => 'json'", "format => 'avro'", r#"format: "json", not "avro""#),
        (
            "[\"id\"]",
            "[\"no\"]",
            r#"schema: {"type": "object", "required": ["id"]}, not {"type": "object", "required": ["no"]}"#,
        ),
        ("'backward'", "'full'", r#"compatibility: "backward", not "full""#),
        ("'team-pay'", "null", r#"owner: "team-pay", not null"#),
        ("'an order was paid'", "'x'", r#"description: "an order was paid", not "x""#),
        ("=> 'warn'", "=> 'halt'", r#"on_violation: "warn", not "halt""#),
        ("=> 'warn'", "=> null", r#"on_violation: "warn", not null"#),
        (": 5}", ": 6}", r#"sla: {"freshness_seconds": 5}, not {"freshness_seconds": 6}"#),
        ("payments.ledger", "x", r#"lineage: ["payments.ledger"], not ["x"]"#),
        ("\"partitions\": 6, ", "", r#"topic_config: {"config": {"cleanup.policy": "compact"}, "partitions": 6"#),
    ];
    for (was, is, difference) in changes {
        let (code, message) = refusal(&mut connection, &register(&FULL.replace(was, is))).await?;
        assert_eq!(code, "WP003", "{message}");
        assert!(message.contains("order.paid/2.1.0") && message.contains(difference), "{message}");
    }
    let both = FULL.replace("'payments'", "'x'").replace("'team-pay'", "'y'");
    let (_, message) = refusal(&mut connection, &register(&both)).await?;
    assert!(message.contains("owner: ") && message.contains("; topic: "), "{message}");
    Ok(())
}

#[tokio::test]
async fn of_concurrent_registrations_one_wins() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut connection = database.connect().await?;
        tasks.spawn(async move {
            let same = text(&mut connection, &register("'raced', '1', 'same'")).await?;
            let own = register(&format!("'raced', '2', 'topic-{number}'"));
            let differs = match run(&mut connection, &own).await {
                Ok(()) => "registered".to_owned(),
                Err(error) => error.as_database_error().and_then(|e| e.code()).context("a code")?.into_owned(),
            };
            anyhow::Ok((same, differs))
        });
    }
    let (mut first, mut registered) = (0, 0);
    while let Some(outcome) = tasks.join_next().await {
        let (same, differs) = outcome??;
        first += i32::from(same.as_deref() == Some("true"));
        match differs.as_str() {
            "registered" => registered += 1,
            code => assert_eq!(code, "WP003"),
        }
    }
    assert_eq!((first, registered), (1, 1));
    Ok(())
}

/// A role that was granted registration after the migrations, without the right to lock.
#[tokio::test]
async fn a_concurrent_registration_of_the_same_version_is_found_without_a_right_to_lock() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let (mut first, mut second) = (database.connect().await?, database.connect().await?);
    let role = format!("walpost_registrar_{}", uuid::Uuid::now_v7().simple());
    run(
        &mut first,
        &format!(
            "create role {role}; grant usage on schema outbox to {role}; \
             grant select, insert on outbox.schema_version to {role}; \
             grant execute on all functions in schema outbox to {role}; \
             revoke execute on function outbox.lock_registration from {role}"
        ),
    )
    .await?;
    run(&mut first, "begin; select outbox.register_schema_version('raced', '1', 'same')").await?;
    run(&mut second, &format!("set role {role}")).await?;
    let waiting = tokio::spawn(async move { text(&mut second, &register("'raced', '1', 'same'")).await });
    let waits =
        "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')";
    while text(&mut first, waits).await?.as_deref() != Some("true") {
        assert!(!waiting.is_finished(), "it waits for the first session");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    run(&mut first, "commit").await?;
    assert_eq!(waiting.await??.as_deref(), Some("false"));
    run(&mut first, &format!("drop owned by {role}; drop role {role}")).await?;
    Ok(())
}

#[tokio::test]
async fn everything_but_the_status_is_immutable() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    run(&mut connection, &register(FULL)).await?;
    let columns: Vec<(String,)> = sqlx::query_as(
        "select attname::text from pg_attribute where attrelid = 'outbox.schema_version'::regclass and attnum > 0",
    )
    .fetch_all(&mut connection)
    .await?;
    assert_eq!(columns.len(), 16, "a new column needs a value here: {columns:?}");
    for (column,) in columns.iter().filter(|(column,)| column != "status") {
        let value = match column.as_str() {
            "ordinal" => "99",
            "registered_at" => "now()",
            // Only whitespace differs.
            "schema" => r#"'{"type": "object", "required": ["id"]}'"#,
            "sla" | "lineage" => "'{}'",
            "topic_config" => "null",
            "format" => "'text'",
            "compatibility" => "'none'",
            "on_violation" => "'halt'",
            _ => "'other'",
        };
        let update = format!("update outbox.schema_version set {column} = {value} where name = 'order.paid'");
        let (code, message) = refusal(&mut connection, &update).await?;
        assert_eq!(code, "WP004", "{column}: {message}");
        assert!(message.contains("order.paid/2.1.0"), "{message}");
    }
    for removal in ["delete from outbox.schema_version", "truncate outbox.schema_version"] {
        assert_eq!(refusal(&mut connection, removal).await?.0, "WP004", "{removal}");
    }
    for status in ["deprecated", "retired", "active"] {
        run(&mut connection, &format!("update outbox.schema_version set status = '{status}'")).await?;
    }
    assert_eq!(refusal(&mut connection, "update outbox.schema_version set status = 'gone'").await?.0, "23514");
    Ok(())
}

#[tokio::test]
async fn the_latest_is_the_last_registered_active_one() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let latest = "select outbox.emittable_version('s', null)";
    let set = |version: &str, status: &str| {
        format!("update outbox.schema_version set status = '{status}' where name = 's' and version = '{version}'")
    };
    for version in ["9", "10", "2"] {
        run(&mut connection, &register(&format!("'s', '{version}', 't'"))).await?;
        assert_eq!(text(&mut connection, latest).await?.as_deref(), Some(version));
    }
    // Registering an old version again does not make it newer.
    run(&mut connection, &register("'s', '9', 't'")).await?;
    assert_eq!(text(&mut connection, latest).await?.as_deref(), Some("2"));
    for (version, status, now) in [("2", "deprecated", "10"), ("9", "retired", "10"), ("2", "active", "2")] {
        run(&mut connection, &set(version, status)).await?;
        assert_eq!(text(&mut connection, latest).await?.as_deref(), Some(now), "after {version} became {status}");
    }
    run(&mut connection, "update outbox.schema_version set status = 'retired' where name = 's'").await?;
    assert_eq!(text(&mut connection, latest).await?, None);
    Ok(())
}

#[tokio::test]
async fn registrations_that_the_relay_cannot_read_are_refused() -> anyhow::Result<()> {
    let database = Database::migrated().await?;
    let mut connection = database.connect().await?;
    let configurations = [
        ("[]", "not a JSON object"),
        (r#"{"partitions": 0}"#, "\"partitions\" is not a whole number from 1"),
        (r#"{"partitions": "6"}"#, "\"partitions\""),
        (r#"{"partitions": 1.5}"#, "\"partitions\""),
        (r#"{"partitions": 2147483648}"#, "\"partitions\""),
        (r#"{"replication_factor": 32768}"#, "\"replication_factor\""),
        (r#"{"config": ["x"]}"#, "\"config\" is not a JSON object"),
        (r#"{"config": {"retention.ms": 1}}"#, "\"config\" has a value that is not a string"),
        (r#"{"retention.ms": "1"}"#, "\"retention.ms\" is none of"),
    ];
    for (configuration, why) in configurations {
        let sql = register(&format!("'t', '1', 't', topic_config => '{configuration}'"));
        let (code, message) = refusal(&mut connection, &sql).await?;
        assert_eq!(code, "22023", "{configuration}: {message}");
        assert!(message.contains(why), "{configuration}: {message}");
    }
    for arguments in [
        "'t', '1', 'no spaces'",
        "'t', '1', '..'",
        "'t', '1', ''",
        "'', '1', 't'",
        "'t', '', 't'",
        "'t', '1', 't', format => 'xml'",
        "'t', '1', 't', compatibility => 'sometimes'",
        "'t', '1', 't', on_violation => 'shrug'",
    ] {
        assert_eq!(refusal(&mut connection, &register(arguments)).await?.0, "23514", "{arguments}");
    }
    run(&mut connection, &register("'no.topic', '1', null, topic_config => '{}'")).await?;
    Ok(())
}
