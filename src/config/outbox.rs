//! `[[outbox]]`: the outbox tables and what their columns mean.

use super::environment::OUTBOXES_MAX;
use super::error::Complaint;
use super::names::{TableName, identifier};
use super::reader::{Findings, Section, as_table, choice};
use super::template::TopicTemplate;
use super::tree::{Node, Value, shown};

/// Most columns of a table that become headers.
const HEADER_COLUMNS_MAX: usize = 64;

/// One outbox table: one `[[outbox]]` of the file. Without any, there is `outbox.event` with the preset `walpost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxConfig {
    /// `outbox.N.table`, `WALPOST_OUTBOX__N__TABLE`: the table with its schema, as SQL writes it. No default.
    pub table: TableName,
    /// `outbox.N.preset` and `outbox.N.columns`, `WALPOST_OUTBOX__N__PRESET` and `WALPOST_OUTBOX__N__COLUMNS__<ROLE>`: what
    /// kind of outbox it is, and the columns by their roles. Default preset `walpost`; each role's column has its role's name
    /// by default; `false` says that the table has no such column.
    pub columns: OutboxColumns,
    /// `outbox.N.topic`, `WALPOST_OUTBOX__N__TOPIC`: the topic of the table's events, with `{role}` or `{column}` where a
    /// column's value goes. It stands in for the schema version's topic; a row that names its topic itself keeps it.
    /// Default: none for `walpost`, `outbox.event.{aggregatetype}` for `debezium`.
    pub topic: Option<TopicTemplate>,
    /// `outbox.N.header_columns`, `WALPOST_OUTBOX__N__HEADER_COLUMNS` (in TOML): more columns that become headers, as
    /// `["column"]` or `{ column = "header" }`. Default: none.
    pub header_columns: Vec<HeaderColumn>,
}

/// The columns of an outbox table by their roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxColumns {
    /// `preset = "walpost"`.
    Walpost(WalpostColumns),
    /// `preset = "debezium"`.
    Debezium(DebeziumColumns),
}

/// The columns of a table like `outbox.event`. `None`: the table has no such column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalpostColumns {
    /// The event's id.
    pub id: String,
    /// The schema's name.
    pub schema_name: Option<String>,
    /// The schema's version.
    pub schema_version: Option<String>,
    /// The row's own topic.
    pub topic: Option<String>,
    /// The message key.
    pub key: Option<String>,
    /// The message value.
    pub payload: String,
    /// The row's own headers, a JSON object.
    pub headers: Option<String>,
    /// When the row was made.
    pub created_at: Option<String>,
}

/// The columns of a table for Debezium's outbox event router. `None`: the table has no such column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebeziumColumns {
    /// The event's id.
    pub id: String,
    /// What the topic is made of.
    pub aggregatetype: Option<String>,
    /// The message key.
    pub aggregateid: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The message value.
    pub payload: String,
}

/// A column that becomes a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderColumn {
    /// The column.
    pub column: String,
    /// The header's key.
    pub header: String,
}

impl OutboxColumns {
    /// The column of a role as the configuration names it.
    fn of_role(&self, role: &str) -> Option<&str> {
        match (self, role) {
            (Self::Walpost(columns), "id") => Some(columns.id.as_str()),
            (Self::Walpost(columns), "schema_name") => columns.schema_name.as_deref(),
            (Self::Walpost(columns), "schema_version") => columns.schema_version.as_deref(),
            (Self::Walpost(columns), "key") => columns.key.as_deref(),
            (Self::Debezium(columns), "id") => Some(columns.id.as_str()),
            (Self::Debezium(columns), "aggregatetype") => columns.aggregatetype.as_deref(),
            (Self::Debezium(columns), "aggregateid") => columns.aggregateid.as_deref(),
            (Self::Debezium(columns), "type") => columns.event_type.as_deref(),
            _ => None,
        }
    }
}

impl Default for OutboxConfig {
    fn default() -> Self {
        let column = |name: &str| Some(name.to_owned());
        Self {
            table: TableName { schema: "outbox".to_owned(), name: "event".to_owned() },
            columns: OutboxColumns::Walpost(WalpostColumns {
                id: "id".to_owned(),
                schema_name: column("schema_name"),
                schema_version: column("schema_version"),
                topic: column("topic"),
                key: column("key"),
                payload: "payload".to_owned(),
                headers: column("headers"),
                created_at: column("created_at"),
            }),
            topic: None,
            header_columns: Vec::new(),
        }
    }
}

/// Reads all `[[outbox]]` tables.
pub(super) fn read_all(node: Option<Node>, findings: &mut Findings) -> Vec<OutboxConfig> {
    let Some(node) = node else {
        return vec![OutboxConfig::default()];
    };
    let items = match node.value {
        Value::List(items) if (1..=OUTBOXES_MAX).contains(&items.len()) => items,
        Value::List(_) => {
            let complaint =
                Complaint::new("is empty or too long", format!("give 1 to {OUTBOXES_MAX} [[outbox]] tables"));
            findings.refuse("outbox", node.origin, complaint);
            return Vec::new();
        }
        other => {
            let mend = "write [[outbox]], with double brackets, once for each table";
            findings.refuse("outbox", node.origin, other.is_not("an array of tables", mend));
            return Vec::new();
        }
    };
    let mut outboxes: Vec<OutboxConfig> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("outbox.{index}");
        let origin = item.origin.clone();
        let outbox = match as_table(item.value) {
            Ok(table) => read(Section::new(&path, table, findings).at(&origin)),
            Err(complaint) => {
                findings.refuse(&path, origin, complaint);
                continue;
            }
        };
        let Some(outbox) = outbox else { continue };
        if outboxes.iter().any(|earlier| earlier.table == outbox.table) {
            let complaint = Complaint::new(format!("{} is declared twice", outbox.table), "keep one of the two");
            findings.refuse(&format!("{path}.table"), origin, complaint);
        } else {
            outboxes.push(outbox);
        }
    }
    outboxes
}

fn read(mut section: Section<'_>) -> Option<OutboxConfig> {
    let table = section.required("table", "\"schema.table\"", |value| TableName::parse(value.as_text()?));
    let is_debezium = section.or("preset", false, |value| choice(value, &[("walpost", false), ("debezium", true)]));
    let roles = section.section("columns");
    let columns = if is_debezium { debezium_columns(roles) } else { walpost_columns(roles) };
    let default_topic = is_debezium.then(TopicTemplate::debezium);
    let topic = section.optional("topic", |value| TopicTemplate::parse(value.as_text()?)).or(default_topic);
    let topic = topic.map(|topic| topic.with_columns(|role| columns.of_role(role)));
    if let Some(complaint) = no_topic(&columns, topic.as_ref()) {
        section.refuse("topic", complaint);
    }
    let header_columns = section.optional("header_columns", header_columns).unwrap_or_default();
    section.finish();
    Some(OutboxConfig { table: table?, columns, topic, header_columns })
}

/// The complaint that no event of a table could ever have a topic.
fn no_topic(columns: &OutboxColumns, topic: Option<&TopicTemplate>) -> Option<Complaint> {
    let (what, mend) = match (columns, topic) {
        (OutboxColumns::Walpost(WalpostColumns { topic: None, schema_name, schema_version, .. }), None)
            if schema_name.is_none() || schema_version.is_none() =>
        {
            ("is missing, and without a topic column or a schema version nothing says where events go", "give a topic")
        }
        (OutboxColumns::Debezium(DebeziumColumns { aggregatetype: None, .. }), Some(topic))
            if topic.columns().any(|column| column == "aggregatetype") =>
        {
            ("takes its value from aggregatetype, which columns says is not there", "give a topic without it")
        }
        _ => return None,
    };
    Some(Complaint::new(what, mend))
}

fn walpost_columns(mut roles: Section<'_>) -> OutboxColumns {
    let columns = WalpostColumns {
        id: needed(&mut roles, "id"),
        schema_name: optional(&mut roles, "schema_name"),
        schema_version: optional(&mut roles, "schema_version"),
        topic: optional(&mut roles, "topic"),
        key: optional(&mut roles, "key"),
        payload: needed(&mut roles, "payload"),
        headers: optional(&mut roles, "headers"),
        created_at: optional(&mut roles, "created_at"),
    };
    roles.finish();
    OutboxColumns::Walpost(columns)
}

fn debezium_columns(mut roles: Section<'_>) -> OutboxColumns {
    let columns = DebeziumColumns {
        id: needed(&mut roles, "id"),
        aggregatetype: optional(&mut roles, "aggregatetype"),
        aggregateid: optional(&mut roles, "aggregateid"),
        event_type: optional(&mut roles, "type"),
        payload: needed(&mut roles, "payload"),
    };
    roles.finish();
    OutboxColumns::Debezium(columns)
}

fn needed(roles: &mut Section<'_>, role: &'static str) -> String {
    roles.or(role, role.to_owned(), |value| identifier(value.as_text()?))
}

fn optional(roles: &mut Section<'_>, role: &'static str) -> Option<String> {
    roles.or(role, Some(role.to_owned()), |value| match value {
        Value::Boolean(false) => Ok(None),
        Value::Variable(text) if text == "false" => Ok(None),
        Value::Boolean(true) => Err(value.is_not("a column's name or false", "name the column")),
        other => identifier(other.as_text()?).map(Some),
    })
}

/// Reads `["column"]`, which keeps its order, or `{ column = "header" }`, which is put into that of the columns' names.
fn header_columns(value: &Value) -> Result<Vec<HeaderColumn>, Complaint> {
    let columns = match value {
        Value::List(items) => {
            let columns = items.iter().map(|item| item.value.as_text().and_then(|name| header_column(name, name)));
            columns.collect::<Result<Vec<_>, _>>()?
        }
        Value::Table(table) => {
            let columns = table.iter().map(|(column, node)| header_column(column, node.value.as_text()?));
            columns.collect::<Result<_, _>>()?
        }
        other => {
            return Err(other.is_not("a list or table of columns", "write [\"column\"] or { column = \"header\" }"));
        }
    };
    if columns.len() > HEADER_COLUMNS_MAX {
        let mend = format!("name at most {HEADER_COLUMNS_MAX} columns");
        return Err(Complaint::new(format!("names {} columns", columns.len()), mend));
    }
    Ok(columns)
}

fn header_column(column: &str, header: &str) -> Result<HeaderColumn, Complaint> {
    if header.starts_with("outbox-") {
        let what = format!("{} starts with outbox-, as walpost's own headers do", shown(header));
        return Err(Complaint::new(what, "choose another header"));
    }
    Ok(HeaderColumn { column: identifier(column)?, header: header.to_owned() })
}
