//! Where files, database and Kafka come from, and what is said when they are not there.

use super::Contracts;
use crate::harness::{Harness, walpost};

const ID: &str = "[{name: id, logicalType: string, required: true}]";

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_says_where_the_servers_are_and_contracts_is_the_default_folder() {
    let harness = Harness::migrated("contract_config").await;
    let contracts = Contracts::new(&harness);
    contracts.write("contracts/deep/er/1.yml", &contracts.contract("order.placed", "1", "", ID));
    contracts.write("contracts/.hidden/2.yml", "not: a contract");
    contracts.write("contracts/readme.txt", "not a contract");
    let config =
        format!("[postgres]\nurl = \"{}\"\n[kafka]\nbootstrap_servers = \"{}\"\n", harness.url(), harness.kafka());
    contracts.write("walpost.toml", &config);
    let run = |arguments: &[&str]| {
        let output = walpost()
            .current_dir(contracts.folder())
            .arg("contract")
            .args(arguments)
            .output()
            .expect("the binary runs");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, out, err) = run(&["apply"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.ends_with("applied: 1 schema version registered, 1 topic created\n"), "{out}");
    let (code, out, _) = run(&["list"]);
    assert!(code == Some(0) && out.contains("order.placed  1 "), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_with_its_exit_code() {
    let harness = Harness::new("contract_missing").await;
    let contracts = Contracts::new(&harness);
    let none = contracts.run(&["plan"]);
    assert_eq!(none.code, Some(64), "{none:?}");
    assert!(none.err.contains("has no .yaml or .yml file"), "{none:?}");
    let nowhere = contracts.ask(&["plan", "--offline", "no/such/folder"]);
    assert_eq!(nowhere.code, Some(64), "{nowhere:?}");
    assert!(nowhere.err.contains("can't read no/such/folder"), "{nowhere:?}");

    contracts.write("1.yaml", &contracts.contract("order.placed", "1", "", ID));
    let empty = contracts.run(&["apply"]);
    assert_eq!(empty.code, Some(69), "{empty:?}");
    assert!(empty.err.contains("run walpost migrate first"), "{empty:?}");
    let folder = contracts.folder().display().to_string();
    let run = |arguments: &[&str]| {
        walpost().current_dir(contracts.folder()).arg("contract").args(arguments).output().expect("the binary runs")
    };
    let unconfigured = run(&["plan", &folder]);
    assert_eq!(unconfigured.status.code(), Some(64), "{unconfigured:?}");
    let unreachable =
        run(&["plan", &folder, "--database-url", "postgres://nobody@127.0.0.1:1/none", "--kafka", harness.kafka()]);
    assert_eq!(unreachable.status.code(), Some(69), "{unreachable:?}");
    // The files alone need no server.
    let offline = run(&["plan", &folder, "--offline"]);
    assert_eq!(offline.status.code(), Some(0), "{offline:?}");
    assert!(String::from_utf8_lossy(&offline.stdout).contains("Kafka was not asked"), "{offline:?}");

    harness.migrate().await;
    let role = format!("{}_reader", harness.name());
    harness.execute(&format!("create role {role} login password 'r'; grant usage on schema outbox to {role}; grant select on outbox.schema_version to {role}")).await;
    let url = harness.url().replacen("//", &format!("//{role}:r@"), 1);
    let url = match url.rsplit_once('@') {
        Some((_, host)) => format!("postgres://{role}:r@{host}"),
        None => url,
    };
    let output = walpost()
        .args(["contract", "apply", &folder, "--database-url", &url, "--kafka", harness.kafka()])
        .output()
        .expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("this role may not register a schema version")
            && error.contains("take the role that owns schema outbox"),
        "{error}"
    );
    harness.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
