//! Messages for wrong configurations.

use std::path::Path;

use expect_test::expect;

use super::{LEAST, check, load, owned};
use crate::config::Config;
use crate::sink::Compression;

#[test]
fn all_mistakes_are_reported_at_once_each_with_place_and_fix() {
    let text = "\
[postgres]
slott = 'x'
slot = 'Wal-Post'
sslmode = 'allow'
sslcert = 'client.pem'

[kafka]
bootstrap_servers = ['a:9092', 'b:port']
delivery = 'exactly_once'
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
            the configuration has 32 mistakes:
              walpost.toml:1: postgres.url: is missing; write url = "postgres://user@host:5432/database" under [postgres], or set WALPOST_POSTGRES__URL
              walpost.toml:2: postgres.slott: unknown key; did you mean slot?
              walpost.toml:3: postgres.slot: "Wal-Post" is not a valid slot name; write 1 to 63 of a-z, 0-9 and _
              walpost.toml:4: postgres.sslmode: "allow" is not a valid value; write "disable" or "prefer" or "require" or "verify-ca" or "verify-full"
              walpost.toml:8: kafka.bootstrap_servers: "b:port" is not host:port; write "host:9092,host:9092"
              walpost.toml:9: kafka.delivery: "exactly_once" is not a valid value; did you mean "exactly-once"?
              walpost.toml:10: kafka.properties.linger.ms: is an array, expected a string, number or boolean; write the value as in librdkafka's CONFIGURATION.md
              walpost.toml:13: relay.on_rejected: "dead_letter" is not a valid value; did you mean "dead-letter"?
              walpost.toml:14: relay.dead_letter_topic: "dead letters" is not a valid topic name; use 1 to 249 of a-z, A-Z, 0-9, ., _ and -
              walpost.toml:15: relay.create_topics: is a string, expected true or false; write true or false, without quotes
              walpost.toml:16: relay.max_in_flight: "0" is not a whole number from 1 to 10000000; choose a number in that range
              walpost.toml:17: relay.max_in_flight_bytes: "16 elephants" is not a valid quantity; write a number with B, kB, MB, GB, KiB, MiB or GiB, such as "16MiB"
              walpost.toml:18: relay.shutdown_timeout: 2d is out of range; choose 0s to 1h
              walpost.toml:19: relay.source: "my shop" is not a URI reference; write at most 256 characters, such as "/orders", with other characters percent-encoded
              walpost.toml:21: outbox.0.table: is missing; write table = "schema.table" under [[outbox]], or set WALPOST_OUTBOX__0__TABLE
              walpost.toml:22: outbox.0.preset: "debezuim" is not a valid value; did you mean "debezium"?
              walpost.toml:23: outbox.0.topic: "a.{" has a { without a }; write {column}
              walpost.toml:24: outbox.0.columns.id: is required; name the column
              walpost.toml:24: outbox.0.columns.paylod: unknown key; did you mean payload?
              walpost.toml:25: outbox.0.header_columns: "outbox-x" starts with outbox-, which is reserved for walpost's headers; choose another header
              walpost.toml:28: outbox.1.table: "Public.Event" is not schema.table; put identifiers with capitals in double quotes, '"Schema"."Table"', or use lower case
              walpost.toml:29: outbox.1.columns.schema_name: is required to find the topic; name the column, or give the table a topic
              walpost.toml:33: outbox.2.topic: uses key, but columns sets it to false; name the column, or remove it from the topic
              walpost.toml:34: outbox.2.columns.topic: is not read if the table has a topic; remove one
              walpost.toml:36: htttp: unknown section; did you mean http?
              walpost.toml:39: log: logging is not configured in the file; set WALPOST_LOG and WALPOST_LOG_FORMAT, or use --log and --log-format
              WALPOST_KAFAK__DELIVERY: there is no section kafak; did you mean WALPOST_KAFKA__…?
              WALPOST_KAFKA_BOOTSTRAP_SERVERS: section and key must be separated by two underscores; rename the variable to WALPOST_KAFKA__BOOTSTRAP_SERVERS
              WALPOST_RELAY__: a part of the name is empty; write WALPOST_<SECTION>__<KEY>
              WALPOST_OUTBOX__9__TABLE: only 3 tables come before it; number the tables from 0 without gaps
              WALPOST_RELAY__NAMES: relay.names: unknown key; did you mean name?
              WALPOST_HTTP__LISTEN: http.listen: "localhost" is not an address and port; write an IP address and a port, such as "127.0.0.1:9646" or "[::]:9646", or "off""#]],
    );
}

#[test]
fn malformed_toml_is_refused_with_line_and_column_but_not_quoted() {
    check(
        "[kafka]\nbootstrap_servers = hunter2\n\n[relay\nname = 'x'\n",
        &[],
        expect![[r#"
        the configuration has 2 mistakes:
          walpost.toml:4:7: is not TOML: unclosed table, expected `]`; put strings in quotes and section names in [brackets]
          walpost.toml:2:21: is not TOML: string values must be quoted, expected literal string; put strings in quotes and section names in [brackets]"#]],
    );
    check(
        "a = 1\na = 2\n",
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:2:1: is not TOML: duplicate key; put strings in quotes and section names in [brackets]"#]],
    );
}

#[test]
fn limits_must_agree_and_tables_must_differ() {
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
              walpost.toml:6: kafka.properties.queue.buffering.max.messages: 999 is too low: relay.max_in_flight needs at least 1000; remove it, or lower relay.max_in_flight
              walpost.toml:10: outbox.1.table: public.event is already declared as outbox.0; remove one
              walpost.toml:12: outbox.2.topic: uses aggregatetype, but columns sets it to false; name the column, or remove it from the topic"#]],
    );
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    check(
        b"url = '\xff'",
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml: is not UTF-8: invalid byte at offset 7; save the file as UTF-8"#]],
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
fn a_missing_file_is_refused_if_given_explicitly() {
    let errors = Config::load(Some(Path::new("/nowhere/walpost.toml")), owned(&[])).expect_err("no such file");
    expect![[r#"
        the configuration has a mistake:
          /nowhere/walpost.toml: can't be read: No such file or directory (os error 2); check the --config path and the file's permissions"#]].assert_eq(&errors.to_string());
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
        // A small stack, so that unbounded recursion would overflow.
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
fn a_bad_connection_string_is_not_shown() {
    let with =
        |url: &str| load(LEAST, &[("WALPOST_POSTGRES__URL", url)]).expect_err("no connection string").to_string();
    // The password contains a slash, so part of it is parsed as the port.
    let errors = with("postgres://walpost:hun/ter2@localhost/shop");
    assert!(!errors.contains("hun") && !errors.contains("ter2"), "{errors}");
    assert!(errors.contains("WALPOST_POSTGRES__URL: postgres.url: its port is invalid"), "{errors}");
    let errors = with("postgres://walpost:a?hunter2=b@localhost/shop");
    assert!(!errors.contains("hunter2"), "{errors}");
    assert!(with("host=a user=u sslmod=require").contains("did you mean sslmode?"));
    assert!(with("host=a,b user=u").contains("several hosts"));
}

#[test]
fn case_42_a_column_cannot_become_an_invalid_cloudevents_attribute() {
    let outbox =
        "[[outbox]]\ntable = 'public.outboxevent'\npreset = 'debezium'\nheader_columns = { type = 'ce_event-type' }";
    check(
        format!("{LEAST}\n{outbox}"),
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:8: outbox.0.header_columns: "ce_event-type" is not a valid CloudEvents attribute; use only a-z and 0-9 after ce_, or a header without ce_"#]],
    );
    assert!(load(format!("{LEAST}\nrelay.headers = 'plain'\n{outbox}"), &[]).is_ok());
}

#[test]
fn case_42_compression_given_twice_must_agree() {
    let properties = "kafka.properties.compression.type = 'gzip'\nkafka.properties.'compression.codec' = 'gzip'";
    let config = load(format!("{LEAST}\nkafka.compression = 'gzip'\n{properties}"), &[]).expect("they agree");
    assert_eq!(config.kafka.compression, Compression::Gzip);
    check(
        format!("{LEAST}\nkafka.compression = 'lz5'\n{properties}"),
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:5: kafka.compression: "lz5" is not a valid value; did you mean "lz4"?"#]],
    );
    check(
        format!("{LEAST}\nkafka.compression = 'none'\n{properties}"),
        &[],
        expect![[r#"
        the configuration has 2 mistakes:
          walpost.toml:6: kafka.properties.compression.type: is "gzip", but kafka.compression is "none"; keep only kafka.compression
          walpost.toml:7: kafka.properties.compression.codec: is "gzip", but kafka.compression is "none"; keep only kafka.compression"#]],
    );
}

#[test]
fn librdkafka_validates_its_properties() {
    let text = format!(
        "{LEAST}
        kafka.properties.acks = 1
        kafka.properties.linger.mss = 5
        kafka.properties.security.protocol = 'hunter2'"
    );
    check(
        text,
        &[],
        expect![[r#"
        the configuration has 3 mistakes:
          walpost.toml:5: kafka.properties.acks: is set by walpost: a record counts as published only once every in-sync replica has it; remove it
          walpost.toml:6: kafka.properties.linger.mss: librdkafka has no property of this name; see the list in librdkafka's CONFIGURATION.md
          walpost.toml:7: kafka.properties.security.protocol: librdkafka rejects this value; see its range in librdkafka's CONFIGURATION.md"#]],
    );
}

#[test]
fn a_property_may_be_set_only_once() {
    check(
        format!("{LEAST}\n[kafka.properties]\nlinger.ms = 5\n'linger.ms' = 6"),
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml:7: kafka.properties.linger.ms: is set twice, with quotes and without; remove one"#]],
    );
}

#[test]
fn a_rewind_window_needs_a_short_enough_slot_name() {
    let slot = "s".repeat(57);
    assert!(load(format!("{LEAST}\nrelay.rewind = '24h'\npostgres.slot = '{}'", &slot[1..]), &[]).is_ok());
    check(
        format!("{LEAST}\nrelay.rewind = '24h'\npostgres.slot = '{slot}'"),
        &[],
        expect![[r#"
        the configuration has a mistake:
          walpost.toml: relay.rewind: slot name sssssssssssssssssssssssssssssssssssssssssssssssssssssssss is too long to derive the rewind window's slot name from it; choose a postgres.slot of at most 56 bytes, or turn relay.rewind off"#]],
    );
}
