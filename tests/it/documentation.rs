//! README.md and `docs/` work as written: a user follows the pages, and runs every command, statement and configuration on them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use url::Url;
use walpost::lab::sandbox::{KafkaOptions, PostgresOptions};

use crate::harness::program::Ended;
use crate::harness::{Harness, Received, Relay, walpost};

/// A command, or a block of SQL or TOML.
struct Shown {
    page: String,
    language: String,
    text: String,
    is_done: bool,
}

/// Everything that the pages show: commands line by line, other languages by block.
fn shown() -> Vec<Shown> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("docs is a folder");
    let docs = docs.map(|entry| entry.expect("it can be listed").path());
    let mut shown = Vec::new();
    for path in [root.join("README.md")].into_iter().chain(docs) {
        let page = path.file_name().expect("it is a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a page is text");
        for block in text.split("\n```").skip(1).step_by(2) {
            let (language, text) = block.split_once('\n').expect("a block has a first line");
            let parts = if language == "sh" { text.lines().collect() } else { vec![text] };
            shown.extend(parts.into_iter().map(|text| Shown {
                page: page.clone(),
                language: language.to_owned(),
                text: text.to_owned(),
                is_done: false,
            }));
        }
    }
    shown
}

/// The user: a directory, a shell, and the servers that the pages call `db` and `kafka`.
struct User {
    harness: Harness,
    folder: TempDir,
    path: OsString,
    shown: Vec<Shown>,
}

impl User {
    async fn new() -> Self {
        let servers = (PostgresOptions::default(), KafkaOptions::default());
        let harness = Harness::with_own_servers("documentation", servers.0, servers.1).await;
        let binaries = Path::new(walpost().get_program()).parent().expect("a binary has a folder").to_owned();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths([binaries].into_iter().chain(std::env::split_paths(&path)));
        let path = path.expect("paths can be joined");
        Self { harness, folder: tempfile::tempdir().expect("a temporary folder"), path, shown: shown() }
    }

    fn url(&self) -> Url {
        Url::parse(self.harness.url()).expect("the server's address is a URL")
    }

    /// The text in `language` that begins with `start`, with the addresses of this test's servers.
    fn take(&mut self, language: &str, start: &str) -> String {
        let is_meant = |shown: &&mut Shown| shown.language == language && shown.text.starts_with(start);
        let taken: Vec<_> = self.shown.iter_mut().filter(is_meant).collect();
        let first = taken.iter().find(|shown| !shown.is_done);
        let text = first.unwrap_or_else(|| panic!("no page shows another {start}")).text.clone();
        // The same text on another page counts as done; a different text with the same beginning is left for another call.
        taken.into_iter().filter(|shown| shown.text == text).for_each(|shown| shown.is_done = true);
        let url = self.url();
        let (port, password) = (url.port().expect("the server has a port"), url.password().unwrap_or_default());
        text.replace("@db/", &format!(":{password}@127.0.0.1:{port}/")).replace("kafka:9092", self.harness.kafka())
    }

    fn shell(&self, command: &str) -> Ended {
        let url = self.url();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", url.port().expect("the server has a port").to_string())
            .env("PGUSER", url.username())
            .env("PGPASSWORD", url.password().unwrap_or_default())
            .output();
        Ended::of(output.expect("a shell"))
    }

    /// Runs the command that begins with `start`, with its placeholders replaced.
    fn run_with(&mut self, start: &str, places: &[(&str, &str)]) -> String {
        let command = places.iter().fold(self.take("sh", start), |command, (shown, real)| {
            assert!(command.contains(shown), "{command} does not show {shown}");
            command.replace(shown, real)
        });
        let ended = self.shell(&command);
        assert!(ended.status.success(), "$ {command}\n{}{}", ended.stdout, ended.stderr);
        ended.stdout
    }

    fn run(&mut self, start: &str) -> String {
        self.run_with(start, &[])
    }

    /// Runs statements with psql (Debian: postgresql-client), as a superuser.
    fn psql(&self, sql: &str) {
        fs::write(self.folder.path().join("statements.sql"), sql).expect("the statements are written");
        let ended = self.shell("psql -X -q -v ON_ERROR_STOP=1 -d shop -f statements.sql");
        assert!(ended.status.success(), "{sql}\n{}", ended.stderr);
    }

    fn execute(&mut self, start: &str) {
        let sql = self.take("sql", start);
        self.psql(&sql);
    }

    /// Starts the relay with this as its `walpost.toml`.
    async fn relay(&self, config: &str) -> Relay {
        fs::write(self.folder.path().join("walpost.toml"), config).expect("the configuration is written");
        let mut relay = Relay::start_with(&format!("{config}\n[http]\nlisten = \"127.0.0.1:0\"\n"));
        relay.ready().await;
        relay
    }

    async fn records(&self, topic: &str, count: usize) -> Vec<Received> {
        self.harness.consume(topic, count).await
    }

    fn assert_all_is_done(&self) {
        let run = |shown: &&Shown| ["sh", "sql", "toml"].contains(&shown.language.as_str());
        let left = self.shown.iter().filter(run).filter(|shown| !shown.is_done);
        let left: Vec<_> = left.map(|shown| format!("{}: {}", shown.page, shown.text)).collect();
        assert!(left.is_empty(), "nothing ran\n{}", left.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_statement_and_configuration_works_as_written() {
    let mut user = User::new().await;
    for built_elsewhere in [
        "cargo run --release -- demo",
        "cargo install",
        "cargo build --profile dist",
        "cargo add walpost-producer",
        "cargo test",
        "cargo run --profile dist -- bench",
        "walpost bench relay --postgres",
        "walpost bench relay --per-transaction",
    ] {
        user.take("sh", built_elsewhere);
    }
    let url = user.url();
    let password = url.password().unwrap_or_default();
    user.harness.execute(&format!("create role owner login password '{password}'")).await;
    user.harness.execute("create database shop owner owner").await;

    let config = install(&mut user).await;
    tables(&mut user, &config).await;
    dead_letters(&mut user, &config).await;
    replays(&mut user, &config).await;
    user.assert_all_is_done();
}

/// README.md and install.md; returns their configuration.
async fn install(user: &mut User) -> String {
    user.run("psql -d shop -c 'create role shop");
    let url = user.url();
    user.psql(&format!("alter role walpost password '{}'", url.password().unwrap_or_default()));
    user.run("walpost migrate");
    user.run("psql -d shop -c \"select outbox.register");
    user.execute("select outbox.register_schema_version");
    user.psql("create table orders (id bigint primary key, total numeric)");
    user.execute("begin;");
    user.execute("select outbox.emit('order.paid', '43'");
    let config = user.take("toml", "[postgres]");
    fs::write(user.folder.path().join("walpost.toml"), &config).expect("the configuration is written");
    user.run("walpost doctor");
    user.take("sh", "walpost run");
    let mut relay = user.relay(&config).await;
    let records = user.records("orders", 1).await;
    assert_eq!(records[0].value_text(), Some(r#"{"id": 42, "total": 44.80}"#));
    let elsewhere = user.records("orders.eu", 1).await;
    assert_eq!(elsewhere[0].value_text(), Some(r#"{"id": 43, "total": 12.00}"#));
    assert!(elsewhere[0].header("traceparent").is_some_and(|value| value.starts_with("00-")), "{elsewhere:?}");
    assert!(relay.terminate().await.success());
    config
}

/// configure.md and debezium.md.
async fn tables(user: &mut User, config: &str) {
    user.psql(
        "create table events (like outbox.event including defaults); alter publication outbox add table events; \
         grant select on events to walpost",
    );
    let names = ["WALPOST_KAFKA__BOOTSTRAP", "WALPOST_KAFKA__PROPERTIES", "WALPOST_OUTBOX"];
    let variables = names.map(|name| user.take("sh", name)).join("\n");
    let ended = user.shell(&format!("set -a\n{variables}\nset +a; walpost doctor"));
    assert!(ended.stdout.contains(r#""public"."events""#), "{}{}", ended.stdout, ended.stderr);

    user.psql(
        "create schema sales; create table sales.events (event_id uuid, aggregate text, kind text, tenant text, \
               body jsonb, created_at timestamptz default now())",
    );
    user.execute("alter publication outbox add table sales.events");
    let table = user.take("toml", "[[outbox]]");
    let mut relay = user.relay(&format!("{config}\n{table}")).await;
    user.psql("insert into sales.events values (gen_random_uuid(), '7', 'order', 'acme', '{}')");
    let records = user.records("sales.order", 1).await;
    assert_eq!((records[0].key_text(), records[0].header("x-tenant")), (Some("7"), Some("acme")));
    assert!(relay.terminate().await.success());

    user.psql("create table outboxevent (id uuid, aggregatetype text, aggregateid text, type text, payload jsonb)");
    user.execute("alter publication outbox add table public.outboxevent");
    let preset = user.take("toml", "[relay]\nheaders");
    let mut relay = user.relay(&format!("{config}\n{preset}")).await;
    let id = "00000000-0000-4000-8000-000000000001";
    user.psql(&format!("insert into outboxevent values ('{id}', 'order', '8', 'placed', '{{}}')"));
    let records = user.records("outbox.event.order", 1).await;
    assert_eq!((records[0].key_text(), records[0].header("id")), (Some("8"), Some(id)));
    assert!(relay.terminate().await.success());
}

/// operate.md.
async fn dead_letters(user: &mut User, config: &str) {
    let mut relay = user.relay(config).await;
    for version in ["2", "9"] {
        user.psql(&format!(
            "insert into outbox.event (schema_name, schema_version, key, payload) \
             values ('order.paid', '{version}', convert_to('9', 'UTF8'), '{{}}')"
        ));
    }
    user.records("outbox.dead-letter", 2).await;
    let listed = user.run("walpost dead-letter list");
    assert!(listed.contains("unknown_schema"), "{listed}");
    let one = user.run_with("walpost dead-letter show", &[("0/12", "0/0")]);
    assert!(one.contains("order.paid"), "{one}");
    user.run_with("walpost dead-letter discard", &[("0/12", "0/1")]);
    user.psql("select outbox.register_schema_version(name => 'order.paid', version => '2', topic => 'orders')");
    user.run("walpost dead-letter redrive --contract order.paid --dry-run");
    user.run("walpost dead-letter redrive --contract order.paid");
    let records = user.records("orders", 2).await;
    assert_eq!(records.iter().filter(|record| record.header("outbox-redriven").is_some()).count(), 1);
    assert!(relay.terminate().await.success());
}

/// replay.md, contracts.md, exactly-once.md, and install.md's last section.
async fn replays(user: &mut User, config: &str) {
    let delivery = user.take("toml", "[kafka]\ndelivery");
    let config = config.replace("[kafka]\n", &format!("{delivery}\n"));
    let config = format!("{config}\n[relay]\nrewind = \"24h\"\n");
    let mut relay = user.relay(&config).await;
    user.harness.wait_for("select exists (select from pg_replication_slots where slot_name = 'walpost_rewind')").await;
    user.run("walpost bookmark create before_deploy");
    let since = user.shell("date -u +%FT%T.%NZ").stdout;
    user.psql("select outbox.emit('order.paid', '10', '{}', version => '1')");
    let records = user.records("orders", 3).await;
    let position = records[2].header("outbox-position").expect("every record has one").to_owned();
    let counted = user.run("walpost replay --bookmark before_deploy --dry-run");
    assert!(counted.contains("1 event"), "{counted}");
    user.run_with("walpost replay --since 2h", &[("2h", since.trim())]);
    assert_eq!(user.records("orders.again", 1).await.len(), 1);
    user.run_with("walpost replay --from-lsn", &[("16/B374D848/3", &position)]);
    user.run("walpost replay --from-table");
    // One event from the first page, one from just now. Rows that were refused again are in the dead-letter topic.
    let again = user.records("orders", 7).await;
    assert!(again[3..].iter().all(|record| record.header("outbox-replay").is_some()), "{again:?}");

    fs::create_dir(user.folder.path().join("contracts")).expect("the folder is new");
    let contract = user.take("yaml", "apiVersion");
    fs::write(user.folder.path().join("contracts/orders.odcs.yaml"), contract).expect("the contract is written");
    let planned = user.run("walpost contract plan");
    assert!(planned.contains("order.shipped"), "{planned}");
    user.run("walpost contract apply");

    user.execute("select outbox.add_secret('position');");
    assert!(relay.terminate().await.success());
    let dropped = user.shell("walpost bookmark drop before_deploy");
    assert!(dropped.status.success(), "{}", dropped.stderr);
    user.execute("select pg_drop_replication_slot('walpost');");
}
