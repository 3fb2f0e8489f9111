//! Roles with too few grants, and with exactly enough; passwords that are never shown.

use expect_test::expect;

use super::{config_as, run_fix, unavailable, url_as, works};
use crate::harness::{Harness, Relay, config, walpost};

const PASSWORD: &str = "hunter2-of-this-test";

/// A role for this test, dropped with its grants at the end.
struct Role<'a> {
    harness: &'a Harness,
    name: String,
}

impl<'a> Role<'a> {
    async fn create(harness: &'a Harness, name: &str, attributes: &str) -> Self {
        let name = format!("{}_{name}", harness.name());
        harness.execute(&format!("create role {name} login password '{PASSWORD}' {attributes}")).await;
        Self { harness, name }
    }

    async fn drop(self) {
        let Self { harness, name } = self;
        harness.execute(&format!("drop owned by {name}; drop role {name}")).await;
    }

    fn config(&self) -> String {
        config_as(self.harness, &self.name, PASSWORD)
    }
}

fn migrate(harness: &Harness, arguments: &[&str]) -> String {
    let output = walpost().args(["migrate", "--database-url", harness.url()]).args(arguments).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the report is text").replace(harness.name(), "db")
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_role_without_replication_or_grants_is_named() {
    let harness = Harness::migrated("poor_roles").await;
    let role = Role::create(&harness, "relay", "").await;
    let message = unavailable(&harness, &role.config()).await;
    expect![[r#"walpost: role db_relay lacks the REPLICATION attribute: run `alter role "db_relay" replication`"#]]
        .assert_eq(&message);
    run_fix(&harness, "", &message).await;

    let message = unavailable(&harness, &role.config()).await;
    expect!["walpost: role db_relay may not read outbox.relay: run `walpost migrate --relay-role db_relay` as the schema's owner"].assert_eq(&message);
    expect![[r#"
        schema outbox is up to date
        role db_relay can run the relay
    "#]]
    .assert_eq(&migrate(&harness, &["--relay-role", &role.name]));

    // This grant is only needed to read the rows from before the slot.
    harness.execute(&format!("revoke select on outbox.event from {}", role.name)).await;
    let message = unavailable(&harness, &role.config()).await;
    expect!["walpost: role db_relay may not read the outbox tables: run `walpost migrate --relay-role db_relay` as the schema's owner"].assert_eq(&message);
    migrate(&harness, &["--relay-role", &role.name]);
    works(&harness, &role.config()).await;
    role.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_relay_and_writer_need_only_their_grants() {
    let harness = Harness::migrated("least_rights").await;
    let relay_role = Role::create(&harness, "relay", "replication").await;
    let writer_role = Role::create(&harness, "writer", "").await;
    migrate(&harness, &["--relay-role", &relay_role.name, "--writer-role", &writer_role.name]);
    harness.register("order.placed").await;
    let writer = harness.session_at(&url_as(&harness, &writer_role.name, PASSWORD)).await;
    // One exists before the slot, so that the first backfill runs with these grants too.
    writer.batch_execute("select outbox.emit('order.placed', 'k', '1')").await.expect("the writer may emit");
    let retention = relay_role.config().replace("retention = \"off\"", "retention = \"1d\"");
    let mut relay = Relay::start_with(&retention);
    relay.ready().await;
    for statement in [
        "select outbox.emit('order.placed', 'k', '2')",
        "select outbox.emit_message('order.placed', 'k', '3')",
        "insert into outbox.event (schema_name, schema_version, key, payload) values ('order.placed', '1', 'k', '4')",
    ] {
        writer.batch_execute(statement).await.expect("the writer may emit");
    }
    let records = harness.consume(&harness.topic("order.placed"), 4).await;
    assert_eq!(records.iter().filter_map(|record| record.value_text()).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    relay.wait_for_log("outbox maintained").await;
    for statement in [
        "select * from outbox.event",
        "update outbox.event set key = 'x'",
        "delete from outbox.event",
        "select * from outbox.schema_version",
        "select * from outbox.relay",
        "select outbox.register_schema_version('order.odd', '1', null)",
        "select outbox.maintain()",
    ] {
        let error = writer.batch_execute(statement).await.expect_err(statement);
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{statement}: {error:?}");
    }
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
    relay_role.drop().await;
    writer_role.drop().await;
}

/// A grant that is only needed once there is an event: nothing is refused or lost, and the missing grant is reported.
#[tokio::test(flavor = "multi_thread")]
async fn case_24_a_role_that_cannot_read_schema_versions_is_named() {
    let harness = Harness::migrated("no_contracts").await;
    let role = Role::create(&harness, "relay", "replication").await;
    migrate(&harness, &["--relay-role", &role.name]);
    harness.register("order.placed").await;
    harness.execute(&format!("revoke select on outbox.schema_version from {}", role.name)).await;
    let mut relay = Relay::start_with(&role.config());
    relay.ready().await;
    harness.execute("select outbox.emit('order.placed', 'k', '1')").await;
    let is_blocked = |status: &serde_json::Value| status["not_ready"].to_string().contains("schema_version");
    relay.wait_for("reported as blocked", is_blocked).await;
    let (code, reasons) = relay.get("/readyz").await.expect("the relay answers");
    assert_eq!(code, 503);
    let reasons = reasons.replace(harness.name(), "db");
    expect![[r#"
        waiting: role db_relay may not read outbox.schema_version: run `walpost migrate --relay-role db_relay` as the schema's owner
    "#]].assert_eq(&reasons);
    migrate(&harness, &["--relay-role", &role.name]);
    harness.consume(&harness.topic("order.placed"), 1).await;
    relay.ready().await;
    assert_eq!(relay.terminate().await.code(), Some(0));
    role.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_wrong_passwords_roles_and_databases_are_named() {
    let harness = Harness::migrated("wrong_login").await;
    let role = Role::create(&harness, "relay", "replication").await;
    let (name, other) = (role.name.as_str(), "wrong-password-of-this-test");
    let mut reported = String::new();
    for url in [
        url_as(&harness, name, other),
        url_as(&harness, "nobody_of_this_test", other),
        url_as(&harness, name, PASSWORD).replace(
            &format!("{}/{}", port(&harness), harness.name()),
            &format!("{}/nowhere_of_this_test", port(&harness)),
        ),
    ] {
        let message = unavailable(&harness, &config(&harness, "").replace(harness.url(), &url)).await;
        assert!(!message.contains(PASSWORD) && !message.contains(other), "{message}");
        reported += &format!("{}\n", message.replace(&port(&harness), "PORT"));
        let output = walpost().args(["migrate", "--database-url", &url]).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(69));
        let message = String::from_utf8(output.stderr).expect("the message is text");
        assert!(!message.contains(PASSWORD) && !message.contains(other), "{message}");
        reported += &message.replace(harness.name(), "db").replace(&port(&harness), "PORT");
    }
    expect![[r#"
        walpost: FATAL 28P01: password authentication failed for user "db_relay"; correct the password in the database URL, PGPASSWORD or the password file
        walpost: FATAL 28P01: password authentication failed for user "db_relay"; correct the password in the database URL, PGPASSWORD or the password file
        walpost: retry: no, this needs a fix or a decision first
        walpost: FATAL 28P01: password authentication failed for user "nobody_of_this_test"; correct the password in the database URL, PGPASSWORD or the password file
        walpost: FATAL 28P01: password authentication failed for user "nobody_of_this_test"; correct the password in the database URL, PGPASSWORD or the password file
        walpost: retry: no, this needs a fix or a decision first
        walpost: FATAL 3D000: database "nowhere_of_this_test" does not exist; create the database, or correct the database URL
        walpost: FATAL 3D000: database "nowhere_of_this_test" does not exist; create the database, or correct the database URL
        walpost: retry: no, this needs a fix or a decision first
    "#]].assert_eq(&reported);
    role.drop().await;
}

fn port(harness: &Harness) -> String {
    let url = url::Url::parse(harness.url()).expect("the harness gives a URL");
    url.port().expect("the harness gives a port").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_in_no_log_error_status_or_metric() {
    let harness = Harness::migrated("secrets").await;
    harness.register("order.placed").await;
    let role = Role::create(&harness, "relay", "replication").await;
    migrate(&harness, &["--relay-role", &role.name]);
    let properties = format!("properties = {{ 'sasl.password' = '{PASSWORD}' }}\n[http]");
    let mut relay = Relay::start_with(&role.config().replace("[http]", &properties));
    relay.ready().await;
    // The connection is lost and restored, one event is refused, one arrives.
    let end = format!("select pg_terminate_backend(pid) from pg_stat_replication where usename = '{}'", role.name);
    harness.execute(&end).await;
    relay.wait_for("connected again", |status| status["postgres_reconnects"] == 1).await;
    harness.execute("insert into outbox.event (schema_name, schema_version) values ('lost', '1')").await;
    harness.execute("select outbox.emit('order.placed', 'k', '1')").await;
    harness.consume(&harness.topic("order.placed"), 1).await;
    let mut reported = String::new();
    for path in ["/status", "/metrics", "/readyz", "/healthz", "/nowhere"] {
        reported += &relay.get(path).await.expect("the relay answers").1;
    }
    assert_eq!(relay.terminate().await.code(), Some(0));
    reported += &relay.log();
    assert!(reported.contains("connection"), "the log reports a lost connection: {reported}");
    assert!(!reported.contains(PASSWORD), "{reported}");
    role.drop().await;
}
