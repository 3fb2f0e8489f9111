//! Environment variables for the keys of the configuration: `WALPOST_<SECTION>__<KEY>`. They override the file.
//!
//! Two underscores separate levels: `WALPOST_KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap_servers`, and
//! `WALPOST_OUTBOX__0__TABLE` the `table` of the first `[[outbox]]`. In the name of a librdkafka property, one underscore
//! is a dot: `WALPOST_KAFKA__PROPERTIES__SASL_USERNAME` is `sasl.username`. A key that takes a table or an array takes it
//! in TOML: `WALPOST_OUTBOX__0__HEADER_COLUMNS='["type"]'`.

use super::error::{Complaint, ValueOrigin};
use super::file;
use super::names::{PREFIX, variable};
use super::nearest::nearest;
use super::reader::Findings;
use super::tree::{Table, TreeNode, TreeValue};

/// Most `[[outbox]]` tables.
pub(super) const OUTBOXES_MAX: usize = 1_000;

/// The environment of this process. Bytes that are not UTF-8 become U+FFFD, which our variables refuse. (`std::env::vars` would
/// panic on any variable that is not UTF-8.)
#[must_use]
pub(crate) fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

/// Merges our variables into `table`, overriding the file. `keys` are all known keys.
pub(super) fn overlay(table: &mut Table, environment: &[(String, String)], keys: &[String], findings: &mut Findings) {
    let mut entries: Vec<_> = environment
        .iter()
        .filter_map(|(name, value)| Some((path(name.strip_prefix(PREFIX)?, keys), name, value)))
        .collect();
    // Indexes in numeric order, and a table before its keys.
    entries.sort_by_cached_key(|(path, name, _)| {
        let number = |segment: &String| format!("{segment:0>8}");
        let numbered = |segments: &Vec<String>| {
            segments.iter().map(|s| if is_number(s) { number(s) } else { s.clone() }).collect::<Vec<_>>()
        };
        (path.as_ref().ok().and_then(Option::as_ref).map(numbered), (*name).clone())
    });
    for (path, name, value) in entries {
        let placed = match path {
            Ok(None) => continue,
            Ok(Some(path)) => node(&path, name, value).and_then(|node| insert(table, &path, node)),
            Err(complaint) => Err(complaint),
        };
        if let Err(complaint) = placed {
            findings.refuse("", ValueOrigin::Variable(name.clone()), complaint);
        }
    }
}

/// The key path of a variable, from the rest of its name; `None` if the variable is not part of the configuration.
fn path(rest: &str, keys: &[String]) -> Result<Option<Vec<String>>, Complaint> {
    let sections = || keys.iter().filter_map(|key| key.split('.').next());
    let lower = rest.to_lowercase();
    if !lower.contains("__") {
        if sections().any(|section| section == lower) {
            return Ok(Some(vec![lower]));
        }
        // WALPOST_KAFKA_BOOTSTRAP_SERVERS would be silently ignored, which is hard to debug.
        return match keys.iter().find(|key| key.contains('.') && key.replace('.', "_") == lower) {
            Some(key) => Err(Complaint::new(
                "section and key must be separated by two underscores",
                format!("rename the variable to {}", variable(key)),
            )),
            None => Ok(None),
        };
    }
    let mut path: Vec<String> = lower.split("__").map(str::to_owned).collect();
    if path.iter().any(String::is_empty) {
        return Err(Complaint::new("a part of the name is empty", "write WALPOST_<SECTION>__<KEY>"));
    }
    if !sections().any(|section| section == path[0]) {
        let fix = match nearest(&path[0], sections()) {
            Some(meant) => format!("did you mean {}?", variable(meant) + "__…"),
            None => "write WALPOST_<SECTION>__<KEY> with a section of walpost.toml".to_owned(),
        };
        return Err(Complaint::new(format!("there is no section {}", path[0]), fix));
    }
    if path.len() > 2 && path[0] == "kafka" && path[1] == "properties" {
        let name = path.split_off(2).join("_").replace('_', ".");
        path.push(name);
    }
    Ok(Some(path))
}

/// The value of a variable: its text, or parsed TOML if the key takes a table or an array.
fn node(path: &[String], name: &str, text: &str) -> Result<TreeNode, Complaint> {
    let origin = ValueOrigin::Variable(name.to_owned());
    if text.contains('\u{FFFD}') {
        return Err(Complaint::new("is not UTF-8", "set it to UTF-8 text"));
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let structured = matches!(
        path.as_slice(),
        [_] | ["kafka", "properties"]
            | ["outbox", _]
            | ["outbox", _, "columns" | "header_columns" | "envelope_columns"]
    );
    if !structured {
        return Ok(TreeNode { value: TreeValue::Variable(text.to_owned()), origin });
    }
    let value = file::parse_value(text, &origin).map_err(|message| {
        Complaint::new(format!("is not TOML: {message}"), "write { key = \"value\" }, or [\"value\"] for a list")
    })?;
    Ok(TreeNode { value, origin })
}

/// Inserts a node at its path, creating tables on the way.
fn insert(table: &mut Table, path: &[String], node: TreeNode) -> Result<(), Complaint> {
    let (key, rest) = path.split_first().expect("a path has at least one part");
    if rest.is_empty() {
        table.insert(key.clone(), node);
        return Ok(());
    }
    let indexed = is_number(&rest[0]) && key == "outbox";
    let empty = if indexed { TreeValue::List(Vec::new()) } else { TreeValue::Table(Table::new()) };
    let origin = node.origin.clone();
    let inner = table.entry(key.clone()).or_insert(TreeNode { value: empty, origin });
    match &mut inner.value {
        TreeValue::Table(inner) if !indexed => insert(inner, rest, node),
        TreeValue::List(items) if indexed => insert_item(items, rest, node),
        other => Err(other.is_not("a table or array", "check the file, and the variable for the key above it")),
    }
}

/// Inserts a node into an array, at the index at the start of its path.
fn insert_item(items: &mut Vec<TreeNode>, path: &[String], node: TreeNode) -> Result<(), Complaint> {
    let (index, rest) = path.split_first().expect("the caller saw the index");
    let index: usize = index.parse().unwrap_or(usize::MAX);
    if index > items.len() || index >= OUTBOXES_MAX {
        return Err(Complaint::new(
            format!("only {} tables come before it", items.len()),
            "number the tables from 0 without gaps",
        ));
    }
    if index == items.len() {
        items.push(TreeNode { value: TreeValue::Table(Table::new()), origin: node.origin.clone() });
    }
    if rest.is_empty() {
        items[index] = node;
        return Ok(());
    }
    match &mut items[index].value {
        TreeValue::Table(table) => insert(table, rest, node),
        other => Err(other.is_not("a table", "write { table = \"schema.name\" }")),
    }
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}
