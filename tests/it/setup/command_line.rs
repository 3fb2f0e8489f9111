//! Diagnostics of the configuration and the command line, as users of the binary see them.

use std::process::Output;

use expect_test::{Expect, expect};

use crate::harness::walpost;

fn run(arguments: &[&str], config: Option<&str>, environment: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    if let Some(config) = config {
        std::fs::write(folder.path().join("walpost.toml"), config).expect("the file is written");
    }
    let environment = environment.iter().copied();
    walpost().args(arguments).envs(environment).current_dir(folder.path()).output().expect("the binary runs")
}

fn check(output: &Output, code: i32, expected: &Expect) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(output.stdout.is_empty(), "errors go to stderr");
    expected.assert_eq(&message);
}

#[test]
fn case_24_all_mistakes_of_a_configuration_are_reported_at_once() {
    let config = "
        [postgres]
        url = 'postgres://walpost:hunter2@db:port/shop'
        slott = 'x'
        [kafka]
        bootstrap_servers = 'kafka'
        properties = { 'acks' = '1', 'sasl.pasword' = 'hunter2' }
        [relay]
        on_rejected = 'stop'
        [http]
        listen = 'everywhere'
        ";
    let output = run(&["run"], Some(config), &[("WALPOST_RELAY__MAX_IN_FLIGHT", "many")]);
    check(
        &output,
        64,
        &expect![[r#"
            walpost: the configuration has 7 mistakes:
              walpost.toml:3: postgres.url: its port is invalid: expected a number from 1 to 65535; write postgres://user@host:5432/database, with special characters percent-encoded, or libpq's keywords
              walpost.toml:4: postgres.slott: unknown key; did you mean slot?
              walpost.toml:7: kafka.properties.acks: is set by walpost: a record counts as published only once every in-sync replica has it; remove it
              walpost.toml:7: kafka.properties.sasl.pasword: librdkafka has no property of this name; see the list in librdkafka's CONFIGURATION.md
              walpost.toml:9: relay.on_rejected: "stop" is not a valid value; write "dead-letter" or "halt" or "dead-letter-always"
              walpost.toml:11: http.listen: "everywhere" is not an address and port; write an IP address and a port, such as "127.0.0.1:9646" or "[::]:9646", or "off"
              WALPOST_RELAY__MAX_IN_FLIGHT: relay.max_in_flight: "many" is not a whole number from 1 to 10000000; choose a number in that range
        "#]],
    );
}

#[test]
fn case_47_a_log_in_json_ends_with_the_error_in_json() {
    let config = "[postgres]\nurl = 'postgres://db/shop'\n[kafka]\nbootstrap_servers = 'kafka'\n";
    for arguments in [["run", "--log", "info"], ["run", "--log", "off"], ["run", "--log", "none=of,these=levels"]] {
        let arguments = [&arguments[..], &["--log-format", "json"]].concat();
        let output = run(&arguments, Some(config), &[]);
        assert_eq!(output.status.code(), Some(64));
        let stderr = String::from_utf8_lossy(&output.stderr);
        let line: serde_json::Value = serde_json::from_str(&stderr).unwrap_or_else(|error| panic!("{error}: {stderr}"));
        assert_eq!((&line["level"], &line["exit_code"]), (&"ERROR".into(), &64.into()), "{line}");
        let message = line["message"].as_str().expect("a message");
        assert!(message.contains("walpost.toml:2: postgres.url") || message.contains("is not a log filter"), "{line}");
    }
}

#[test]
fn a_missing_configuration_is_explained() {
    check(
        &run(&["run"], None, &[]),
        64,
        &expect![[r#"
        walpost: the configuration has 2 mistakes:
          configuration: postgres.url: is missing; write url = "postgres://user@host:5432/database" under [postgres], or set WALPOST_POSTGRES__URL
          configuration: kafka.bootstrap_servers: is missing; write bootstrap_servers = "host:9092" under [kafka], or set WALPOST_KAFKA__BOOTSTRAP_SERVERS
    "#]],
    );
    check(
        &run(&["run", "--config", "nowhere.toml"], None, &[]),
        64,
        &expect![[r#"
        walpost: the configuration has a mistake:
          nowhere.toml: can't be read: No such file or directory (os error 2); check the --config path and the file's permissions
    "#]],
    );
    check(
        &run(&["migrate"], None, &[]),
        64,
        &expect![[r#"
        walpost: no database given: use --database-url, set DATABASE_URL, or create walpost.toml: the configuration has a mistake:
          configuration: postgres.url: is missing; write url = "postgres://user@host:5432/database" under [postgres], or set WALPOST_POSTGRES__URL
    "#]],
    );
}

#[test]
fn unknown_arguments_and_log_filters_are_refused() {
    for arguments in [&["rum"][..], &["run", "--conf", "x"], &[], &["migrate", "--print", "--json"]] {
        let output = run(arguments, None, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
    let filter = run(&["--log", "walpost=louder", "run"], None, &[]);
    check(
        &filter,
        64,
        &expect![[r#"
        walpost: "walpost=louder" is not a log filter; write a level such as "debug", or targets such as "walpost=debug,info": error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    "#]],
    );
    check(
        &run(&["--log", "debugg", "run"], None, &[]),
        64,
        &expect![[r#"
        walpost: unknown level "debugg"; did you mean debug?
    "#]],
    );
}
