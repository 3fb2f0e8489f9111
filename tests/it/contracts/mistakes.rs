//! Bad input: every mistake in every file at once, with file, line and rule, and nothing applied.

use super::{Contracts, ID};
use crate::harness::Harness;

#[tokio::test(flavor = "multi_thread")]
async fn all_mistakes_are_reported_at_once_and_nothing_is_applied() {
    let harness = Harness::migrated("contract_mistakes").await;
    let contracts = Contracts::new(&harness);
    let plain = |name: &str| contracts.contract(name, "1", "", ID);
    let schema = |name: &str, schema: &str| {
        contracts.write(&format!("{name}.schema.json"), schema);
        let keys = format!("  customProperties: [{{property: jsonSchema, value: {name}.schema.json}}]\n");
        contracts.write(&format!("{name}.yaml"), &contracts.contract(name, "1", &keys, "[]"));
    };
    contracts.write("fine.yaml", &plain("fine"));
    contracts.write("a-not-yaml.yaml", "schema: [\n");
    contracts.write("b-not-odcs.yml", "openapi: 3.1.0\n");
    contracts.write("c-unknown-key.yaml", &plain("c").replace("status: active", "stattus: active"));
    contracts.write("d-deep.yaml", &format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000)));
    contracts.write("e-twice.yaml", &plain("fine"));
    contracts.write("f-topic.yaml", &plain("f").replace(&harness.topic("f"), "not a topic"));
    let pattern = "[{name: id, logicalType: string, logicalTypeOptions: {pattern: '^(?=(a+)+$)'}}]";
    contracts.write("g-pattern.yaml", &contracts.contract("g", "1", "", pattern));
    schema(
        "h-cyclic",
        "{\n  \"$ref\": \"#/$defs/a\",\n  \"$defs\": {\"a\": {\"items\": {\"$ref\": \"#/$defs/a\"}}}\n}",
    );
    schema("i-remote", "{\n  \"properties\": {\n    \"a\": {\"$ref\": \"http://169.254.169.254/latest\"}\n  }\n}");
    schema("j-deep", &format!("{{\"items\": {}true{}}}", "{\"items\": ".repeat(10_000), "}".repeat(10_000)));
    schema("k-exponential", "{\n  \"pattern\": \"((a{1000}){1000}){1000}\"\n}");
    schema("l-not-json", "{\n  \"type\": \"object\",\n}");
    schema("m-keyword", "{\n  \"type\": \"object\",\n  \"requierd\": [\"a\"]\n}");
    schema("n-not-a-schema", "{\n  \"type\": \"text\"\n}");
    let keys = "  customProperties: [{property: jsonSchema, value: ../../../etc/passwd}]\n";
    contracts.write("o-outside.yaml", &contracts.contract("o", "1", keys, "[]"));
    // A file that is not a contract may contain secrets, wherever it is.
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(elsewhere.path().join("secret.yaml"), "hunter2: {").expect("a file is written");
    std::os::unix::fs::symlink(elsewhere.path().join("secret.yaml"), contracts.folder().join("p-link.yaml"))
        .expect("a link is made");
    contracts.write("q-secret.yaml", "hunter2: hunter2\nhunter2: .inf\n");
    contracts.write("r-secret.yaml", "hunter2: [hunter2]\n");
    let named = plain("s").replace("- name: s\n", "- name: \"s\\e[31m\\nred\"\n");
    contracts.write("s-escape.yaml", &named);
    let aliases = format!("\ntags: [&a {}, {}]\n", "x".repeat(100_000), vec!["*a"; 9_000].join(", "));
    contracts.write("t-aliases.yaml", &(plain("t") + &aliases));
    schema("u-nul", "{\"title\": \"\\u0000\"}");
    let expected = [
        ("p-link.yaml:1:1: file: it is a link that leads out of its directory", 1),
        ("q-secret.yaml:2:1: duplicate_key: invalid YAML from here; not a data contract", 1),
        ("r-secret.yaml:1:1: odcs: not a data contract: it has neither kind: DataContract", 1),
        ("s-escape.yaml:10:3: name: name has a control character", 1),
        ("file: more than 32 MiB of text, including expanded aliases", 1),
        ("u-nul.schema.json:1:11: json: a string contains U+0000, which PostgreSQL can't store", 1),
        ("hunter2", 0),
        ("\u{1b}", 0),
        ("a-not-yaml.yaml:2:1: yaml: ", 1),
        ("b-not-odcs.yml:1:1: odcs: not a data contract: it has neither kind: DataContract", 1),
        ("c-unknown-key.yaml:5:1: unknown_key: the standard has no key stattus here; did you mean status?", 1),
        ("d-deep.yaml:1:", 1),
        ("nesting: nested more than 96 levels deep", 2),
        ("duplicate_version: fine/1 is also defined at ", 1),
        ("f-topic.yaml:12:3: topic_name: \"not a topic\" is not a valid topic name", 1),
        ("g-pattern.yaml:13:", 1),
        ("h-cyclic.schema.json:3:29: cyclic_ref: refers back to itself", 1),
        ("i-remote.schema.json:3:11: remote_ref: \"http://169.254.169.254/latest\" leads out of this schema", 1),
        ("j-deep.schema.json:1:", 1),
        ("k-exponential.schema.json:2:3: pattern: ", 1),
        ("l-not-json.schema.json:3:1: json: trailing comma", 1),
        ("m-keyword.schema.json:3:3: unknown_keyword: draft 2020-12 has no keyword \"requierd\"", 1),
        ("n-not-a-schema.schema.json:2:3: schema: ", 1),
        ("o-outside.yaml:13:45: schema_file: ../../../etc/passwd is not a path within the contract's directory", 1),
    ];
    for command in ["plan", "apply"] {
        let refused = contracts.run(&[command]);
        assert_eq!(refused.code(), Some(65), "{refused:?}");
        for (part, count) in expected {
            assert_eq!(refused.stderr.matches(part).count(), count, "{part}\n{}", refused.stderr);
        }
        assert!(refused.stderr.contains("mistakes in the contract files; nothing was applied\n"), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    // The same as JSON, without any server.
    let offline = contracts.ask(&["plan", "--offline", "--json", &contracts.folder().display().to_string()]);
    assert_eq!(offline.code(), Some(65));
    let report = offline.report();
    let mistakes = report["mistakes"].as_array().expect("there are some");
    let of_file =
        |end: &str| mistakes.iter().find(|mistake| mistake["file"].as_str().is_some_and(|file| file.ends_with(end)));
    let keyword = of_file("m-keyword.schema.json").expect("it is reported");
    assert_eq!(
        (&keyword["line"], &keyword["column"], &keyword["rule"]),
        (&3.into(), &3.into(), &"unknown_keyword".into())
    );
    assert_eq!(contracts.registered().await, [""; 0]);
    assert_eq!(harness.partitions(&harness.topic("fine")), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_contradict_each_other_are_refused() {
    let harness = Harness::migrated("contract_contradict").await;
    let contracts = Contracts::new(&harness);
    let topic = harness.topic("shared.topic");
    let to = |name: &str, topic: &str, partitions: u32| {
        let keys = format!("  customProperties: [{{property: partitions, value: {partitions}}}]\n");
        let text = contracts
            .contract(name, "1", &keys, ID)
            .replace(&format!("physicalName: {}", harness.topic(name)), &format!("physicalName: {topic}"));
        contracts.write(&format!("{name}.yaml"), &text);
    };
    to("a", &topic, 2);
    to("b", &topic, 3);
    to("c", &topic.replace("shared.topic", "shared_topic"), 2);
    let refused = contracts.run(&["apply"]);
    assert_eq!(refused.code(), Some(65), "{refused:?}");
    assert!(
        refused.stderr.contains(&format!("b.yaml:10:3: topic_settings: topic {topic} has different settings at ")),
        "{refused:?}"
    );
    assert!(refused.stderr.contains("c.yaml:10:3: topic_name: Kafka does not allow both topic"), "{refused:?}");
    to("b", &topic, 2);
    std::fs::remove_file(contracts.folder().join("c.yaml")).expect("it is there");
    let applied = contracts.run(&["apply"]);
    assert!(applied.stdout.ends_with("applied: 2 schema versions registered, 1 topic created\n"), "{applied:?}");
}
