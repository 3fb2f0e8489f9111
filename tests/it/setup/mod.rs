//! Setups that can't work: the message, its fix, and the exit code.

mod broker;
mod command_line;
mod impostor;
mod emergency_settings;
mod pooler;
mod publication;
mod roles;
mod server;
mod slot;
mod streamed;
mod tls;
mod unreachable;

use crate::harness::program::{self, Ended};
use crate::harness::{Harness, Relay, config};

/// Starts a relay that must exit by itself; returns its exit code and its only line on stderr.
async fn refused(config: &str) -> (Option<i32>, String) {
    let mut relay = Relay::start_with(config);
    let status = relay.exit().await;
    let log = relay.log();
    let reported: Vec<&str> = log.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(reported.len(), 1, "{log}");
    (status.code(), reported[0].to_owned())
}

/// Starts a relay that must be refused as unavailable; returns the message with `db` for the test's name. Whatever it is,
/// doctor does not call it fine.
async fn unavailable(harness: &Harness, config: &str) -> String {
    let (code, message) = refused(config).await;
    assert_eq!(code, Some(69), "{message}");
    let doctor = ended_with(config, "doctor");
    assert_eq!(doctor.code(), Some(69), "the relay says: {message}\ndoctor says:\n{}", doctor.stdout);
    message.replace(harness.name(), "db")
}

/// The same for what shows only once the relay reads the slot's stream, which doctor can't do beside it.
async fn unavailable_while_reading(harness: &Harness, config: &str) -> String {
    let (code, message) = refused(config).await;
    assert_eq!(code, Some(69), "{message}");
    message.replace(harness.name(), "db")
}

/// The command between backticks, with this test's names.
fn fix(harness: &Harness, message: &str) -> String {
    let mut parts = message.split('`');
    let command = parts.nth(1).unwrap_or_else(|| panic!("no command: {message}"));
    assert!(parts.next().is_some(), "the command does not end: {message}");
    command.replace("db", harness.name())
}

/// Runs the statement or the walpost command in the message.
async fn run_fix(harness: &Harness, config: &str, message: &str) {
    let fix = fix(harness, message);
    match fix.strip_prefix("walpost ") {
        Some(arguments) => drop(walpost_with(config, arguments)),
        None => harness.execute(&fix).await,
    }
}

/// The output of a walpost command with this configuration.
pub(crate) fn walpost_with(config: &str, arguments: &str) -> String {
    let ended = ended_with(config, arguments);
    assert!(ended.status.success(), "{arguments}: {} {}", ended.stdout, ended.stderr);
    ended.stdout
}

/// The result of a walpost command with this configuration.
pub(crate) fn ended_with(config: &str, arguments: &str) -> Ended {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), config).expect("the configuration is written");
    let mut arguments: Vec<&str> = arguments.split(' ').collect();
    let name = arguments.remove(0);
    arguments.extend(["--config", file.path().to_str().expect("a path in UTF-8")]);
    program::run(name, &arguments)
}

/// Starts a relay, publishes one event, and stops it.
async fn works(harness: &Harness, config: &str) {
    let key = uuid::Uuid::now_v7().to_string();
    harness.register("order.placed").await;
    let mut relay = Relay::start_with(config);
    relay.ready().await;
    harness.execute(&format!("select outbox.emit('order.placed', '{key}', '1')")).await;
    let arrived =
        move |records: &[crate::harness::Received]| records.iter().any(|record| record.key_text() == Some(&key));
    harness.consume_until(&[&harness.topic("order.placed")], "the new event", arrived).await;
    assert_eq!(relay.terminate().await.code(), Some(0), "{}", relay.log());
}

/// The configuration for another role.
fn config_as(harness: &Harness, role: &str, password: &str) -> String {
    config(harness, "").replace(harness.url(), &url_as(harness, role, password))
}

pub(crate) fn url_as(harness: &Harness, role: &str, password: &str) -> String {
    let mut url = url::Url::parse(harness.url()).expect("the harness gives a URL");
    url.set_username(role).expect("the URL has a host");
    url.set_password(Some(password)).expect("the URL has a host");
    url.into()
}
