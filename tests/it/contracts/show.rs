//! What is registered, and what was emitted.

use serde_json::json;

use super::Contracts;
use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_everything_known_about_a_schema() {
    let harness = Harness::migrated("contract_show").await;
    let contracts = Contracts::new(&harness);
    let nothing = contracts.ask(&["list"]);
    assert!(nothing.stdout.starts_with("no schema versions are registered"), "{nothing:?}");
    let keys = "  description: An order was placed.\n  customProperties: [{property: onViolation, value: halt}]\n";
    let properties =
        "[{name: id, logicalType: string, required: true, transformSourceObjects: [shop.orders], transformLogic: id}]";
    let sla = "slaProperties: [{property: latency, value: 5, unit: s}]\n";
    contracts.write("1.yaml", &(sla.to_owned() + &contracts.contract("order.placed", "1", keys, properties)));
    contracts.write("2.yaml", &(sla.to_owned() + &contracts.contract("order.placed", "2", keys, properties)));
    contracts.write("x.yaml", &contracts.contract("x", "1", "", "[]").replace("status: active", "status: deprecated"));
    assert_eq!(contracts.run(&["apply"]).code(), Some(0));
    let again = contracts.run(&["apply"]);
    assert!(again.stdout.ends_with("applied: no changes\n"), "{again:?}");
    harness
        .execute(
            "select outbox.emit('order.placed', 'k', '{\"id\": \"1\"}'::json, version => '1'); \
             select outbox.emit('order.placed', 'k', '{\"id\": \"12\"}'::json, headers => '{\"producer\": \"checkout-7\"}'); \
             select outbox.emit('order.placed', 'k', null::json, version => '1');",
        )
        .await;

    let topic = harness.topic("order.placed");
    let list = contracts.ask(&["list"]);
    assert_eq!(list.code(), Some(0), "{list:?}");
    let lines: Vec<Vec<&str>> = list
        .stdout
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(lines[1], ["order.placed", "1, 2", &topic, "checkout", "5 s"], "{}", list.stdout);
    assert_eq!(lines[2][..2], ["x", "1 (deprecated)"], "{}", list.stdout);
    let report = contracts.ask(&["list", "--json"]).report();
    let schema = &report["schemas"][0];
    assert_eq!(
        (&schema["name"], &schema["owner"], &schema["topic"]),
        (&json!("order.placed"), &json!("checkout"), &json!(topic))
    );
    assert_eq!(schema["versions"][1]["version"], "2");

    let shown = contracts.ask(&["show", "order.placed", "--json"]).report();
    assert_eq!((&shown["version"], &shown["description"]), (&json!("2"), &json!("An order was placed.")));
    assert_eq!((&shown["sla"]["freshness_seconds"], &shown["on_violation"]), (&json!(5), &json!("halt")));
    assert_eq!(
        shown["lineage"],
        json!({"sources": ["shop.orders"], "properties": {"/id": {"sources": ["shop.orders"], "logic": "id"}}})
    );
    assert_eq!(shown["schema"]["required"], json!(["id"]));
    let emitted = shown["emitted"].as_array().expect("events are counted");
    let counts: Vec<_> = emitted
        .iter()
        .map(|of| (of["version"].as_str(), of["events"].as_i64(), of["payload_bytes"].as_i64()))
        .collect();
    assert!(
        counts.contains(&(Some("1"), Some(2), Some(11))) && counts.contains(&(Some("2"), Some(1), Some(12))),
        "{shown}"
    );
    let last = emitted.iter().find(|of| of["version"] == "2").expect("it was emitted");
    assert_eq!(last["last_headers"], json!({"producer": "checkout-7"}));

    let text = contracts.ask(&["show", "order.placed", "1"]);
    assert_eq!(text.code(), Some(0), "{text:?}");
    for line in [
        "order.placed/1 (active, registered ",
        "  An order was placed.\n",
        "owner           checkout\n",
        "on violation    halt\n",
        "freshness       5 s\n",
        "service level   latency 5 s\n",
        "lineage         /id from shop.orders by id\n",
        "emitted         1: 2 events, 11 bytes, from ",
    ] {
        assert!(text.stdout.contains(line), "{line}{}", text.stdout);
    }
    for (arguments, name) in
        [(&["show", "order.paid"][..], "order.paid"), (&["show", "order.placed", "3"], "order.placed/3")]
    {
        let unknown = contracts.ask(arguments);
        assert_eq!(unknown.code(), Some(1));
        assert!(
            unknown.stderr.contains(&format!("{name} is not registered; `walpost contract list` shows what is")),
            "{unknown:?}"
        );
    }
}
