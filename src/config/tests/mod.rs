//! Whole configurations: a text and variables in, a [`Config`] or the printed mistakes out.

mod destinations;
mod mistakes;
mod rendering;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use expect_test::Expect;

use super::error::ConfigError;
use super::names::SlotName;
use super::*;
use crate::relay::HeaderStyle;
use crate::relay::OnRejected;
use crate::relay::decode::outbox::{Routing, TemplatePart};
use crate::relay::decode::role::Role;
use crate::sink::Compression;

const EXAMPLE: &str = include_str!("../../../examples/walpost.toml");

const LEAST: &str = "
postgres.url = 'postgres://walpost@localhost/shop'
kafka.bootstrap_servers = 'localhost:9092'
";

/// Loads a file with this text, and these variables over it.
fn load(text: impl AsRef<[u8]>, environment: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("walpost.toml");
    std::fs::write(&path, text).expect("the file is written");
    let loaded = Config::load(Some(&path), owned(environment));
    // The directory's name differs from run to run.
    loaded.map_err(|errors| ConfigErrors(errors.0.into_iter().map(|error| without_folder(error, &path)).collect()))
}

fn without_folder(mut error: ConfigError, path: &Path) -> ConfigError {
    let short: Arc<Path> = Arc::from(Path::new("walpost.toml"));
    match &mut error.origin {
        ValueOrigin::Line(file, _) | ValueOrigin::Column(file, _, _) | ValueOrigin::File(file) if **file == *path => {
            *file = short
        }
        _ => {}
    }
    error
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn check(text: impl AsRef<[u8]>, environment: &[(&str, &str)], expected: Expect) {
    let errors = load(text, environment).expect_err("a configuration with mistakes");
    expected.assert_eq(&errors.to_string());
}

#[test]
fn a_minimal_configuration_gets_every_default() {
    let config = load(LEAST, &[]).expect("two keys are enough");
    assert_eq!(config.postgres.slot.as_str(), "walpost");
    assert_eq!(config.postgres.publication, "outbox");
    assert_eq!(config.kafka.delivery, Delivery::AtLeastOnce);
    assert_eq!(config.kafka.compression, Compression::Lz4);
    assert_eq!(config.relay.on_rejected, OnRejected::DeadLetter);
    assert_eq!(config.relay.headers, HeaderStyle::CloudEvents);
    assert_eq!(config.relay.source, None);
    assert_eq!(config.relay.max_in_flight_bytes, 16 << 20);
    assert_eq!(config.relay.retention, Some(Duration::from_secs(604_800)));
    assert_eq!(config.outboxes, [Outbox::walpost("outbox", "event")]);
    assert_eq!(config.http.listen, Some("127.0.0.1:9646".parse().expect("an address")));
}

#[test]
fn the_example_shows_the_defaults() {
    let example = load(EXAMPLE, &[]).expect("the example is right");
    let mut least = load(LEAST, &[]).expect("two keys are enough");
    // The database has no default.
    least.postgres.connect = example.postgres.connect.clone();
    assert_eq!(example, least);
}

#[test]
fn the_example_is_valid_with_its_commented_lines_too() {
    let is_key = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
    let is_setting = |line: &str| {
        line.starts_with("# [")
            || line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).is_some_and(|(key, _)| is_key(key))
    };
    let mut text = String::new();
    // Only one of the two tables of properties can be set.
    for line in EXAMPLE.lines().filter(|line| *line != "properties = {}") {
        let line = if is_setting(line) { &line[2..] } else { line };
        writeln!(text, "{line}").expect("a String takes everything");
    }
    let config = load(&text, &[]).expect("the example's comments are right");
    assert_eq!(config.outboxes.len(), 2);
    assert_eq!(config.outboxes[1].header_columns, [("type".to_owned(), "eventType".to_owned())]);
    assert_eq!(config.kafka.properties.get("security.protocol"), Some("SASL_SSL"));
    assert_eq!(config.postgres.connect.client_key(), Some(Path::new("/etc/walpost/client.key")));
}

#[test]
fn the_example_has_every_key() {
    let keys = keys();
    assert!(keys.len() > 30, "{keys:?}");
    for key in keys {
        let leaf = key.rsplit('.').next().expect("a key has a last part");
        let stands = EXAMPLE.lines().any(|line| {
            let line = line.trim_start_matches("# ");
            line.starts_with(&format!("{leaf} = ")) || line.contains(&format!(" {leaf} = "))
        });
        assert!(stands, "examples/walpost.toml lacks {key}");
    }
}

#[test]
fn every_key_is_a_variable_too() {
    for key in keys().iter().filter(|key| !key.starts_with("outbox.")) {
        let errors = load(LEAST, &[(&names::variable(key), "\u{FFFD}")]).expect_err("a bad value");
        let expected = ValueOrigin::Variable(names::variable(key));
        assert!(errors.0.iter().any(|error| error.origin == expected), "{key}: {errors}");
    }
}

#[test]
fn variables_override_the_file() {
    let environment = [
        ("WALPOST_POSTGRES__URL", "host=db dbname=shop user=me"),
        ("WALPOST_POSTGRES__SLOT", "orders"),
        ("WALPOST_KAFKA__PROPERTIES__SASL_USERNAME", "me"),
        ("WALPOST_KAFKA__PROPERTIES__LINGER_MS", "7"),
        ("WALPOST_RELAY__CREATE_TOPICS", "false"),
        ("WALPOST_RELAY__MAX_IN_FLIGHT", "500"),
        ("WALPOST_RELAY__RETENTION", "off"),
        ("WALPOST_OUTBOX__0__TABLE", "public.one"),
        ("WALPOST_OUTBOX__1__TABLE", "public.two"),
        ("WALPOST_OUTBOX__1__PRESET", "debezium"),
        ("WALPOST_OUTBOX__1__COLUMNS__AGGREGATETYPE", "Kind"),
        ("WALPOST_OUTBOX__1__COLUMNS__AGGREGATEID", "ref"),
        ("WALPOST_OUTBOX__1__HEADER_COLUMNS", "{ Kind = 'eventType' }"),
        ("WALPOST_HTTP__LISTEN", "off"),
        ("WALPOST_LOG", "debug"),
        ("WALPOST_SOMETHING", "of another program"),
        ("PATH", "/bin"),
    ];
    let text = format!(
        "{LEAST}
        kafka.properties.linger.ms = 5
        kafka.properties.'compression.type' = 'zstd'
        [[outbox]]
        table = 'public.zero'
        columns.key = 'k'"
    );
    let config = load(text, &environment).expect("all of it is right");
    assert_eq!(config.postgres.connect.database(), "shop");
    assert_eq!(config.postgres.slot.as_str(), "orders");
    let properties: Vec<_> = config.kafka.properties.iter().collect();
    assert_eq!(properties, [("compression.type", "zstd"), ("linger.ms", "7"), ("sasl.username", "me")]);
    assert_eq!(config.kafka.compression, Compression::Zstd, "the property is the same as the key");
    assert!(!config.relay.create_topics);
    assert_eq!(config.relay.max_in_flight, 500);
    assert_eq!(config.relay.retention, None);
    assert_eq!(config.http.listen, None);
    let [one, two] = config.outboxes.as_slice() else { panic!("{:?}", config.outboxes) };
    assert_eq!((one.namespace.as_str(), one.table.as_str()), ("public", "one"));
    assert_eq!(column(one, Role::Key), Some(("k", true)));
    assert_eq!(two.table, "two");
    assert_eq!(column(two, Role::Key), Some(("ref", true)));
    let topic = [TemplatePart::Literal("outbox.event.".into()), TemplatePart::Column("Kind".into())];
    assert_eq!(two.routing, Routing::Template(topic.to_vec()));
    assert_eq!(two.header_columns, [("Kind".to_owned(), "eventType".to_owned())]);
}

fn column(outbox: &Outbox, role: Role) -> Option<(&str, bool)> {
    let column = outbox.columns.iter().find(|column| column.role == role)?;
    Some((column.name.as_str(), column.needed))
}

#[test]
fn presets_match_the_core() {
    let text = format!("{LEAST}\n[[outbox]]\ntable = 'a.b'\n[[outbox]]\ntable = 'a.c'\npreset = 'debezium'");
    let config = load(text, &[]).expect("all of it is right");
    assert_eq!(config.outboxes, [Outbox::walpost("a", "b"), Outbox::debezium("a", "c")]);
}

#[test]
fn a_topic_replaces_the_schema_version() {
    let text = format!("{LEAST}\n[[outbox]]\ntable = 'a.b'\ntopic = 'orders'\ncolumns = {{ key = false }}");
    let config = load(text, &[]).expect("all of it is right");
    let outbox = &config.outboxes[0];
    assert_eq!(outbox.routing, Routing::Template(vec![TemplatePart::Literal("orders".into())]));
    assert_eq!(column(outbox, Role::Key), None);
    assert_eq!(column(outbox, Role::Topic), None);
    assert_eq!(column(outbox, Role::SchemaName), Some(("schema_name", false)));
}

#[test]
fn more_than_ten_outboxes_keep_their_order() {
    let names: Vec<_> = (0..12).map(|n| (format!("WALPOST_OUTBOX__{n}__TABLE"), format!("public.t{n}"))).collect();
    let environment: Vec<_> = names.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let config = load(LEAST, &environment).expect("all of it is right");
    let tables: Vec<_> = config.outboxes.iter().map(|outbox| outbox.table.clone()).collect();
    assert_eq!(tables, (0..12).map(|n| format!("t{n}")).collect::<Vec<_>>());
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = [("PGHOST", "db"), ("PGUSER", "me"), ("WALPOST_KAFKA__BOOTSTRAP_SERVERS", "a:9092, [::1]:9093")];
    let config = load("", &environment).expect("libpq's variables stand in for the URL");
    assert_eq!(config.postgres.connect.endpoint(), "db:5432");
    assert_eq!(config.kafka.bootstrap_servers, "a:9092,[::1]:9093");
}

#[test]
fn the_postgres_section_can_be_read_alone() {
    let environment = owned(&[("WALPOST_POSTGRES__URL", "postgres://me@localhost/shop")]);
    let postgres = PostgresConfig::load(None, environment).expect("no Kafka is asked for");
    assert_eq!(postgres.slot, SlotName::default());
    let environment = owned(&[("WALPOST_POSTGRES__SLOT", "A")]);
    let errors = PostgresConfig::load(None, environment).expect_err("two mistakes");
    assert_eq!(errors.0.len(), 2, "{errors}");
}

proptest::proptest! {
    #[test]
    fn any_text_and_any_variable_is_read_or_refused(
        text in "([a-z_.\\[\\]{}='\"0-9 \n]|\\PC){0,200}",
        section in "POSTGRES|KAFKA|KAFKA__PROPERTIES|RELAY|OUTBOX|OUTBOX__0|OUTBOX__0__COLUMNS|HTTP|LOG",
        key in "(__|_)?[A-Z0-9_]{0,20}",
        value in "\\PC{0,40}",
    ) {
        let _ = load(&text, &[]);
        let _ = load(LEAST, &[(&format!("WALPOST_{section}{key}"), &value)]);
    }

    #[test]
    fn any_value_of_a_known_key_is_read_or_refused(index in 0_usize..1_000, value in "\\PC{0,40}") {
        let keys = keys();
        let name = names::variable(&keys[index % keys.len()]);
        let _ = load(LEAST, &[(&name, &value)]);
    }
}
