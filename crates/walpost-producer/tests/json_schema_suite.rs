//! Every test of the official JSON-Schema-Test-Suite for draft 2020-12, which is read where it is:
//!
//! ```text
//! git clone --depth 1 https://github.com/json-schema-org/JSON-Schema-Test-Suite suites/JSON-Schema-Test-Suite
//! WALPOST_TEST_SUITES=$PWD/suites cargo test --test json_schema_suite -- --ignored --nocapture
//! ```
//!
//! A schema is accepted or refused as a whole. Of an accepted one, every verdict must be the suite's, except for those that
//! [`DIFFERENCES`] explains.

#![cfg(feature = "check")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;
use walpost_producer::schema::{Schema, inspect};

/// Verdicts that differ from the suite's: a file, and the reason.
const DIFFERENCES: [(&str, &str); 1] = [(
    "format.json",
    "formats are asserted here, as a contract means them, and annotations by default; optional/format has the same tests as assertions",
)];

/// The test files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[derive(Default)]
struct Tally {
    schemas: usize,
    accepted: usize,
    /// Refused schemas by the rule that refuses them.
    refused: BTreeMap<String, Vec<String>>,
    tests: usize,
    agreed: usize,
    explained: BTreeMap<&'static str, Vec<String>>,
    unexplained: Vec<String>,
}

impl Tally {
    /// Adds a schema with its tests.
    fn add(&mut self, file: &str, group: &Value) {
        let text = |value: &Value| value["description"].as_str().unwrap_or_default().to_owned();
        self.schemas += 1;
        // As a contract's schema is judged.
        let schema = Schema::compile(&group["schema"]);
        let schema = match inspect::unknown(&group["schema"]).into_iter().next().map_or(schema, Err) {
            Ok(schema) => schema,
            Err(fault) => {
                let place = format!("{file}: {}: {}", text(group), fault.detail);
                return self.refused.entry(fault.rule.to_string()).or_default().push(place);
            }
        };
        self.accepted += 1;
        for test in group["tests"].as_array().expect("a schema has tests") {
            self.tests += 1;
            let outcome = schema.check_value(&test["data"]);
            if outcome.is_ok() == (test["valid"] == true) {
                self.agreed += 1;
                continue;
            }
            let known = DIFFERENCES.iter().find(|(of, _)| *of == file);
            let what = format!("{file}: {}: {}: {outcome:?}", text(group), text(test));
            match known {
                Some((_, reason)) => self.explained.entry(reason).or_default().push(what),
                None => self.unexplained.push(what),
            }
        }
    }
}

#[test]
#[ignore = "needs the test suite in WALPOST_TEST_SUITES"]
fn every_verdict_is_that_of_the_official_test_suite() {
    let suites = env::var_os("WALPOST_TEST_SUITES").expect("WALPOST_TEST_SUITES names a folder");
    let folder = Path::new(&suites).join("JSON-Schema-Test-Suite/tests/draft2020-12");
    let mut tally = Tally::default();
    for path in files(&folder) {
        let file = path.strip_prefix(&folder).expect("it was found there").display().to_string();
        let groups: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("it is JSON");
        groups.as_array().expect("a list of schemas").iter().for_each(|group| tally.add(&file, group));
    }
    let print = |title: &str, by_reason: Vec<(&str, &Vec<String>)>| {
        for (reason, all) in by_reason {
            eprintln!("{title} {}: {reason}\n  {}", all.len(), all.join("\n  "));
        }
    };
    print("refused", tally.refused.iter().map(|(rule, all)| (rule.as_str(), all)).collect());
    print("explained", tally.explained.iter().map(|(reason, all)| (*reason, all)).collect());
    let Tally { schemas, accepted, tests, agreed, .. } = tally;
    eprintln!("{accepted} of {schemas} schemas are accepted; {agreed} of their {tests} tests agree");
    assert!(accepted > 250, "the suite has more schemas");
    assert!(
        tally.unexplained.is_empty(),
        "{} verdicts differ:\n{}",
        tally.unexplained.len(),
        tally.unexplained.join("\n")
    );
}
