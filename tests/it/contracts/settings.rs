//! Where files, database and Kafka come from, and the messages if they are missing.

use std::path::Path;

use super::{Contracts, ID};
use crate::harness::Harness;
use crate::harness::program::{self, Ended};

/// `walpost contract` in this directory.
fn run_in(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = program::command("contract", arguments);
    Ended::of(command.current_dir(folder).output().expect("the binary runs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_come_from_the_configuration_and_contracts_is_the_default_directory() {
    let harness = Harness::migrated("contract_config").await;
    let contracts = Contracts::new(&harness);
    contracts.write("contracts/deep/er/1.yml", &contracts.contract("order.placed", "1", "", ID));
    contracts.write("contracts/.hidden/2.yml", "not: a contract");
    contracts.write("contracts/readme.txt", "not a contract");
    let config =
        format!("[postgres]\nurl = \"{}\"\n[kafka]\nbootstrap_servers = \"{}\"\n", harness.url(), harness.kafka());
    contracts.write("walpost.toml", &config);
    let applied = run_in(contracts.folder(), &["apply"]);
    assert_eq!(applied.code(), Some(0), "{applied:?}");
    assert!(applied.stdout.ends_with("applied: 1 schema version registered, 1 topic created\n"), "{applied:?}");
    let listed = run_in(contracts.folder(), &["list"]);
    assert!(listed.code() == Some(0) && listed.stdout.contains("order.placed  1 "), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_schemas_and_versions_are_named_with_the_exit_code() {
    let harness = Harness::new("contract_missing").await;
    let contracts = Contracts::new(&harness);
    let none = contracts.run(&["plan"]);
    assert_eq!(none.code(), Some(64), "{none:?}");
    assert!(none.stderr.contains("has no .yaml or .yml file"), "{none:?}");
    let nowhere = contracts.ask(&["plan", "--offline", "no/such/folder"]);
    assert_eq!(nowhere.code(), Some(64), "{nowhere:?}");
    assert!(nowhere.stderr.contains("can't read no/such/folder"), "{nowhere:?}");

    contracts.write("1.yaml", &contracts.contract("order.placed", "1", "", ID));
    let empty = contracts.run(&["apply"]);
    assert_eq!(empty.code(), Some(69), "{empty:?}");
    assert!(empty.stderr.contains("run `walpost migrate` first"), "{empty:?}");
    let folder = contracts.folder().display().to_string();
    let run = |arguments: &[&str]| run_in(contracts.folder(), arguments);
    let unconfigured = run(&["plan", &folder]);
    assert_eq!(unconfigured.code(), Some(64), "{unconfigured:?}");
    let unreachable =
        run(&["plan", &folder, "--database-url", "postgres://nobody@127.0.0.1:1/none", "--kafka", harness.kafka()]);
    assert_eq!(unreachable.code(), Some(69), "{unreachable:?}");
    // Checking only the files requires no server.
    let offline = run(&["plan", &folder, "--offline"]);
    assert_eq!(offline.code(), Some(0), "{offline:?}");
    assert!(offline.stdout.contains("not checked (offline)"), "{offline:?}");

    harness.migrate().await;
    let role = format!("{}_reader", harness.name());
    harness.execute(&format!("create role {role} login password 'r'; grant usage on schema outbox to {role}; grant select on outbox.schema_version to {role}")).await;
    let url = harness.url().replacen("//", &format!("//{role}:r@"), 1);
    let url = match url.rsplit_once('@') {
        Some((_, host)) => format!("postgres://{role}:r@{host}"),
        None => url,
    };
    let denied = run(&["apply", &folder, "--database-url", &url, "--kafka", harness.kafka()]);
    assert_eq!(denied.code(), Some(1), "{denied:?}");
    assert!(
        denied.stderr.contains("this role may not register a schema version")
            && denied.stderr.contains("use the role that owns schema outbox"),
        "{denied:?}"
    );
    harness.execute(&format!("drop owned by {role}; drop role {role}")).await;
}
