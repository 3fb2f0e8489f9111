//! `[[outbox]]`: the outbox tables and the roles of their columns.
//!
//! Each becomes an [`Outbox`] for the core:
//!
//! - `outbox.N.table`, `WALPOST_OUTBOX__N__TABLE`: the table with its schema, in SQL syntax. No default.
//! - `outbox.N.preset`, `WALPOST_OUTBOX__N__PRESET`: `walpost` or `debezium`. Default `walpost`.
//! - `outbox.N.columns`, `WALPOST_OUTBOX__N__COLUMNS__<ROLE>`: the columns by role. Default: the role's name; `false` if the
//!   table has no such column. A column named here must exist; of the others, optional ones (`topic`, `headers`, `created_at`, `payload_bytes`) are
//!   read if they exist. `timestamp`, whose value is the record's timestamp, has no default.
//! - `outbox.N.topic`, `WALPOST_OUTBOX__N__TOPIC`: the topic of the table's events, with `{role}` or `{column}` as
//!   placeholders for column values; then no schema version is looked up. Default: none for `walpost` (the row's topic, else its schema
//!   version's), `outbox.event.{aggregatetype}` for `debezium`.
//! - `outbox.N.header_columns`, `WALPOST_OUTBOX__N__HEADER_COLUMNS` (in TOML): more columns that become headers, as
//!   `["column"]` or `{ column = "header" }`. Default: none.
//! - `outbox.N.headers`, `WALPOST_OUTBOX__N__HEADERS`: the header style of the table's records. Default: `relay.headers`.
//! - `outbox.N.key_converter`, `outbox.N.value_converter`, `outbox.N.expand_json_payload`, `outbox.N.envelope_columns`,
//!   `outbox.N.tombstone_on_empty_payload`: how keys and values are written. See `rendering`.
//!
//! Without any `[[outbox]]`, there is `outbox.event` with the preset `walpost`.

use std::collections::BTreeMap;

use super::destinations::{OutboxRules, check_template};
use super::environment::OUTBOXES_MAX;
use super::error::Complaint;
use super::names::{QualifiedName, identifier};
use super::reader::{Findings, Section, as_table, choice};
use super::rendering::{self, rendering};
use super::template;
use super::tree::{TreeNode, TreeValue, shown};
use crate::relay::HeaderStyle;
use crate::relay::decode::outbox::{Column, Outbox, Routing};
use crate::relay::decode::role::Role;
use crate::relay::publish::attributes::is_header_of_event;
use crate::relay::publish::encode::names::RESERVED_PREFIX;

/// The topic of Debezium's outbox event router.
const DEBEZIUM_TOPIC: &str = "outbox.event.{aggregatetype}";

/// Default column names and roles.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Preset {
    /// As `outbox.event`.
    Walpost,
    /// As Debezium's outbox event router reads it.
    Debezium,
}

/// A role in the configuration, and the core's role for it; `None` if only the topic or headers use it.
type NamedRole = (&'static str, Option<Role>);

impl Preset {
    const WORDS: [(&'static str, Self); 2] = [("walpost", Self::Walpost), ("debezium", Self::Debezium)];

    fn roles(self) -> Vec<NamedRole> {
        match self {
            Self::Walpost => {
                let roles = Role::OF_EVENT.into_iter().chain([Role::Timestamp]);
                roles.map(|role| (role.as_str(), Some(role))).collect()
            }
            Self::Debezium => vec![
                ("id", Some(Role::Id)),
                ("aggregatetype", None),
                ("aggregateid", Some(Role::Key)),
                ("type", None),
                ("payload", Some(Role::Payload)),
                ("created_at", Some(Role::CreatedAt)),
                ("timestamp", Some(Role::Timestamp)),
                ("tracingspancontext", Some(Role::TracingSpanContext)),
            ],
        }
    }
}

/// Reads all `[[outbox]]` tables.
pub(super) fn read_all(node: Option<TreeNode>, rules: &OutboxRules<'_>, findings: &mut Findings) -> Vec<Outbox> {
    let Some(node) = node else {
        return vec![Outbox::walpost("outbox", "event")];
    };
    let items = match node.value {
        TreeValue::List(items) if (1..=OUTBOXES_MAX).contains(&items.len()) => items,
        TreeValue::List(_) => {
            let complaint =
                Complaint::new("is empty or too long", format!("give 1 to {OUTBOXES_MAX} [[outbox]] tables"));
            findings.refuse("outbox", node.origin, complaint);
            return Vec::new();
        }
        other => {
            let fix = "write [[outbox]] with double brackets, once per table";
            findings.refuse("outbox", node.origin, other.is_not("an array of tables", fix));
            return Vec::new();
        }
    };
    let mut tables = BTreeMap::new();
    let mut outboxes = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("outbox.{index}");
        let origin = item.origin.clone();
        let outbox = match as_table(item.value) {
            Ok(table) => read(Section::new(&path, table, findings).at(&origin), rules),
            Err(complaint) => {
                findings.refuse(&path, origin, complaint);
                continue;
            }
        };
        let Some((table, outbox)) = outbox else { continue };
        if let Some(earlier) = tables.insert(table.clone(), index) {
            let what = format!("{table} is already declared as outbox.{earlier}");
            findings.refuse(&format!("{path}.table"), origin, Complaint::new(what, "remove one"));
        }
        outboxes.push(outbox);
    }
    outboxes
}

fn read(mut section: Section<'_>, rules: &OutboxRules<'_>) -> Option<(QualifiedName, Outbox)> {
    let table = section.required("table", "\"schema.table\"", |value| QualifiedName::parse(value.as_text()?));
    let preset = section.or("preset", Preset::Walpost, |value| choice(value, &Preset::WORDS));
    let default_topic = (preset == Preset::Debezium).then(|| DEBEZIUM_TOPIC.to_owned());
    let topic = section.optional("topic", |value| value.as_text().map(str::to_owned)).or(default_topic);
    let columns = columns(preset, topic.is_some(), section.section("columns"));
    let column_of = |role: &str| match columns.names.get(role) {
        Some(Some(column)) => Ok(column.clone()),
        Some(None) => Err(Complaint::new(
            format!("uses {role}, but columns sets it to false"),
            "name the column, or remove it from the topic",
        )),
        None => identifier(role),
    };
    let parts = topic.map(|topic| -> Result<_, Complaint> {
        let parts = template::parse(&topic, column_of)?;
        check_template(&parts, rules.destinations)?;
        Ok(parts)
    });
    let routing = match parts {
        None => Routing::Contract,
        Some(Ok(parts)) => Routing::Template(parts),
        Some(Err(complaint)) => {
            section.refuse("topic", complaint);
            Routing::Contract
        }
    };
    let has_schema = columns.read.iter().any(|column| column.role == Role::SchemaName);
    let rendering = rendering(&mut section, routing != Routing::Contract);
    let style = rendering.style.unwrap_or(rules.style);
    let own_headers = style.own(has_schema);
    let header_columns = section.optional("header_columns", |value| {
        rendering::placed(value, |column, header| header_column(column, header, own_headers, style))
    });
    let header_columns = header_columns.unwrap_or_default();
    section.finish();
    let table = table?;
    let QualifiedName { schema: namespace, name } = table.clone();
    Some((table, Outbox { namespace, table: name, columns: columns.read, routing, header_columns, rendering }))
}

/// The columns of a table.
struct Columns {
    /// The columns that the core reads.
    read: Vec<Column>,
    /// The column of each role name; `None` if the table has none.
    names: BTreeMap<&'static str, Option<String>>,
}

/// Reads `columns`; `routed` if the topic comes from the configuration.
fn columns(preset: Preset, routed: bool, mut section: Section<'_>) -> Columns {
    let mut columns = Columns { read: Vec::new(), names: BTreeMap::new() };
    for (name, role) in preset.roles() {
        let default = (role != Some(Role::Timestamp)).then(|| name.to_owned());
        let column = section.or(name, default, column);
        let is_named = section.is_given(name);
        let complaint = match (role, &column) {
            (Some(Role::Id | Role::Payload), None) => Some(("is required", "name the column")),
            (Some(Role::SchemaName | Role::SchemaVersion), None) if !routed => {
                Some(("is required to find the topic", "name the column, or give the table a topic"))
            }
            (Some(Role::Topic), Some(_)) if routed && is_named => {
                Some(("is not read if the table has a topic", "remove one"))
            }
            _ => None,
        };
        if let Some((what, fix)) = complaint {
            section.refuse(name, Complaint::new(what, fix));
        }
        // A topic from the configuration replaces the row's.
        if let (Some(role), Some(column)) = (role, &column)
            && !(routed && role == Role::Topic)
        {
            columns.read.push(Column { role, name: column.clone(), needed: is_named || !is_optional(role, routed) });
        }
        columns.names.insert(name, column);
    }
    section.finish();
    columns
}

/// Whether the column of a role is optional if not named.
fn is_optional(role: Role, routed: bool) -> bool {
    match role {
        Role::Topic
        | Role::Headers
        | Role::CreatedAt
        | Role::PayloadBytes
        | Role::Timestamp
        | Role::TracingSpanContext => true,
        Role::SchemaName | Role::SchemaVersion => routed,
        Role::Id | Role::Key | Role::Payload => false,
    }
}

fn column(value: &TreeValue) -> Result<Option<String>, Complaint> {
    match value {
        TreeValue::Boolean(false) => Ok(None),
        TreeValue::Variable(text) if text == "false" => Ok(None),
        TreeValue::Boolean(true) => Err(value.is_not("a column name or false", "name the column")),
        other => identifier(other.as_text()?).map(Some),
    }
}

/// Checks a column and its header. `own` are headers that the relay writes itself.
fn header_column(column: &str, header: &str, own: &[&str], style: HeaderStyle) -> Result<(String, String), Complaint> {
    if style == HeaderStyle::CloudEvents && !is_header_of_event(header) {
        let what = format!("{} is not a valid CloudEvents attribute", shown(header));
        return Err(Complaint::new(what, "use only a-z and 0-9 after ce_, or a header without ce_"));
    }
    if own.contains(&header) {
        let what = format!("{} is a header that the relay writes itself", shown(header));
        return Err(Complaint::new(what, "choose another header: { column = \"header\" }"));
    }
    if header.starts_with(RESERVED_PREFIX) {
        let what = format!("{} starts with outbox-, which is reserved for walpost's headers", shown(header));
        return Err(Complaint::new(what, "choose another header"));
    }
    Ok((identifier(column)?, header.to_owned()))
}
