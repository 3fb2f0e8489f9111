//! What an outbox table looks like: which column plays which role, and how its events find their topic.
//!
//! The configuration builds an [`Outbox`]; the core resolves it against the table's layout as the stream tells it, and
//! again whenever the layout changes.

use super::boundary::ColumnType;
use super::catalogue::Wait;
use super::codec::{Codec, Unreadable, fitting_types, type_name};
use super::pgoutput::Relation;
use super::role::Role;

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
        "column \"{column}\" of table {table} has type {type_name}, from which no {role} can be made; use {allowed}"
    )]
    UnsupportedType {
        /// The table, as schema.table.
        table: String,
        /// The column.
        column: String,
        /// What it is read as.
        role: String,
        /// Its type, as SQL writes it.
        type_name: String,
        /// Types that would do.
        allowed: &'static str,
    },
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

/// Why a table has no layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The type of a column has to be asked for first.
    Wait,
    /// The table is not as the configuration says.
    Misfit(LayoutError),
}

impl From<Wait> for Unresolved {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

impl From<LayoutError> for Unresolved {
    fn from(error: LayoutError) -> Self {
        Self::Misfit(error)
    }
}

impl Layout {
    /// Finds the columns of `outbox` in the table's layout. `types` says what is known of a type by its OID; it is asked for those
    /// that have no fixed one, and for the name of one that does not fit.
    ///
    /// # Errors
    /// If a needed column is missing or has a type that does not fit its role, and as long as `types` has no answer.
    pub fn resolve(
        outbox: &Outbox,
        relation: &Relation<'_>,
        types: impl FnMut(u32) -> Result<Option<ColumnType>, Wait>,
    ) -> Result<Self, Unresolved> {
        let mut resolver = Resolver { table: format!("{}.{}", relation.namespace, relation.name), relation, types };
        let mut roles = [None; Role::ALL.len()];
        for column in &outbox.columns {
            roles[column.role as usize] = match resolver.find(&column.name) {
                None if !column.needed => None,
                None => return Err(resolver.missing(&column.name, column.role.as_str()).into()),
                Some(found) => Some(resolver.slot(found, column)?),
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
                    .collect::<Result<_, Unresolved>>()?,
            ),
        };
        let headers = outbox
            .header_columns
            .iter()
            .map(|(column, header)| Ok((resolver.plain(column, "a header")?, header.clone())))
            .collect::<Result<_, Unresolved>>()?;
        Ok(Self { roles, route, headers, width: relation.columns().count(), table: resolver.table })
    }
}

struct Resolver<'a, T> {
    table: String,
    relation: &'a Relation<'a>,
    types: T,
}

impl<T: FnMut(u32) -> Result<Option<ColumnType>, Wait>> Resolver<'_, T> {
    /// A column's index and the OID of its type.
    fn find(&self, name: &str) -> Option<(usize, u32)> {
        let found = self.relation.columns().enumerate().find(|(_, column)| column.name == name);
        found.map(|(index, column)| (index, column.type_oid))
    }

    fn missing(&self, column: &str, role: &str) -> LayoutError {
        LayoutError::MissingColumn { table: self.table.clone(), column: column.to_owned(), role: role.to_owned() }
    }

    fn slot(&mut self, (index, type_oid): (usize, u32), column: &Column) -> Result<Slot, Unresolved> {
        let role = column.role;
        let type_name = match Codec::find(type_oid, &mut self.types) {
            Ok(codec) if codec.fits(role) => return Ok(Slot { index, codec }),
            Ok(_) => type_name(type_oid, &mut self.types)?,
            Err(Unreadable::Type(name)) => name,
            Err(Unreadable::Wait) => return Err(Unresolved::Wait),
        };
        Err(self.unsupported(&column.name, role.as_str(), type_name, fitting_types(role)).into())
    }

    /// A column that is read as text.
    fn plain(&mut self, name: &str, role: &str) -> Result<Slot, Unresolved> {
        let (index, type_oid) = self.find(name).ok_or_else(|| self.missing(name, role))?;
        match Codec::find(type_oid, &mut self.types) {
            Ok(codec) => Ok(Slot { index, codec }),
            Err(Unreadable::Type(type_name)) => {
                Err(self.unsupported(name, role, type_name, fitting_types(Role::Key)).into())
            }
            Err(Unreadable::Wait) => Err(Unresolved::Wait),
        }
    }

    fn unsupported(&self, column: &str, role: &str, type_name: String, allowed: &'static str) -> LayoutError {
        LayoutError::UnsupportedType {
            table: self.table.clone(),
            column: column.to_owned(),
            role: role.to_owned(),
            type_name,
            allowed,
        }
    }
}
