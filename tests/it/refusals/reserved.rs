//! Topics that no event may go to, whoever names them.

use serde_json::json;

use super::{insert, values};
use crate::contracts::Contracts;
use crate::harness::program::Ended;
use crate::harness::{Harness, Relay, config, walpost};

/// Topics that a row may not name, in any configuration.
const RESERVED: [&str; 6] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "walpost.positions",
    "walpost_positions",
    "walpost.redriven",
];

/// A command with this configuration.
fn run(folder: &tempfile::TempDir, arguments: &[&str]) -> Ended {
    let path = folder.path().join("walpost.toml");
    Ended::of(walpost().args(arguments).arg("--config").arg(path).output().expect("the binary runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_39_nothing_is_published_to_a_reserved_topic_or_outside_the_allow_list() {
    let harness = Harness::migrated("reserved_topics").await;
    let (orders, dead_letters) = (harness.topic("order.placed"), harness.topic("dead-letter"));
    harness.register("order.placed").await;
    let outside = harness.topic("payments");
    harness.execute(&format!("select outbox.register_schema_version('payment.made', '1', topic => '{outside}')")).await;
    let text = config(&harness, &format!("topics = [\"{}.order*\", \"walpost*\"]\n", harness.name()));
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("walpost.toml"), &text).expect("the configuration is written");
    let mut relay = Relay::start_with(&text);
    relay.ready().await;

    let mut named: Vec<&str> = RESERVED.to_vec();
    named.extend([dead_letters.as_str(), outside.as_str()]);
    for topic in &named {
        harness.execute(&insert("order.placed", "'k'", "'1'", &[("topic", &format!("'{topic}'"))])).await;
    }
    harness.execute("select outbox.emit_message('order.placed', 'k', '1', topic => '__consumer_offsets')").await;
    harness.execute("select outbox.emit('payment.made', 'k', '1')").await;
    harness.execute("select outbox.emit('order.placed', 'k', '2')").await;
    named.extend(["__consumer_offsets", outside.as_str()]);
    let refused = harness.consume(&dead_letters, named.len()).await;
    for (dead_letter, topic) in refused.iter().zip(&named) {
        assert_eq!(dead_letter.header("outbox-error"), Some("not_authorized"), "{dead_letter:?}");
        assert_eq!(dead_letter.header("outbox-topic"), Some(*topic), "{dead_letter:?}");
    }
    let details =
        refused.iter().filter_map(|dead_letter| dead_letter.header("outbox-error-detail")).collect::<String>();
    for part in ["Kafka's internal topics", "walpost's own state", "the relay's dead-letter topic", "[relay] topics"] {
        assert!(details.contains(part), "{part} is not in {details}");
    }
    assert_eq!(values(&harness.consume(&orders, 1).await), ["2"]);
    assert_eq!(
        harness.topic_property(&dead_letters, "retention.ms").await.as_deref(),
        Some("-1"),
        "dead letters never expire"
    );

    // The dead letter's topic is reserved.
    let ended = run(&folder, &["dead-letter", "redrive", "--all", "--json", "--database-url", harness.url()]);
    assert_eq!((ended.code(), &ended.report()["stay"]), (Some(65), &json!(named.len())), "{ended:?}");
    let codes = ended.report()["staying_letters"].to_string();
    assert_eq!(codes.matches("not_authorized").count(), named.len(), "{codes}");
    let ended = run(&folder, &["replay", "--from-table", "--topic", "walpost.positions"]);
    assert_eq!(ended.code(), Some(64), "{ended:?}");
    assert!(ended.stderr.contains("topic walpost.positions is reserved"), "{ended:?}");

    for topic in RESERVED {
        let register = format!("select outbox.register_schema_version('x', '1', topic => '{topic}')");
        let refused = harness.session().await.batch_execute(&register).await.expect_err(topic);
        assert_eq!(refused.code().map(|code| code.code()), Some("22023"), "{refused:?}");
    }

    let found = run(&folder, &["doctor", "--json"]);
    let findings = found.report()["findings"].as_array().expect("a list").clone();
    let reported = format!("topic {outside} is not allowed: no pattern of [relay] topics matches it");
    assert!(
        findings.iter().any(|line| line["verdict"] == "warning"
            && line["what"].as_str().is_some_and(|what| what.starts_with(&reported))),
        "{findings:?}"
    );
    assert_eq!(relay.terminate().await.code(), Some(0));
}

/// The same list, for contract files.
#[tokio::test(flavor = "multi_thread")]
async fn case_39_a_contract_for_a_reserved_topic_is_refused_by_plan_and_by_apply() {
    let harness = Harness::migrated("reserved_contracts").await;
    let contracts = Contracts::new(&harness);
    let to = |name: &str, topic: &str| {
        let text = contracts.contract(name, "1", "", "[{name: id, logicalType: string}]");
        contracts.write(&format!("{name}.yaml"), &text.replace(&harness.topic(name), topic));
    };
    to("own", "outbox.dead-letter");
    to("kafkas", "__consumer_offsets");
    to("listed", &harness.topic("listed"));
    for (command, topics) in [("plan", ""), ("plan", "offline"), ("apply", "")] {
        let arguments: &[&str] = if topics.is_empty() { &[command] } else { &[command, "--offline"] };
        let mut refused = contracts.command(arguments);
        if !topics.is_empty() {
            refused = crate::harness::program::command("contract", arguments);
            refused.arg(contracts.folder());
        }
        let refused = Ended::of(refused.output().expect("the binary runs"));
        assert_eq!(refused.code(), Some(65), "{refused:?}");
        assert!(refused.stderr.contains("2 changes are refused"), "{refused:?}");
        for part in ["is reserved: it is the relay's dead-letter topic", "Kafka's internal topics"] {
            assert!(refused.stdout.contains(part), "{part} is not in {}", refused.stdout);
        }
    }
    let mut planned = contracts.command(&["plan"]);
    planned.env("WALPOST_RELAY__TOPICS", "other, orders.*").env("WALPOST_RELAY__DEAD_LETTER_TOPIC", "elsewhere");
    let planned = Ended::of(planned.output().expect("the binary runs"));
    assert!(planned.stderr.contains("3 changes are refused"), "{planned:?}");
    assert_eq!(planned.stdout.matches("no pattern of [relay] topics matches it").count(), 2, "{planned:?}");
    assert_eq!(contracts.registered().await, [""; 0]);
}
