//! What an outbox table looks like: which column plays which role, and how its events find their topic.
//!
//! The configuration builds an [`Outbox`]; the core resolves it against the table's layout as the stream tells it, and
//! again whenever the layout changes.

use super::pgoutput::Relation;

/// The part that a column plays in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The event's id.
    Id,
    /// The name of its schema.
    SchemaName,
    /// The version of its schema.
    SchemaVersion,
    /// A topic that overrides the schema version's.
    Topic,
    /// The message key.
    Key,
    /// The payload.
    Payload,
    /// A JSON object of further headers.
    Headers,
    /// When the event was made.
    CreatedAt,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Id,
        Self::SchemaName,
        Self::SchemaVersion,
        Self::Topic,
        Self::Key,
        Self::Payload,
        Self::Headers,
        Self::CreatedAt,
    ];

    /// The role's name in the configuration, which is the column's name in `outbox.event`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::SchemaName => "schema_name",
            Self::SchemaVersion => "schema_version",
            Self::Topic => "topic",
            Self::Key => "key",
            Self::Payload => "payload",
            Self::Headers => "headers",
            Self::CreatedAt => "created_at",
        }
    }
}

/// A column that an outbox reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The role it plays.
    pub role: Role,
    /// Its name in the table.
    pub name: String,
    /// Whether the relay can't work without it. A column that need not be there is read when it is.
    pub needed: bool,
}

/// How an event of a table finds its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// By the row's topic if it names one, else by its schema version.
    Contract,
    /// By a template that is filled from columns; no schema version is looked up.
    Template(Vec<TemplatePart>),
}

/// A piece of a topic template such as `outbox.event.{aggregatetype}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Text as it stands.
    Literal(String),
    /// The value of a column.
    Column(String),
}

/// One outbox table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The schema that the table is in.
    pub namespace: String,
    /// The table's name. For a partitioned table, the root's.
    pub table: String,
    /// The columns it reads.
    pub columns: Vec<Column>,
    /// How its events find their topic.
    pub routing: Routing,
    /// Columns placed in headers as they are: (column, header).
    pub header_columns: Vec<(String, String)>,
}

impl Outbox {
    /// The table `outbox.event` as the migrations make it.
    #[must_use]
    pub fn walpost(namespace: &str, table: &str) -> Self {
        let column = |role: Role| {
            let needed = !matches!(role, Role::Topic | Role::Headers | Role::CreatedAt);
            Column { role, name: role.as_str().to_owned(), needed }
        };
        Self {
            namespace: namespace.to_owned(),
            table: table.to_owned(),
            columns: Role::ALL.map(column).to_vec(),
            routing: Routing::Contract,
            header_columns: Vec::new(),
        }
    }

    /// A table as the Debezium outbox event router reads it, by its defaults: `id`, `aggregatetype` for the topic,
    /// `aggregateid` for the key, `payload`.
    ///
    /// Source: the router's documented options `table.field.event.*` and `route.topic.replacement`.
    #[must_use]
    pub fn debezium(namespace: &str, table: &str) -> Self {
        let column = |role, name: &str| Column { role, name: name.to_owned(), needed: true };
        Self {
            namespace: namespace.to_owned(),
            table: table.to_owned(),
            columns: vec![column(Role::Id, "id"), column(Role::Key, "aggregateid"), column(Role::Payload, "payload")],
            routing: Routing::Template(vec![
                TemplatePart::Literal("outbox.event.".to_owned()),
                TemplatePart::Column("aggregatetype".to_owned()),
            ]),
            header_columns: Vec::new(),
        }
    }
}

/// The table in the stream is not as the configuration says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// A column that the relay needs is not there (any more).
    #[error(
        "table {table} has no column \"{column}\", which the relay reads as {role}; \
         add the column again or name another one in [[outbox]] columns"
    )]
    MissingColumn {
        /// The table, as schema.table.
        table: String,
        /// The column.
        column: String,
        /// What it is read as.
        role: String,
    },
    /// An outbox table has another name now.
    #[error(
        "table {table} is {now} now, which is no outbox: rename it back, or name it in [[outbox]] table and in the publication"
    )]
    Renamed {
        /// The table that was read, as schema.table.
        table: String,
        /// What its OID names now.
        now: String,
    },
    /// A column has a type from which its part of the record can't be made.
    #[error(
        "column \"{column}\" of table {table} has the type with OID {type_oid}, from which no {role} can be made; \
         use {allowed}"
    )]
    UnsupportedType {
        /// The table, as schema.table.
        table: String,
        /// The column.
        column: String,
        /// What it is read as.
        role: String,
        /// The OID of its type, as in pg_type.
        type_oid: u32,
        /// Types that would do.
        allowed: &'static str,
    },
}

/// How the bytes of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The bytes are the text: text, varchar, char, name, json.
    Utf8,
    /// In binary a version byte before the text.
    Jsonb,
    /// Any bytes; in text format as hexadecimal digits.
    Bytea,
    /// 16 bytes.
    Uuid,
    /// A signed number, big endian.
    Integer,
    /// Microseconds since 2000-01-01, with or without time zone.
    Timestamp,
    /// A type that is not built in: readable only where the server sends it as text.
    Foreign,
}

/// OIDs of built-in types are fixed (pg_type.dat); others start at 16384 (FirstNormalObjectId).
impl Codec {
    const fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            18 | 19 | 25 | 114 | 1042 | 1043 => Self::Utf8,
            3802 => Self::Jsonb,
            17 => Self::Bytea,
            2950 => Self::Uuid,
            20 | 21 | 23 => Self::Integer,
            1114 | 1184 => Self::Timestamp,
            16384.. => Self::Foreign,
            _ => return None,
        })
    }

    const fn allowed(self, role: Role) -> bool {
        match role {
            Role::Headers => matches!(self, Self::Utf8 | Self::Jsonb),
            Role::CreatedAt => matches!(self, Self::Timestamp),
            Role::Payload => matches!(self, Self::Utf8 | Self::Jsonb | Self::Bytea | Self::Foreign),
            Role::Key => !matches!(self, Self::Timestamp),
            _ => !matches!(self, Self::Timestamp | Self::Bytea),
        }
    }
}

const fn allowed_types(role: Role) -> &'static str {
    match role {
        Role::Headers => "jsonb or json",
        Role::CreatedAt => "timestamptz or timestamp",
        Role::Payload => "json, jsonb, text, varchar or bytea",
        Role::Key => "text, varchar, uuid, an integer type or bytea",
        _ => "text, varchar, uuid or an integer type",
    }
}

/// A column that was found: where its value stands in a row, and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its index in a row.
    pub index: usize,
    /// How its bytes are read.
    pub codec: Codec,
}

/// An [`Outbox`] resolved against the layout of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table, as schema.table.
    pub table: String,
    /// By role, the column.
    pub roles: [Option<Slot>; Role::ALL.len()],
    /// How the topic is found.
    pub route: Route,
    /// Columns placed in headers: the column, the header's name.
    pub headers: Vec<(Slot, String)>,
    /// How many columns a row has.
    pub width: usize,
}

/// [`Routing`] with columns found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// By the row's topic, else by its schema version.
    Contract,
    /// Literals and columns with their names.
    Template(Vec<RoutePart>),
}

/// A piece of a resolved template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutePart {
    /// Text as it stands.
    Literal(String),
    /// The value of a column.
    Column(Slot, String),
}

impl Layout {
    /// Finds the columns of `outbox` in the table's layout.
    ///
    /// # Errors
    /// If a needed column is missing or has a type that does not fit its role.
    pub fn resolve(outbox: &Outbox, relation: &Relation<'_>) -> Result<Self, LayoutError> {
        let resolver = Resolver { table: format!("{}.{}", relation.namespace, relation.name), relation };
        let mut roles = [None; Role::ALL.len()];
        for column in &outbox.columns {
            roles[column.role as usize] = match resolver.find(&column.name) {
                None if !column.needed => None,
                None => return Err(resolver.missing(&column.name, column.role.as_str())),
                Some((index, type_oid)) => Some(resolver.slot(index, type_oid, column)?),
            };
        }
        let route = match &outbox.routing {
            Routing::Contract => Route::Contract,
            Routing::Template(parts) => Route::Template(
                parts
                    .iter()
                    .map(|part| match part {
                        TemplatePart::Literal(text) => Ok(RoutePart::Literal(text.clone())),
                        TemplatePart::Column(name) => resolver
                            .plain(name, "a part of the topic")
                            .map(|slot| RoutePart::Column(slot, name.clone())),
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        let headers = outbox
            .header_columns
            .iter()
            .map(|(column, header)| Ok((resolver.plain(column, "a header")?, header.clone())))
            .collect::<Result<_, _>>()?;
        Ok(Self { roles, route, headers, width: relation.columns().count(), table: resolver.table })
    }
}

struct Resolver<'a> {
    table: String,
    relation: &'a Relation<'a>,
}

impl Resolver<'_> {
    fn find(&self, name: &str) -> Option<(usize, u32)> {
        let found = self.relation.columns().enumerate().find(|(_, column)| column.name == name);
        found.map(|(index, column)| (index, column.type_oid))
    }

    fn missing(&self, column: &str, role: &str) -> LayoutError {
        LayoutError::MissingColumn { table: self.table.clone(), column: column.to_owned(), role: role.to_owned() }
    }

    fn slot(&self, index: usize, type_oid: u32, column: &Column) -> Result<Slot, LayoutError> {
        match Codec::of(type_oid) {
            Some(codec) if codec.allowed(column.role) => Ok(Slot { index, codec }),
            _ => Err(LayoutError::UnsupportedType {
                table: self.table.clone(),
                column: column.name.clone(),
                role: column.role.as_str().to_owned(),
                type_oid,
                allowed: allowed_types(column.role),
            }),
        }
    }

    /// A column that is read as text.
    fn plain(&self, name: &str, role: &str) -> Result<Slot, LayoutError> {
        let (index, type_oid) = self.find(name).ok_or_else(|| self.missing(name, role))?;
        let codec = Codec::of(type_oid).ok_or_else(|| LayoutError::UnsupportedType {
            table: self.table.clone(),
            column: name.to_owned(),
            role: role.to_owned(),
            type_oid,
            allowed: allowed_types(Role::Key),
        })?;
        Ok(Slot { index, codec })
    }
}
