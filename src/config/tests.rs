//! Whole configurations: a text and variables in, a [`Config`] or the printed mistakes out.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use expect_test::{Expect, expect};

use super::*;
use crate::relay::OnRejected;
use crate::relay::encode::HeaderStyle;
use crate::relay::outbox::{Role, Routing, TemplatePart};

const EXAMPLE: &str = include_str!("../../examples/walpost.toml");

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
    // The folder's name differs from run to run.
    loaded.map_err(|errors| ConfigErrors(errors.0.into_iter().map(|error| without_folder(error, &path)).collect()))
}

fn without_folder(mut error: ConfigError, path: &Path) -> ConfigError {
    let short: Arc<Path> = Arc::from(Path::new("walpost.toml"));
    match &mut error.origin {
        Origin::Line(file, _) | Origin::Column(file, _, _) | Origin::File(file) if **file == *path => *file = short,
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
fn the_least_configuration_gets_every_default() {
    let config = load(LEAST, &[]).expect("two keys are enough");
    assert_eq!(config.postgres.slot.as_str(), "walpost");
    assert_eq!(config.postgres.publication, "outbox");
    assert_eq!(config.kafka.delivery, Delivery::AtLeastOnce);
    assert_eq!(config.relay.on_rejected, OnRejected::DeadLetter);
    assert_eq!(config.relay.headers, HeaderStyle::CloudEvents);
    assert_eq!(config.relay.source, None);
    assert_eq!(config.relay.max_in_flight_bytes, 16 << 20);
    assert_eq!(config.relay.retention, Some(Duration::from_secs(604_800)));
    assert_eq!(config.outboxes, [Outbox::walpost("outbox", "event")]);
    assert_eq!(config.http.listen, Some("127.0.0.1:9646".parse().expect("an address")));
}

#[test]
fn the_example_says_what_the_defaults_are() {
    let example = load(EXAMPLE, &[]).expect("the example is right");
    let mut least = load(LEAST, &[]).expect("two keys are enough");
    least.postgres.url = example.postgres.url.clone();
    assert_eq!(example, least);
}

#[test]
fn the_example_holds_also_with_its_commented_lines() {
    let is_key = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
    let is_setting = |line: &str| {
        line.starts_with("# [")
            || line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).is_some_and(|(key, _)| is_key(key))
    };
    let mut text = String::new();
    // The empty table of properties and the full one can't both stand.
    for line in EXAMPLE.lines().filter(|line| *line != "properties = {}") {
        let line = if is_setting(line) { &line[2..] } else { line };
        writeln!(text, "{line}").expect("a String takes everything");
    }
    let config = load(&text, &[]).expect("the example's comments are right");
    assert_eq!(config.outboxes.len(), 2);
    assert_eq!(config.outboxes[1].header_columns, [("type".to_owned(), "eventType".to_owned())]);
    assert_eq!(config.kafka.properties.get("compression.type"), Some("zstd"));
    assert_eq!(config.postgres.tls.sslkey, Some(PathBuf::from("/etc/walpost/client.key")));
}

#[test]
fn the_example_names_every_key() {
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
        let errors = load(LEAST, &[(&environment::variable(key), "\u{FFFD}")]).expect_err("a bad value");
        let expected = Origin::Variable(environment::variable(key));
        assert!(errors.0.iter().any(|error| error.origin == expected), "{key}: {errors}");
    }
}

#[test]
fn variables_go_before_the_file() {
    let environment = [
        ("WALPOST_POSTGRES__URL", "host=db dbname=shop"),
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
        kafka.properties.'compression.type' = 'lz4'
        [[outbox]]
        table = 'public.zero'
        columns.key = 'k'"
    );
    let config = load(text, &environment).expect("all of it is right");
    assert_eq!(config.postgres.url, Some(Secret::new("host=db dbname=shop")));
    assert_eq!(config.postgres.slot.as_str(), "orders");
    let properties: Vec<_> = config.kafka.properties.iter().collect();
    assert_eq!(properties, [("compression.type", "lz4"), ("linger.ms", "7"), ("sasl.username", "me")]);
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
fn presets_are_the_cores_own() {
    let text = format!("{LEAST}\n[[outbox]]\ntable = 'a.b'\n[[outbox]]\ntable = 'a.c'\npreset = 'debezium'");
    let config = load(text, &[]).expect("all of it is right");
    assert_eq!(config.outboxes, [Outbox::walpost("a", "b"), Outbox::debezium("a", "c")]);
}

#[test]
fn a_topic_stands_in_for_the_schema_version() {
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
    let environment = [("PGHOST", "localhost"), ("WALPOST_KAFKA__BOOTSTRAP_SERVERS", "a:9092, [::1]:9093")];
    let config = load("", &environment).expect("libpq's variables stand in for the URL");
    assert_eq!(config.postgres.url, None);
    assert_eq!(config.kafka.bootstrap_servers, "a:9092,[::1]:9093");
}

#[test]
fn all_mistakes_come_at_once_each_with_its_place_and_mend() {
    let text = "\
[postgres]
slott = 'x'
slot = 'Wal-Post'
sslmode = 'allow'
sslcert = 'client.pem'

[kafka]
bootstrap_servers = ['a:9092', 'b:port']
delivery = 'exactly-once'
properties = { 'linger.ms' = [5], 'queue.buffering.max.messages' = 10 }

[relay]
on_rejected = 'dead_letter'
dead_letter_topic = 'dead letters'
create_topics = 'yes'
max_in_flight = 0
max_in_flight_bytes = '16 elephants'
shutdown_timeout = '2d'
source = 'my shop'

[[outbox]]
preset = 'debezuim'
topic = 'a.{'
columns = { id = false, paylod = 'p' }
header_columns = ['outbox-x']

[[outbox]]
table = 'Public.Event'
columns = { schema_name = false }

[[outbox]]
table = 'public.event'
topic = '{shop}.{key}'
columns = { key = false, topic = 't' }

[htttp]
listen = 'x'

[log]
level = 'debug'
";
    let environment = [
        ("WALPOST_KAFKA_BOOTSTRAP_SERVERS", "x:1"),
        ("WALPOST_KAFAK__DELIVERY", "x"),
        ("WALPOST_RELAY__NAMES", "x"),
        ("WALPOST_HTTP__LISTEN", "localhost"),
        ("WALPOST_OUTBOX__9__TABLE", "x"),
        ("WALPOST_RELAY__", "x"),
    ];
    check(
        text,
        &environment,
        expect![[r#"
            the configuration has 33 mistakes:
              walpost.toml:1: postgres.url: is missing; write url = "postgres://user@host:5432/database" under [postgres], or set WALPOST_POSTGRES__URL
              walpost.toml:2: postgres.slott: unknown key; did you mean slot?
              walpost.toml:3: postgres.slot: "Wal-Post" is no name that Postgres takes for a slot; write 1 to 63 of a-z, 0-9 and _
              walpost.toml:4: postgres.sslmode: "allow" is none of its values; write "disable" or "prefer" or "require" or "verify-ca" or "verify-full"
              walpost.toml:5: postgres.sslcert: needs sslkey beside it; give sslkey too
              walpost.toml:8: kafka.bootstrap_servers: "b:port" is not host:port; write "host:9092,host:9092"
              walpost.toml:9: kafka.delivery: "exactly-once" comes in a later release; write "at-least-once" and let consumers drop what they have seen, by ce_id or outbox-position
              walpost.toml:10: kafka.properties.linger.ms: is an array where a string, number or truth value belongs; write the property as librdkafka takes it
              walpost.toml:13: relay.on_rejected: "dead_letter" is none of its values; did you mean "dead-letter"?
              walpost.toml:14: relay.dead_letter_topic: "dead letters" is no name that Kafka takes for a topic; write 1 to 249 of a-z, A-Z, 0-9, ., _ and -
              walpost.toml:15: relay.create_topics: is a string where true or false belongs; write true or false, without quotes
              walpost.toml:16: relay.max_in_flight: "0" is not a whole number from 1 to 10000000; choose a number in that range
              walpost.toml:17: relay.max_in_flight_bytes: "16 elephants" is no such quantity; write a number with B, kB, MB, GB, KiB, MiB or GiB, such as "16MiB"
              walpost.toml:18: relay.shutdown_timeout: 2d is out of range; choose 0s to 1h
              walpost.toml:19: relay.source: "my shop" is no URI reference; write at most 256 characters such as "/orders", others percent-encoded
              walpost.toml:21: outbox.0.table: is missing; write table = "schema.table" under [[outbox]], or set WALPOST_OUTBOX__0__TABLE
              walpost.toml:22: outbox.0.preset: "debezuim" is none of its values; did you mean "debezium"?
              walpost.toml:23: outbox.0.topic: "a.{" does not close a brace; write {column}
              walpost.toml:24: outbox.0.columns.id: is needed; name the column
              walpost.toml:24: outbox.0.columns.paylod: unknown key; did you mean payload?
              walpost.toml:25: outbox.0.header_columns: "outbox-x" starts with outbox-, as walpost's own headers do; choose another header
              walpost.toml:28: outbox.1.table: "Public.Event" is not schema.table; write an identifier with capitals in double quotes, '"Schema"."Table"', or in lower case
              walpost.toml:29: outbox.1.columns.schema_name: is needed to find the topic; name the column, or give the table a topic
              walpost.toml:33: outbox.2.topic: needs the column of key, which columns says is not there; name the column, or give a topic without it
              walpost.toml:34: outbox.2.columns.topic: is not read where the table has a topic; give one of the two
              walpost.toml:36: htttp: unknown section; did you mean http?
              walpost.toml:39: log: the log is not configured in the file; set WALPOST_LOG and WALPOST_LOG_FORMAT, or the options --log and --log-format
              WALPOST_KAFAK__DELIVERY: there is no section kafak; did you mean WALPOST_KAFKA__…?
              WALPOST_KAFKA_BOOTSTRAP_SERVERS: a section and its key are parted by two underscores; rename the variable to WALPOST_KAFKA__BOOTSTRAP_SERVERS
              WALPOST_RELAY__: a part of the name is empty; write WALPOST_<SECTION>__<KEY>
              WALPOST_OUTBOX__9__TABLE: there are 3 tables before it; number the tables from 0, without a gap
              WALPOST_RELAY__NAMES: relay.names: unknown key; did you mean name?
              WALPOST_HTTP__LISTEN: http.listen: "localhost" is not an address and a port; write an IP address and a port, such as "127.0.0.1:9646" or "[::]:9646", or "off""#]],
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_line_and_column_and_without_its_text() {
    check(
        "[kafka]\nbootstrap_servers = hunter2\n\n[relay\nname = 'x'\n",
        &[],
        expect![[r#"
        the configuration has 2 mistakes:
          walpost.toml:4:7: is not TOML: unclosed table, expected `]`; strings stand in quotes, a section in [brackets]
          walpost.toml:2:21: is not TOML: string values must be quoted, expected literal string; strings stand in quotes, a section in [brackets]"#]],
    );
    check(
        "a = 1\na = 2\n",
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:2:1: is not TOML: duplicate key; strings stand in quotes, a section in [brackets]"#]],
    );
}

#[test]
fn limits_must_agree_and_tables_differ() {
    let text = format!(
        "{LEAST}
        relay.max_in_flight = 1000
        kafka.properties.queue.buffering.max.messages = 999
        kafka.properties.queue.buffering.max.kbytes = 16384
        [[outbox]]
        table = 'public.event'
        [[outbox]]
        table = '\"public\".\"event\"'
        [[outbox]]
        table = 'public.debezium'
        preset = 'debezium'
        columns = {{ aggregatetype = false }}"
    );
    check(
        text,
        &[],
        expect![[r#"
            the configuration has 3 mistakes:
              walpost.toml:6: kafka.properties.queue.buffering.max.messages: 999 is less than the 1000 that relay.max_in_flight needs; leave it out, or lower relay.max_in_flight
              walpost.toml:10: outbox.1.table: public.event is declared as outbox.0 already; keep one of the two
              walpost.toml:12: outbox.2.topic: needs the column of aggregatetype, which columns says is not there; name the column, or give a topic without it"#]],
    );
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    check(
        b"url = '\xff'",
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml: is not UTF-8: a bad byte at offset 7; save the file as UTF-8"#]],
    );
    check(
        vec![b' '; 2 * 1024 * 1024],
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml: is larger than 1048576 bytes; give the path of a configuration file"#]],
    );
}

#[test]
fn a_missing_file_is_refused_if_it_was_named() {
    let errors = Config::load(Some(Path::new("/nowhere/walpost.toml")), owned(&[])).expect_err("no such file");
    expect![[r#"
        the configuration has a mistake:
          /nowhere/walpost.toml: can't be read: No such file or directory (os error 2); check the path given with --config and the file's permissions"#]].assert_eq(&errors.to_string());
}

#[test]
fn nesting_of_any_depth_is_refused_without_an_overflow() {
    const DEPTH: usize = 10_000;
    let array = format!("a = {}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let table = format!("a = {}{}", "{ a = ".repeat(DEPTH), "}".repeat(DEPTH));
    let dotted = format!("{}a = 1", "a.".repeat(DEPTH));
    let header = format!("[{}a]", "a.".repeat(DEPTH));
    let open = format!("a = {}", "[".repeat(DEPTH));
    for text in [array, table, dotted, header, open] {
        // A small stack, so that recursion by the depth of the text can't pass for none.
        let thread = std::thread::Builder::new().stack_size(512 * 1024);
        let errors = thread
            .spawn(move || load(text, &[]).expect_err("too deep").to_string())
            .expect("a thread starts")
            .join()
            .expect("no overflow");
        assert!(errors.contains("recurs"), "{errors}");
    }
    let inline = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let errors = load(LEAST, &[("WALPOST_OUTBOX", &inline)]).expect_err("too deep").to_string();
    assert!(errors.contains("WALPOST_OUTBOX: is not TOML: "), "{errors}");
}

#[test]
fn no_output_shows_a_secret() {
    let text = "
        postgres.url = 'postgres://walpost:hunter2@localhost/shop'
        kafka.bootstrap_servers = 'localhost:9092'
        kafka.properties.sasl.password = 'hunter2'";
    let config = load(text, &[]).expect("a right configuration");
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");

    let misplaced = "
        postgres.url = ['hunter2@localhost']
        postgres.slot = 'postgres://walpost:hunter2@localhost/shop'
        kafka.bootstrap_servers = 'walpost:hunter2@localhost:9092'
        kafka.properties.sasl.password = ['hunter2']";
    let errors = load(misplaced, &[("WALPOST_POSTGRES__URI", "hunter2")]).expect_err("all of it is wrong");
    assert_eq!(errors.0.len(), 5, "{errors}");
    assert!(!format!("{errors} {errors:?}").contains("hunter2"), "{errors}");
}

#[test]
fn a_property_may_be_named_once() {
    check(
        format!("{LEAST}\n[kafka.properties]\nlinger.ms = 5\n'linger.ms' = 6"),
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:7: kafka.properties.linger.ms: is set twice, with quotes and without; keep one of the two"#]],
    );
}

#[test]
fn the_postgres_section_can_be_read_alone() {
    let environment = owned(&[("WALPOST_POSTGRES__URL", "postgres://localhost/shop")]);
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
        let name = environment::variable(&keys[index % keys.len()]);
        let _ = load(LEAST, &[(&name, &value)]);
    }
}
