//! The walkthrough in `examples/contracts/README.md`: every command, with the output that it shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use walpost::contracts::compatibility;
use walpost::contracts::diagnostic::ContractRule;
use walpost::lab::sandbox::KafkaOptions;
use walpost_producer::schema::Schema;

use crate::harness::{Harness, Relay, walpost};

const README: &str = "examples/contracts/README.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of a text, with their languages.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let fenced = text.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block has a first line")).collect()
}

/// Commands with their expected output.
fn commands(block: &str) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, shown))) => shown.push(line),
            (None, None) => panic!("a block of the console begins with a command: {line}"),
        }
    }
    commands
}

/// Whether lines match; a line of three dots stands for any lines.
fn is_as_shown(lines: &[&str], shown: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((&"...", rest)) => (0..=lines.len()).any(|skipped| is_as_shown(&lines[skipped..], rest)),
        Some((first, rest)) => lines.first() == Some(first) && is_as_shown(&lines[1..], rest),
    }
}

/// Registers and emits what the quick start does: the walkthrough may come after it, in the same database.
async fn quick_start(harness: &Harness) {
    let page = fs::read_to_string(root().join("README.md")).expect("the page is there");
    let registers = page.lines().find_map(|line| line.strip_prefix("psql -d shop -c \"select")?.strip_suffix('"'));
    harness.execute(&format!("select{}", registers.expect("it registers a schema version"))).await;
    let emits = blocks(&page).into_iter().find(|(language, _)| *language == "sql").expect("it emits an event").1;
    harness.execute("create table orders (id bigint, total numeric)").await;
    harness.execute(emits).await;
    harness.consume("orders", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walkthrough_works_as_written() {
    // Its topics have names that could exist in a shared Kafka.
    let harness = Harness::with_own_kafka("contract_walk", KafkaOptions::default()).await;
    harness.migrate().await;
    let readme = fs::read_to_string(root().join(README)).expect("the walkthrough exists");
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let binaries = Path::new(walpost().get_program()).parent().expect("a binary has a folder").to_owned();
    let path = std::env::join_paths(
        [binaries].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.expect("paths can be joined");
    let mut relay = Relay::start(&harness, "");
    quick_start(&harness).await;
    let (mut payload, mut refused, mut reason) = (None, None, None);
    let mut run = 0;
    for (language, block) in blocks(&readme) {
        match language {
            "console" => {
                for (command, shown) in commands(block) {
                    let output = Command::new("sh")
                        .args(["-c", &format!("({command}) 2>&1")])
                        .current_dir(root())
                        .env("PATH", &path)
                        .env("TMPDIR", scratch.path())
                        .env("DATABASE_URL", harness.url())
                        .env("WALPOST_KAFKA__BOOTSTRAP_SERVERS", harness.kafka())
                        .output()
                        .expect("a shell");
                    let text = String::from_utf8(output.stdout).expect("it prints text");
                    let lines: Vec<&str> = text.lines().collect();
                    assert!(
                        is_as_shown(&lines, &shown),
                        "$ {command}\n{text}\nbut {README} shows\n{}",
                        shown.join("\n")
                    );
                    run += 1;
                }
            }
            "sql" => {
                harness.execute(block).await;
                let emitted = |key| block.split(key).nth(1).and_then(|rest: &str| rest.split("');").next());
                payload = payload.or(emitted("'ada', '"));
                refused = refused.or(emitted("'bob', '"));
            }
            "text" => reason = Some(block),
            _ => {}
        }
    }
    assert!(run >= 8, "{run} commands");

    let payload = payload.expect("the walkthrough emits an event");
    let records = harness.consume("shop.orders", 1).await;
    assert_eq!(records[0].value.as_deref(), Some(payload.as_bytes()));
    let header =
        records[0].headers.iter().find(|(name, _)| name == "ce_dataschema").and_then(|(_, value)| value.as_deref());
    assert_eq!(header, Some("urn:walpost:schema:order.placed/1.0.0".as_bytes()));
    let refused = refused.expect("the walkthrough emits an event that violates its contract");
    let dead_letters = harness.consume(&harness.topic("dead-letter"), 1).await;
    assert_eq!(dead_letters[0].value_text(), Some(refused));
    for line in reason.expect("the walkthrough shows why").lines() {
        let (name, value) = line.split_once(": ").expect("a header and its value");
        assert_eq!(dead_letters[0].header(name), Some(value), "{README} shows {line}");
    }
    assert!(relay.terminate().await.success());

    // It conforms to both versions, and a negative example does not.
    for version in ["1.0.0", "1.1.0"] {
        let sql = format!(
            "select schema::text from outbox.schema_version where name = 'order.placed' and version = '{version}'"
        );
        let schema = harness.query_text(&sql).await.expect("it is registered");
        let schema = Schema::compile(&serde_json::from_str(&schema).expect("it is JSON")).expect("it compiles");
        assert_eq!(schema.check(payload.as_bytes()), Ok(()), "{version}");
        let broken = schema.check(payload.replace("\"44.80\"", "44.80").as_bytes()).expect_err("the total is text");
        assert_eq!((broken.pointer.as_str(), broken.rule.as_str()), ("/total", "type"));
    }
}

#[test]
fn the_walkthrough_lists_every_rule_and_their_number() {
    let readme = fs::read_to_string(root().join(README)).expect("the page is there");
    for rule in ContractRule::ALL {
        assert!(readme.contains(&format!("`{rule}`")), "{rule} is not in {README}");
    }
    let rules = compatibility::CompatibilityRule::ALL;
    let own: Vec<_> = rules.iter().filter(|rule| rule.source() == compatibility::RuleSource::Draft202012).collect();
    let sentence = format!("There are {} rules. {} are those of Confluent", rules.len(), rules.len() - own.len());
    assert!(readme.contains(&sentence), "{README} does not have: {sentence}");
    for rule in own {
        assert!(readme.contains(&format!("`{rule}`")), "{rule} is not in {README}");
    }
}

#[test]
fn the_contract_in_the_documentation_is_valid() {
    let page = fs::read_to_string(root().join("docs/contracts.md")).expect("the page is there");
    let shown: Vec<_> = blocks(&page).into_iter().filter(|(language, _)| *language == "yaml").collect();
    assert_eq!(shown.len(), 1);
    let file = std::sync::Arc::from(Path::new("docs/contracts.md"));
    let definitions = walpost::contracts::odcs::read(&file, shown[0].1).expect("it has no mistakes").definitions;
    assert_eq!((definitions[0].name.as_str(), definitions[0].topic.as_str()), ("order.shipped", "shipments"));
}
