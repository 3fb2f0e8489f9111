//! The documentation agrees with the program.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use walpost::cli::Cli;
use walpost::relay::boundary::{RefusalCode, SchemaVersionId};
use walpost::telemetry::Metrics;

use super::{none, pages, read, root, sources};

/// All pages, concatenated.
fn documentation() -> String {
    pages().into_iter().map(|page| page.text).collect()
}

/// Whether `text` has `word`, not adjacent to a letter, digit, `_` or `-`.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part))
}

/// Keys in a TOML text, as section.key: set, or commented out.
fn shown_keys(toml: &str) -> Vec<String> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in toml.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']', ' ']).to_owned();
        } else if let Some((key, value)) = line.split_once(" = ") {
            keys.push(format!("{section}.{key}"));
            // The keys of an inline table are keys too.
            let inside =
                value.strip_prefix("{ ").and_then(|rest| rest.split_once(" }")).map_or("", |(inside, _)| inside);
            let inner = inside.split(", ").filter_map(|pair| pair.split_once(" = "));
            keys.extend(inner.map(|(inner, _)| format!("{section}.{key}.{inner}")));
        }
    }
    keys
}

#[test]
fn the_example_has_every_configuration_key() {
    let page = read("docs/configure.md");
    assert!(page.contains("](../examples/walpost.toml)"), "the documentation leads to the example");
    let shown = shown_keys(&read("examples/walpost.toml"));
    let keys = walpost::config::keys();
    assert!(keys.len() > 20, "{keys:?}");
    let missing: Vec<_> =
        keys.into_iter().filter(|key| !shown.contains(&key.replacen("outbox.0.", "outbox.", 1))).collect();
    none("not in examples/walpost.toml", &missing);
}

#[test]
fn the_documentation_has_every_metric() {
    let documentation = documentation();
    let metrics = Metrics::new();
    // Metrics by contract appear with the first contract.
    metrics.contracts.add(&SchemaVersionId { name: "a".into(), version: "1".into() }, Some(Duration::from_secs(1)));
    let text = metrics.encode();
    let metrics = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' '));
    // A counter's sample has a suffix that its type line lacks; queries use the sample's name.
    let names = metrics.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    });
    let names: Vec<String> = names.collect();
    assert!(names.len() > 10, "{text}");
    let missing: Vec<_> = names.into_iter().filter(|name| !has_word(&documentation, name)).collect();
    none("not in README.md or docs/", &missing);
}

#[test]
fn the_documentation_has_every_command_and_its_options() {
    let commands = read("docs/configure.md");
    let mut missing = Vec::new();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        let Some(row) = commands.lines().find(|line| line.starts_with(&format!("| `walpost {name}`"))) else {
            missing.push(format!("walpost {name}"));
            continue;
        };
        // A command with subcommands has a row with all of them.
        let below: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
        let unnamed = below.iter().filter(|below| !row.contains(&format!("`{}`", below.get_name())));
        missing.extend(unnamed.map(|below| format!("walpost {name} {}", below.get_name())));
        let arguments = below.iter().flat_map(|below| below.get_arguments()).chain(command.get_arguments());
        let options: BTreeSet<_> =
            arguments.filter(|option| !option.is_hide_set()).filter_map(|option| option.get_long()).collect();
        let options = options
            .into_iter()
            .filter(|option| !has_word(row, &format!("--{option}")) && !row.contains(&format!("`--{option}`")));
        missing.extend(options.map(|option| format!("walpost {name} --{option}")));
    }
    none("not in the table of commands in docs/configure.md", &missing);
}

#[test]
fn the_documentation_has_every_refusal_and_every_exit_code() {
    let documentation = documentation();
    let codes = RefusalCode::ALL.map(RefusalCode::as_str);
    let mut missing: Vec<_> = codes
        .iter()
        .filter(|code| !documentation.contains(&format!("| `{code}` |")))
        .map(ToString::to_string)
        .collect();
    let exit = read("src/exit.rs");
    let consts = exit.lines().filter_map(|line| line.trim().strip_prefix("pub(crate) const ")?.split_once(": u8 = "));
    let exits: Vec<_> = consts.map(|(name, value)| (name, value.trim_end_matches(';').to_owned())).collect();
    assert!(exits.len() >= 5, "{exits:?}");
    let listed =
        documentation.lines().skip_while(|line| !line.starts_with("Exit codes:")).take_while(|line| !line.is_empty());
    let listed = listed.collect::<Vec<_>>().join(" ");
    missing.extend(
        exits
            .into_iter()
            .filter(|(_, value)| !has_word(&listed, value))
            .map(|(name, value)| format!("exit code {value} ({name})")),
    );
    none("not in README.md or docs/", &missing);
}

#[test]
fn every_link_in_the_documentation_has_a_target() {
    let pages = pages();
    let mut gone = Vec::new();
    for page in &pages {
        let links = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for link in links.filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = root().join(&page.path).parent().expect("a page is in a folder").to_owned();
            let target = if path.is_empty() { root().join(&page.path) } else { folder.join(path) };
            let has_heading = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == heading)
            };
            if !target.exists() || !(heading.is_empty() || has_heading()) {
                gone.push(format!("{}: {link}", page.path));
            }
        }
    }
    none("links to what is not there", &gone);
}

/// Code blocks are run by `tests/it/documentation.rs`; this checks commands within sentences, which may be incomplete.
#[test]
fn every_command_within_a_sentence_exists() {
    let mut wrong = Vec::new();
    let mut found = 0;
    for page in pages() {
        let prose = page.text.split("\n```").step_by(2).collect::<Vec<_>>().join(" ").replace('\n', " ");
        let commands = prose.split('`').skip(1).step_by(2).filter(|code| code.starts_with("walpost "));
        for command in commands {
            found += 1;
            let words = command.split_whitespace().map(|word| if word == "<LSN>" { "0/1" } else { word });
            let Err(error) = Cli::try_parse_from(words) else { continue };
            if matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand) {
                wrong.push(format!("{}: {command}", page.path));
            }
        }
    }
    assert!(found > 20, "{found} commands");
    none("commands that do not exist", &wrong);
}

/// The anchor of a heading: lower case, spaces as dashes, no punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches(['#', ' ']).to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn prose_is_at_most_120_wide() {
    let mut findings = Vec::new();
    for page in pages() {
        let lines = page.text.lines().enumerate().filter(|(_, line)| !line.starts_with('|'));
        let long = lines.filter(|(_, line)| line.chars().count() > 120);
        findings.extend(long.map(|(index, _)| format!("{}:{}", page.path, index + 1)));
    }
    none("lines of prose are wrapped at 120", &findings);
}

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let model = read("docs/threat-model.md");
    let code = sources(&super::CODE, ".rs");
    let is_name =
        |word: &&str| word.matches('_').count() > 3 && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let named: Vec<&str> = model.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 10, "{named:?}");
    let is_there = |name: &str| code.iter().any(|source| source.text.contains(&format!("fn {name}(")));
    let gone: Vec<_> = named.into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect();
    none("docs/threat-model.md names tests that are not there", &gone);
}
