//! The repository's own rules, as far as a program can check them.

mod dependencies;
mod documentation;
mod losses;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories with code.
const CODE: [&str; 5] = ["src", "crates", "tests", "benches", "examples"];

/// Maximum lines of a Rust file.
const FILE_LINES_MAX: usize = 400;

/// A source file by its path from the root of the repository.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// Lines of code with their numbers, without comments. A string that contains two slashes is cut, which hides nothing of interest.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.map(|(number, line)| (number, line.split_once("//").map_or(line, |(code, _)| code)))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// Every file in these directories whose name ends like this, except build output.
fn sources(folders: &[&str], ends: &str) -> Vec<Source> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut sources = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("list {}: {error}", folder.display())) {
            let path = entry.expect("an entry of a folder").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("names of files are text");
            if path.is_dir() {
                let is_ours = !matches!(name, "target" | "corpus" | "artifacts" | "coverage");
                open.extend(is_ours.then_some(path));
            } else if name.ends_with(ends) {
                let text = fs::read_to_string(&path).expect("sources are text");
                let path = path.strip_prefix(root()).expect("it was found below the root").display().to_string();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// The pages for people: those at the root and those of `docs/`.
fn pages() -> Vec<Source> {
    let mut pages = sources(&["docs"], ".md");
    assert!(pages.len() > 10, "{} pages in docs/", pages.len());
    let at_root = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];
    pages.extend(at_root.map(|name| Source { path: name.to_owned(), text: read(name) }));
    pages
}

/// Fails with all findings at once.
fn none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn the_core_is_pure() {
    // Whole modules and keywords. clippy.toml has individual functions, types and macros.
    const BANNED: [&str; 12] = [
        "tokio",
        "rdkafka",
        "std::net",
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "rand::",
        "getrandom",
        "async ",
        ".await",
        "unsafe",
    ];
    let mut findings = Vec::new();
    // Tests are exempt. The schema check that the core calls is pure too.
    const SCHEMA: &str = "crates/walpost-producer/src/schema";
    let core: Vec<Source> = sources(&["src/relay", SCHEMA], ".rs")
        .into_iter()
        .filter(|source| !source.path.ends_with("tests.rs"))
        .collect();
    assert!(core.len() > 5, "the core is in src/relay");
    for source in core {
        let code = || source.code().take_while(|(_, line)| !line.starts_with("#[cfg(test)]"));
        for (number, line) in code() {
            let found = BANNED.iter().filter(|banned| line.contains(**banned));
            findings.extend(found.map(|banned| format!("{}:{number}: {banned}", source.path)));
        }
        // Items of this crate that the core may use.
        let own = |line: &str| {
            line.contains("walpost_producer::schema")
                || source.path.starts_with("src/relay") && line.contains("crate::relay")
        };
        let foreign = |line: &str| line.contains("crate::") && !own(line);
        let found = code().filter(|(_, line)| foreign(line));
        findings.extend(found.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
    }
    none(
        "the core and the schema check have no clock, no randomness, no input or output, no async, and need no other module",
        &findings,
    );
}

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for source in sources(&CODE, ".rs") {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{}: {lines} lines, not {FILE_LINES_MAX}", source.path));
        }
    }
    none("a file is read in one go", &findings);
}

#[test]
fn modules_have_specific_names_and_a_description() {
    const BANNED: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "manager", "misc", "types"];
    let mut findings = Vec::new();
    for source in sources(&CODE, ".rs") {
        let path = Path::new(&source.path);
        let parts = path.with_extension("");
        let named = parts.iter().filter_map(|part| part.to_str()).filter(|part| BANNED.contains(part));
        findings.extend(named.map(|part| format!("{}: {part} says nothing", source.path)));
        let is_bound = source.path.ends_with("tests.rs") || source.path.contains("/tests/");
        if !is_bound && !source.text.starts_with("//!") {
            findings.push(format!("{}: does not start with what it is about", source.path));
        }
        for (number, line) in source.code() {
            // The attribute is concatenated here, so that this line does not match.
            if line.trim_start().starts_with(concat!("#[", "allow("))
                || line.trim_start().starts_with(concat!("#![", "allow("))
            {
                findings.push(format!("{}:{number}: expect a lint with its reason, do not allow it", source.path));
            }
        }
    }
    none("names and first lines tell a reader where he is", &findings);
}

/// The numbers at the beginning of a name such as `10_and_18_a_topic`.
fn cases_of(name: &str) -> Vec<u32> {
    let mut words = name.split('_');
    let mut cases = Vec::new();
    while let Some(case) = words.next().filter(|word| word.len() == 2).and_then(|word| word.parse().ok()) {
        cases.push(case);
        if words.next() != Some("and") {
            break;
        }
    }
    cases
}

#[test]
fn every_case_is_listed_and_tested() {
    const LIST: &str = "tests/it/main.rs";
    let list = read(LIST);
    let listed = list.lines().filter_map(|line| line.strip_prefix("//! ")?.split_once(". ")?.0.parse().ok());
    let listed: Vec<u32> = listed.collect();
    assert!(listed.len() > 20 && listed.is_sorted_by(|a, b| a < b), "{listed:?}");
    let mut findings = Vec::new();
    let mut tested = BTreeSet::new();
    for source in sources(&CODE, ".rs") {
        for (number, line) in source.code() {
            let Some(name) = line.trim_start().trim_start_matches("async ").strip_prefix("fn case_") else { continue };
            let cases = cases_of(name);
            if cases.is_empty() {
                findings.push(format!("{}:{number}: case_ is followed by a number of two digits", source.path));
            }
            let unknown = cases.iter().filter(|case| !listed.contains(case));
            findings.extend(unknown.map(|case| format!("{}:{number}: {LIST} has no case {case}", source.path)));
            tested.extend(cases);
        }
    }
    let untested = listed.iter().filter(|case| !tested.contains(case));
    findings.extend(untested.map(|case| format!("{LIST}: case {case} has no test")));
    none("the list of cases and the tests that bear their numbers agree", &findings);
}

#[test]
fn migrations_are_prose_in_lower_case() {
    const KEYWORDS: [&str; 9] =
        ["SELECT ", "INSERT ", "CREATE ", "ALTER ", "GRANT ", "UPDATE ", "DELETE ", "FROM ", "WHERE "];
    let mut findings = Vec::new();
    for source in sources(&["migrations"], ".sql") {
        if !source.text.starts_with("--") {
            findings.push(format!("{}: does not start with what it is about", source.path));
        }
        for (index, line) in source.text.lines().enumerate() {
            let code = line.split_once("--").map_or(line, |(code, _)| code);
            // String literals are exempt.
            let outside: String = code.split('\'').step_by(2).collect();
            if KEYWORDS.iter().any(|keyword| outside.contains(keyword)) {
                findings.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none("a migration is written to be read", &findings);
}

#[test]
fn what_outlasts_a_transaction_is_set_where_poolers_are_refused() {
    let mut findings = Vec::new();
    for source in sources(&["src"], ".rs").iter().filter(|source| !source.path.starts_with("src/lab")) {
        for sql in source.text.split("simple_query(").skip(1) {
            let sql = sql.trim_start().trim_start_matches("&format!(").trim_start();
            let is_kept = sql.starts_with("\"set local ") || sql.starts_with("\"set transaction ");
            if sql.starts_with("\"set ") && !is_kept {
                findings.push(format!("{}: {}", source.path, sql.lines().next().unwrap_or_default()));
            }
        }
    }
    none("settings of a session are made with Connection::configure", &findings);
}

#[test]
fn nothing_names_the_host_of_a_package_registry() {
    // Concatenated here, so that this file does not match.
    let hosts = [
        ["crates", "io"],
        ["docs", "rs"],
        ["maven", "org"],
        ["npmjs", "org"],
        ["pypi", "org"],
        ["ghcr", "io"],
        ["docker", "io"],
        ["golang", "org"],
    ];
    let mut findings = Vec::new();
    let folders = [&CODE[..], &["docs", "migrations", ".ci"]].concat();
    let endings = [".rs", ".toml", ".md", ".sql", ".sh", ".txt", "run"];
    let mut files: Vec<Source> = endings.iter().flat_map(|ends| sources(&folders, ends)).collect();
    files.extend(pages().into_iter().filter(|page| !page.path.contains('/')));
    files.push(Source { path: "Cargo.toml".to_owned(), text: read("Cargo.toml") });
    assert!(files.len() > 50, "{} files", files.len());
    for source in files {
        for (index, line) in source.text.lines().enumerate() {
            if hosts.iter().any(|host| line.contains(&host.join("."))) {
                findings.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    none("where packages come from is the user's to configure", &findings);
}
