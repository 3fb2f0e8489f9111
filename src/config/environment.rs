//! Environment variables as keys of the configuration: `WALPOST_<SECTION>__<KEY>`, which go before the file's.
//!
//! Two underscores part the levels: `WALPOST_KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap_servers`, and
//! `WALPOST_OUTBOX__0__TABLE` the `table` of the first `[[outbox]]`. In the name of a librdkafka property, one underscore
//! is a dot: `WALPOST_KAFKA__PROPERTIES__SASL_USERNAME` is `sasl.username`. A key that takes a table or an array takes it
//! in TOML: `WALPOST_OUTBOX__0__HEADER_COLUMNS='["type"]'`.

use super::error::{Complaint, Origin};
use super::file;
use super::names::{PREFIX, variable};
use super::nearest::nearest;
use super::reader::Findings;
use super::tree::{Node, Table, Value};

/// Most `[[outbox]]` tables.
pub(super) const OUTBOXES_MAX: usize = 1_000;

/// The environment of this process, with values that are not UTF-8 made so by U+FFFD, which are refused in our own
/// variables. (`std::env::vars` would panic on a stranger's.)
#[must_use]
pub fn process_environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

/// Puts every variable of ours into `table`, over what the file says. `keys` are all keys that there are.
pub(super) fn overlay(table: &mut Table, environment: &[(String, String)], keys: &[String], findings: &mut Findings) {
    let mut entries: Vec<_> = environment
        .iter()
        .filter_map(|(name, value)| Some((path(name.strip_prefix(PREFIX)?, keys), name, value)))
        .collect();
    // Numbers by their size, and a table before what stands in it.
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
            findings.refuse("", Origin::Variable(name.clone()), complaint);
        }
    }
}

/// The path of keys that the rest of a variable's name stands for; `None` if the variable is not the configuration's.
fn path(rest: &str, keys: &[String]) -> Result<Option<Vec<String>>, Complaint> {
    let sections = || keys.iter().filter_map(|key| key.split('.').next());
    let lower = rest.to_lowercase();
    if !lower.contains("__") {
        if sections().any(|section| section == lower) {
            return Ok(Some(vec![lower]));
        }
        // WALPOST_KAFKA_BOOTSTRAP_SERVERS would be passed over in silence, and somebody would search for a day.
        return match keys.iter().find(|key| key.contains('.') && key.replace('.', "_") == lower) {
            Some(key) => Err(Complaint::new(
                "a section and its key are parted by two underscores",
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
        let mend = match nearest(&path[0], sections()) {
            Some(meant) => format!("did you mean {}?", variable(meant) + "__…"),
            None => "write WALPOST_<SECTION>__<KEY> with a section of walpost.toml".to_owned(),
        };
        return Err(Complaint::new(format!("there is no section {}", path[0]), mend));
    }
    if path.len() > 2 && path[0] == "kafka" && path[1] == "properties" {
        let name = path.split_off(2).join("_").replace('_', ".");
        path.push(name);
    }
    Ok(Some(path))
}

/// The node of a variable: its text, or what the text says in TOML where the key takes a table or an array.
fn node(path: &[String], name: &str, text: &str) -> Result<Node, Complaint> {
    let origin = Origin::Variable(name.to_owned());
    if text.contains('\u{FFFD}') {
        return Err(Complaint::new("is not UTF-8", "set it to a text in UTF-8"));
    }
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let structured = matches!(
        path.as_slice(),
        [_] | ["kafka", "properties"] | ["outbox", _] | ["outbox", _, "columns" | "header_columns"]
    );
    if !structured {
        return Ok(Node { value: Value::Variable(text.to_owned()), origin });
    }
    let value = file::parse_value(text, &origin).map_err(|message| {
        Complaint::new(format!("is not TOML: {message}"), "write { key = \"value\" }, or [\"value\"] for a list")
    })?;
    Ok(Node { value, origin })
}

/// Puts a node at its path, making the tables on the way.
fn insert(table: &mut Table, path: &[String], node: Node) -> Result<(), Complaint> {
    let (key, rest) = path.split_first().expect("a path has at least one part");
    if rest.is_empty() {
        table.insert(key.clone(), node);
        return Ok(());
    }
    let indexed = is_number(&rest[0]) && key == "outbox";
    let empty = if indexed { Value::List(Vec::new()) } else { Value::Table(Table::new()) };
    let origin = node.origin.clone();
    let inner = table.entry(key.clone()).or_insert(Node { value: empty, origin });
    match &mut inner.value {
        Value::Table(inner) if !indexed => insert(inner, rest, node),
        Value::List(items) if indexed => insert_item(items, rest, node),
        other => Err(other.is_not("a table or array", "see what the file or a shorter variable says for it")),
    }
}

/// Puts a node into an array, at the index that stands first in its path.
fn insert_item(items: &mut Vec<Node>, path: &[String], node: Node) -> Result<(), Complaint> {
    let (index, rest) = path.split_first().expect("the caller saw the index");
    let index: usize = index.parse().unwrap_or(usize::MAX);
    if index > items.len() || index >= OUTBOXES_MAX {
        return Err(Complaint::new(
            format!("there are {} tables before it", items.len()),
            "number the tables from 0, without a gap",
        ));
    }
    if index == items.len() {
        items.push(Node { value: Value::Table(Table::new()), origin: node.origin.clone() });
    }
    if rest.is_empty() {
        items[index] = node;
        return Ok(());
    }
    match &mut items[index].value {
        Value::Table(table) => insert(table, rest, node),
        other => Err(other.is_not("a table", "write { table = \"schema.name\" }")),
    }
}

fn is_number(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit())
}
