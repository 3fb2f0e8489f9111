//! Planning and applying, repeatedly and concurrently.

use super::{Contracts, ID};
use crate::harness::Harness;
use crate::harness::program::Ended;

#[tokio::test(flavor = "multi_thread")]
async fn plan_changes_nothing_and_apply_does_what_it_showed_once() {
    let harness = Harness::migrated("contract_apply").await;
    let contracts = Contracts::new(&harness);
    // A contract with two events: one topic keeps records for a week, the other the latest of each key.
    let state = harness.topic("order.state");
    let second = format!(
        "- name: order.state\n  physicalType: topic\n  physicalName: {state}\n  customProperties:\n  - {{property: topicConfiguration, \
         value: {{cleanup.policy: compact}}}}\n  properties: [{{name: id, logicalType: string}}]\n"
    );
    let keys = "  customProperties:\n  - {property: partitions, value: 3}\n  - {property: topicConfiguration, value: {retention.ms: 604800000}}\n";
    contracts.write("orders/orders.odcs.yaml", &(contracts.contract("order.placed", "1.0.0", keys, ID) + &second));
    let placed = harness.topic("order.placed");

    let plan = contracts.run(&["plan"]);
    assert_eq!(plan.code(), Some(0), "{plan:?}");
    for line in [
        format!("+ order.placed/1.0.0: register, to topic {placed}\n"),
        format!("+ topic {placed}: create, 3 partitions, retention.ms=604800000\n"),
        format!("+ topic {state}: create, cleanup.policy=compact\n"),
        "plan: 2 schema versions to register, 2 topics to create\n".to_owned(),
    ] {
        assert!(plan.stdout.contains(&line), "{line}{}", plan.stdout);
    }
    assert_eq!(contracts.registered().await, [""; 0]);
    assert_eq!(harness.partitions(&placed), 0);

    let applied = contracts.run(&["apply"]);
    assert_eq!(applied.code(), Some(0), "{applied:?}");
    assert!(
        applied.stdout.ends_with("applied: 2 schema versions registered, 2 topics created\n"),
        "{}",
        applied.stdout
    );
    assert_eq!(contracts.registered().await, ["order.placed/1.0.0 active", "order.state/1.0.0 active"]);
    assert_eq!(harness.partitions(&placed), 3);
    assert_eq!(harness.topic_property(&placed, "retention.ms").await.as_deref(), Some("604800000"));
    assert_eq!(harness.topic_property(&state, "cleanup.policy").await.as_deref(), Some("compact"));
    let emitted = harness.query_text("select outbox.emit('order.placed', 'k', '{\"id\": \"1\"}'::json)::text").await;
    assert!(emitted.is_some(), "what is registered can be emitted");

    for (arguments, end) in [(["apply"], "applied: no changes\n"), (["plan"], "plan: no changes\n")] {
        let again = contracts.run(&arguments);
        assert_eq!((again.code(), again.stdout.ends_with(end)), (Some(0), true), "{again:?}");
        assert!(again.stdout.contains("= order.placed/1.0.0: registered\n"), "{}", again.stdout);
        assert!(again.stdout.contains(&format!("= topic {placed}: unchanged\n")), "{}", again.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_applies_one_makes_the_changes() {
    let harness = Harness::migrated("contract_race").await;
    let contracts = Contracts::new(&harness);
    let keys = "  customProperties: [{property: partitions, value: 2}]\n";
    for name in ["a", "b", "c"] {
        contracts.write(&format!("{name}.yaml"), &contracts.contract(name, "1", keys, ID));
    }
    let start = |_| contracts.command(&["apply"]).spawn().expect("the binary starts");
    let running: Vec<_> = (0..4).map(start).collect();
    let ended: Vec<Ended> =
        running.into_iter().map(|child| Ended::of(child.wait_with_output().expect("it ends"))).collect();
    assert!(ended.iter().all(|ended| ended.code() == Some(0)), "{ended:?}");
    let count = |end: &str| ended.iter().filter(|ended| ended.stdout.ends_with(end)).count();
    assert_eq!(count("applied: 3 schema versions registered, 3 topics created\n"), 1, "{ended:?}");
    assert_eq!(count("applied: no changes\n"), 3, "{ended:?}");
    assert_eq!(contracts.registered().await, ["a/1 active", "b/1 active", "c/1 active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_of_compatibility_exits_with_65_and_nothing_is_applied() {
    let harness = Harness::migrated("contract_breach").await;
    let contracts = Contracts::new(&harness);
    let keys = "  customProperties: [{property: compatibility, value: full}]\n";
    contracts.write("1.yaml", &contracts.contract("order.placed", "1", keys, ID));
    assert_eq!(contracts.run(&["apply"]).code(), Some(0));

    // Adding an optional property is compatible in both directions.
    let optional = "[{name: id, logicalType: string, required: true}, {name: note, logicalType: string}]";
    contracts.write("2.yaml", &contracts.contract("order.placed", "2", keys, optional));
    let plan = contracts.run(&["plan"]);
    assert_eq!(plan.code(), Some(0), "{plan:?}");

    // Adding a required one is not, nor is another type; other files in the directory have to wait.
    let required =
        "[{name: id, logicalType: integer, required: true}, {name: note, logicalType: string, required: true}]";
    contracts.write("2.yaml", &contracts.contract("order.placed", "2", keys, required));
    contracts.write("other.yaml", &contracts.contract("other", "1", "", ID));
    for command in ["plan", "apply"] {
        let refused = contracts.run(&[command]);
        assert_eq!(refused.code(), Some(65), "{refused:?}");
        for line in [
            "! order.placed/2: refused\n",
            "type_changed: consumers of 2 can't read events of 1: /id has another type (string; the reader accepts \"integer\")\n",
            "required_property_added_to_unopen_content_model: consumers of 2 can't read events of 1: /note is never present, but the reader requires it\n",
            "type_changed: consumers of 1 can't read events of 2: /id has another type (integer; the reader accepts \"string\")\n",
            "; 3 refused\n",
        ] {
            assert!(refused.stdout.contains(line), "{line}{}", refused.stdout);
        }
        assert_eq!(refused.stderr, "walpost: 3 changes are refused; nothing was applied\n");
    }
    let json = contracts.run(&["plan", "--json"]);
    assert_eq!(json.code(), Some(65));
    let report = json.report();
    assert_eq!((&report["may_apply"], &report["applied"]), (&false.into(), &false.into()));
    let refused = &report["versions"][1]["refused"][0];
    assert_eq!(
        (refused["rule"].as_str(), refused["property"].as_str()),
        (Some("type_changed"), Some("/id")),
        "{report}"
    );
    assert_eq!(contracts.registered().await, ["order.placed/1 active"]);
    assert_eq!(harness.partitions(&harness.topic("other")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_a_registered_version_is_refused_with_the_difference() {
    let harness = Harness::migrated("contract_immutable").await;
    let contracts = Contracts::new(&harness);
    let v1 = contracts.contract("order.placed", "1", "", ID);
    contracts.write("1.yaml", &v1);
    assert_eq!(contracts.run(&["apply"]).code(), Some(0));
    let changed =
        v1.replace("checkout", "warehouse").replace("logicalType: string", "logicalType: string, description: The id.");
    contracts.write("1.yaml", &changed);
    let refused = contracts.run(&["apply"]);
    assert_eq!(refused.code(), Some(65), "{refused:?}");
    for line in [
        "immutable: ",
        "schema /properties/id/description: nothing, not \"The id.\"\n",
        "owner: \"checkout\", not \"warehouse\"\n",
    ] {
        assert!(refused.stdout.contains(line), "{line}: {}", refused.stdout);
    }
    // The same definition in another notation is the same.
    contracts.write(
        "1.yaml",
        &v1.replace(
            "{name: id, logicalType: string, required: true}",
            "{required: true, name: 'id', logicalType: \"string\"}",
        ),
    );
    assert!(contracts.run(&["apply"]).stdout.ends_with("applied: no changes\n"));
    // Registered by hand before, with the same meaning: recognized as unchanged. An older version after a newer one is refused.
    contracts.write("1.yaml", &v1);
    contracts.write("0.yaml", &contracts.contract("order.placed", "0.9", "", ID));
    let older = contracts.run(&["plan"]);
    assert!(older.code() == Some(65) && older.stdout.contains("version_order: 1 is already registered"), "{older:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_follows_the_file_and_drafts_are_skipped() {
    let harness = Harness::migrated("contract_status").await;
    let contracts = Contracts::new(&harness);
    let version = |number: &str, status: &str| {
        let text =
            contracts.contract("order.placed", number, "", ID).replace("status: active", &format!("status: {status}"));
        contracts.write(&format!("{number}.yaml"), &text);
    };
    version("1", "active");
    version("2", "draft");
    let applied = contracts.run(&["apply"]);
    assert!(applied.stdout.contains("- order.placed/2: draft, skipped\n"), "{applied:?}");
    assert_eq!(contracts.registered().await, ["order.placed/1 active"]);
    version("1", "retired");
    version("2", "active");
    version("3", "deprecated");
    let applied = contracts.run(&["apply"]);
    assert!(applied.stdout.contains("~ order.placed/1: active -> retired\n"), "{applied:?}");
    assert!(applied.stdout.ends_with("applied: 2 schema versions registered, 1 status set\n"), "{applied:?}");
    assert_eq!(
        contracts.registered().await,
        ["order.placed/1 retired", "order.placed/2 active", "order.placed/3 deprecated"]
    );
    assert_eq!(harness.query_text("select outbox.emittable_version('order.placed', null)").await.as_deref(), Some("2"));
}
