//! Licences, bans and sources of all dependencies, by `deny.toml`: the checks of cargo-deny, without having to install it.

use std::process::Command;

use serde_json::Value as Json;
use spdx::{Expression, ParseMode};
use toml::Table;

use super::{none, read, root};

/// A crate of the dependency graph.
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Where it comes from; `None` for a crate of this repository.
    source: Option<String>,
}

/// Every crate that any of the platforms needs, including those of the tests.
fn packages(targets: &[String]) -> Vec<Package> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["metadata", "--locked", "--format-version", "1", "--all-features"]);
    cargo.args(targets.iter().flat_map(|target| ["--filter-platform", target]));
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Json = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let text = |package: &Json, key: &str| package[key].as_str().map(str::to_owned);
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let read = packages.iter().map(|package| Package {
        name: text(package, "name").expect("a package has a name"),
        version: text(package, "version").expect("a package has a version"),
        license: text(package, "license"),
        source: text(package, "source"),
    });
    read.collect()
}

fn texts(table: &Table, section: &str, key: &str) -> Vec<String> {
    let values = table[section][key].as_array().unwrap_or_else(|| panic!("[{section}] {key} is a list"));
    let text = |value: &toml::Value| value.get("crate").unwrap_or(value).as_str().map(str::to_owned);
    values.iter().map(|value| text(value).unwrap_or_else(|| panic!("[{section}] {key}: {value}"))).collect()
}

/// Why `deny.toml` does not allow a licence.
fn refused(license: Option<&str>, allowed: &[String]) -> Option<String> {
    let Some(license) = license else { return Some("names no licence".to_owned()) };
    // Lax: `MIT/Apache-2.0` is how older crates write `MIT OR Apache-2.0`.
    let expression = match Expression::parse_mode(license, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{license}: not an SPDX expression: {}", error.reason)),
    };
    // As with cargo-deny, an exception (`Apache-2.0 WITH ...`) is allowed only if the list has the whole expression.
    let is_allowed = expression.evaluate(|requirement| allowed.contains(&requirement.to_string()));
    (!is_allowed).then(|| license.to_owned())
}

#[test]
fn dependencies_have_allowed_licences_and_come_from_the_registry() {
    let deny: Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let allowed = texts(&deny, "licenses", "allow");
    let banned = texts(&deny, "bans", "deny");
    let packages = packages(&texts(&deny, "graph", "targets"));
    assert!(packages.len() > 200, "{} packages", packages.len());
    // The registry that every Rust program gets serde from.
    let registry = packages.iter().find(|package| package.name == "serde").map(|serde| &serde.source);
    let registry = registry.expect("serde is a dependency");
    let mut findings = Vec::new();
    for Package { name, version, license, source } in &packages {
        findings.extend(refused(license.as_deref(), &allowed).map(|why| format!("{name} {version}: licence: {why}")));
        if banned.contains(name) {
            findings.push(format!("{name} {version}: banned"));
        }
        let is_ours = source.is_none() && name.starts_with("walpost");
        if !is_ours && (source.is_none() || source != registry) {
            findings.push(format!("{name} {version}: comes from {source:?}"));
        }
    }
    none("deny.toml says what may be compiled into walpost", &findings);
}

#[test]
fn every_allowed_licence_is_needed() {
    let deny: Table = read("deny.toml").parse().expect("deny.toml is TOML");
    let allowed = texts(&deny, "licenses", "allow");
    let packages = packages(&texts(&deny, "graph", "targets"));
    let is_needed = |license: &String| {
        let others: Vec<String> = allowed.iter().filter(|other| *other != license).cloned().collect();
        packages.iter().any(|package| refused(package.license.as_deref(), &others).is_some())
    };
    let idle: Vec<String> = allowed.iter().filter(|license| !is_needed(license)).cloned().collect();
    none("licences that deny.toml allows and no dependency needs", &idle);
}

#[test]
fn licence_expressions_are_evaluated() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    let is_allowed = |license: &str| refused(Some(license), &allowed).is_none();
    for fine in ["MIT", "MIT OR GPL-3.0-only", "GPL-3.0-only/MIT", "MIT AND ISC", "(GPL-3.0-only OR ISC) AND MIT"] {
        assert!(is_allowed(fine), "{fine}");
    }
    for bad in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0 WITH LLVM-exception", "who knows", ""] {
        assert!(!is_allowed(bad), "{bad}");
    }
    assert!(refused(None, &allowed).is_some());
}
