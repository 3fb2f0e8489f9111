//! Every example file of the standard, in as many versions as there are, which is read where it is:
//!
//! ```text
//! git clone https://github.com/bitol-io/open-data-contract-standard suites/open-data-contract-standard
//! cd suites/open-data-contract-standard
//! for version in v3.0.0 v3.0.1 v3.0.2 v3.1.0; do git worktree add ../open-data-contract-standard-$version $version; done
//! WALPOST_TEST_SUITES=$PWD/.. cargo test --lib odcs::tests::examples -- --ignored --nocapture
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use super::super::read;

/// Every example below a folder, in order.
fn examples(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of a folder").path()).collect();
    paths.sort();
    let is_example = |path: &PathBuf| path.extension().is_some_and(|ends| ends == "yaml");
    paths
        .into_iter()
        .flat_map(|path| if path.is_dir() { examples(&path) } else { Vec::from_iter(Some(path).filter(is_example)) })
        .collect()
}

/// Some examples kept `apiVersion: v3.0.2` when they were rewritten for version 3.1.
fn is_of_a_later_version(mistakes: &[String]) -> bool {
    mistakes.iter().all(|mistake| mistake.contains("; version 3.1 of the standard "))
}

#[test]
#[ignore = "needs the standard's repository in WALPOST_TEST_SUITES"]
fn case_44_examples_of_the_standard_are_accepted_unless_their_own_version_refuses_them() {
    let suites = PathBuf::from(env::var_os("WALPOST_TEST_SUITES").expect("WALPOST_TEST_SUITES names a folder"));
    let mut tallies: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut topics = 0;
    for entry in fs::read_dir(&suites).expect("a folder") {
        let folder = entry.expect("an entry of a folder").path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !name.starts_with("open-data-contract-standard") {
            continue;
        }
        for path in examples(&folder.join("docs/examples")) {
            let text = fs::read_to_string(&path).expect("an example is text");
            let api = text.lines().find_map(|line| line.strip_prefix("apiVersion:")).unwrap_or_default();
            let api = api.split('#').next().unwrap_or_default().trim().trim_matches('"');
            let [files, accepted, defined] = tallies.entry(format!("{name}: {api}")).or_default();
            *files += 1;
            let file: Arc<Path> = Arc::from(path.strip_prefix(&suites).expect("it was found there"));
            match read(&file, &text) {
                Ok(contract) => {
                    *accepted += 1;
                    *defined += contract.definitions.len();
                    topics += contract.definitions.len();
                }
                Err(mistakes) => {
                    let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
                    eprintln!("refused: {}", mistakes.join("\n         "));
                    assert!(is_of_a_later_version(&mistakes), "{mistakes:?}");
                }
            }
            let is_kafka = path.display().to_string().contains("kafka");
            assert!(!is_kafka || *defined > 0, "{} defines no topic", path.display());
        }
    }
    for (of, [files, accepted, defined]) in &tallies {
        eprintln!("{of}: {accepted} of {files} accepted, {defined} topics");
    }
    assert!(topics > 0, "there are Kafka examples");
}
