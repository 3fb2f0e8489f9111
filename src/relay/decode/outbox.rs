//! The structure of an outbox table: which column plays which role, and how its events find their topic.
//!
//! The configuration builds an [`Outbox`]; the core resolves it against the table's layout in the stream, and again
//! whenever the layout changes.

use super::codec::{Codec, PLAIN_TYPES, RowColumn, Unreadable, fitting_types, type_name};
use super::layout_error::LayoutError;
use super::pgoutput::Relation;
use super::rendering::{Rendering, ResolvedRendering};
use super::role::Role;
use super::text_encoding::Encoding;
use crate::relay::boundary::ColumnType;
use crate::relay::boundary::Wait;

/// A column that an outbox reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The role it plays.
    pub role: Role,
    /// Its name in the table.
    pub name: String,
    /// Whether the relay can't work without it. An optional column is read if it exists.
    pub needed: bool,
}

/// How an event of a table finds its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The row's topic if it names one, otherwise its schema version's.
    Contract,
    /// A template filled from columns; no schema version is looked up.
    Template(Vec<TemplatePart>),
}

/// A piece of a topic template such as `outbox.event.{aggregatetype}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Literal text.
    Literal(String),
    /// The value of a column.
    Column(String),
}

/// One outbox table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The table's schema.
    pub namespace: String,
    /// The table's name; for a partitioned table, the root's.
    pub table: String,
    /// The columns it reads.
    pub columns: Vec<Column>,
    /// How its events find their topic.
    pub routing: Routing,
    /// Columns placed in headers: (column, header).
    pub header_columns: Vec<(String, String)>,
    /// How its events are written in records.
    pub rendering: Rendering,
}

impl Outbox {
    /// The table `outbox.event` as created by the migrations.
    #[must_use]
    pub fn walpost(namespace: &str, table: &str) -> Self {
        let column = |role: Role| {
            let needed = !matches!(role, Role::Topic | Role::Headers | Role::CreatedAt | Role::PayloadBytes);
            Column { role, name: role.as_str().to_owned(), needed }
        };
        Self {
            namespace: namespace.to_owned(),
            table: table.to_owned(),
            columns: Role::OF_EVENT.map(column).to_vec(),
            routing: Routing::Contract,
            header_columns: Vec::new(),
            rendering: Rendering::default(),
        }
    }

    /// A table as the Debezium outbox event router reads it by default: `id`, `aggregatetype` for the topic,
    /// `aggregateid` for the key, `payload`. A column `created_at`, which the router does not know, gives the age of
    /// rows. Of a column `tracingspancontext`, which Quarkus writes, the trace context becomes headers.
    ///
    /// Source: the router's documented options `table.field.event.*` and `route.topic.replacement`.
    #[must_use]
    pub fn debezium(namespace: &str, table: &str) -> Self {
        let is_needed = |role| !matches!(role, Role::CreatedAt | Role::TracingSpanContext);
        let column = |role, name: &str| Column { role, name: name.to_owned(), needed: is_needed(role) };
        Self {
            namespace: namespace.to_owned(),
            table: table.to_owned(),
            columns: vec![
                column(Role::Id, "id"),
                column(Role::Key, "aggregateid"),
                column(Role::Payload, "payload"),
                column(Role::CreatedAt, Role::CreatedAt.as_str()),
                column(Role::TracingSpanContext, Role::TracingSpanContext.as_str()),
            ],
            routing: Routing::Template(vec![
                TemplatePart::Literal("outbox.event.".to_owned()),
                TemplatePart::Column("aggregatetype".to_owned()),
            ]),
            header_columns: Vec::new(),
            rendering: Rendering::default(),
        }
    }

    /// Every column that is read, once for each role.
    pub fn reads(&self) -> impl Iterator<Item = Read<'_>> {
        let roles = self.columns.iter().map(|column| Read {
            column: &column.name,
            role: column.role.as_str(),
            needed: column.needed,
        });
        let parts = match &self.routing {
            Routing::Contract => &[][..],
            Routing::Template(parts) => parts,
        };
        let parts = parts.iter().filter_map(|part| match part {
            TemplatePart::Literal(_) => None,
            TemplatePart::Column(column) => Some(Read { column, role: TOPIC_PART, needed: true }),
        });
        let headers = self.header_columns.iter();
        let headers = headers.map(|(column, _)| Read { column, role: HEADER, needed: true });
        let members = self.rendering.envelope_columns.iter();
        let members = members.map(|(column, _)| Read { column, role: MEMBER, needed: true });
        roles.chain(parts).chain(headers).chain(members)
    }
}

/// A column that an outbox reads, and its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read<'a> {
    pub column: &'a str,
    pub role: &'static str,
    /// Whether the relay can't work without it.
    pub needed: bool,
}

const TOPIC_PART: &str = "a part of the topic";
const HEADER: &str = "a header";
const MEMBER: &str = "a member of the envelope";

/// An [`Outbox`] resolved against the layout of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table, as schema.table.
    pub table: String,
    /// The column for each role.
    pub roles: [Option<RowColumn>; Role::COUNT],
    /// How the topic is found.
    pub route: ResolvedRouting,
    /// Columns placed in headers: the column and the header name.
    pub headers: Vec<(RowColumn, String)>,
    /// How the events are written in records.
    pub form: ResolvedRendering,
    /// How many columns a row has.
    pub width: usize,
    /// Why none of the rows can be published: the mismatch with the configuration.
    pub misfit: Option<String>,
    /// The encoding of its text.
    pub encoding: Encoding,
}

/// [`Routing`] with its columns resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedRouting {
    /// The row's topic, otherwise its schema version's.
    Contract,
    /// Literals and columns with their names.
    Template(Vec<RoutePart>),
}

impl ResolvedRouting {
    /// Whether no row changes the topic.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Template(parts) if parts.iter().all(|part| matches!(part, RoutePart::Literal(_))))
    }
}

/// A piece of a resolved template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutePart {
    /// Literal text.
    Literal(String),
    /// The value of a column.
    Column(RowColumn, String),
}

/// Why a table has no layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// The type of a column must be looked up first.
    Wait,
    /// The table does not match the configuration.
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
    /// Finds the columns of `outbox` in the table's layout. `types` returns what is known of a type; it is asked for
    /// types without a fixed OID, and for the name of one that does not fit.
    ///
    /// # Errors
    /// If a required column is missing or has a type that does not fit its role, and as long as `types` has no answer.
    pub fn resolve(
        outbox: &Outbox,
        relation: &Relation<'_>,
        types: impl FnMut(u32) -> Result<Option<ColumnType>, Wait>,
    ) -> Result<Self, Unresolved> {
        match Self::resolve_in_part(outbox, relation, types)? {
            (layout, None) => Ok(layout),
            (_, Some(misfit)) => Err(misfit.into()),
        }
    }

    /// The same as far as possible, with the first mismatch: the layout's rows can all be read, for dead letters.
    ///
    /// # Errors
    /// As long as `types` has no answer.
    pub fn resolve_in_part(
        outbox: &Outbox,
        relation: &Relation<'_>,
        types: impl FnMut(u32) -> Result<Option<ColumnType>, Wait>,
    ) -> Result<(Self, Option<LayoutError>), Wait> {
        let table = format!("{}.{}", relation.namespace, relation.name);
        let mut resolver = Resolver { table, relation, types, misfit: None };
        let mut roles = [None; Role::COUNT];
        for column in &outbox.columns {
            roles[column.role as usize] = match resolver.find(&column.name) {
                None if !column.needed => None,
                None => resolver.missing(&column.name, column.role.as_str()),
                Some(found) => resolver.slot(found, column)?,
            };
        }
        let route = match &outbox.routing {
            Routing::Contract => ResolvedRouting::Contract,
            Routing::Template(parts) => {
                let mut found = Vec::with_capacity(parts.len());
                for part in parts {
                    found.push(match part {
                        TemplatePart::Literal(text) => RoutePart::Literal(text.clone()),
                        TemplatePart::Column(name) => match resolver.plain(name, TOPIC_PART)? {
                            Some(slot) => RoutePart::Column(slot, name.clone()),
                            None => RoutePart::Literal(format!("{{{name}}}")),
                        },
                    });
                }
                ResolvedRouting::Template(found)
            }
        };
        let mut headers = Vec::with_capacity(outbox.header_columns.len());
        for (column, header) in &outbox.header_columns {
            headers.extend(resolver.plain(column, HEADER)?.map(|slot| (slot, header.clone())));
        }
        let mut form = ResolvedRendering::of(&outbox.rendering);
        for (column, member) in &outbox.rendering.envelope_columns {
            form.envelope.extend(resolver.plain(column, MEMBER)?.map(|slot| (slot, member.clone())));
        }
        let misfit = resolver.misfit.as_ref().map(LayoutError::to_string);
        let (width, encoding) = (relation.columns().count(), Encoding::default());
        let layout = Self { roles, route, headers, form, width, encoding, table: resolver.table, misfit };
        Ok((layout, resolver.misfit))
    }

    /// The indexes of columns whose values can be read only if the server sends them as text.
    pub fn foreign(&self) -> impl Iterator<Item = usize> {
        let parts = match &self.route {
            ResolvedRouting::Contract => &[][..],
            ResolvedRouting::Template(parts) => parts,
        };
        let parts = parts.iter().filter_map(|part| match part {
            RoutePart::Literal(_) => None,
            RoutePart::Column(slot, _) => Some(slot),
        });
        let placed = self.headers.iter().chain(&self.form.envelope).map(|(slot, _)| slot);
        let slots = self.roles.iter().flatten().chain(parts).chain(placed);
        slots.filter(|slot| slot.codec == Codec::Foreign).map(|slot| slot.index)
    }
}

/// Whether a column that has the role's name, but not its type, is taken for another one.
const fn is_guess(role: Role) -> bool {
    matches!(role, Role::CreatedAt | Role::PayloadBytes | Role::TracingSpanContext)
}

struct Resolver<'a, T> {
    table: String,
    relation: &'a Relation<'a>,
    types: T,
    /// The first mismatch.
    misfit: Option<LayoutError>,
}

impl<T: FnMut(u32) -> Result<Option<ColumnType>, Wait>> Resolver<'_, T> {
    /// A column's index and the OID of its type.
    fn find(&self, name: &str) -> Option<(usize, u32)> {
        let found = self.relation.columns().enumerate().find(|(_, column)| column.name == name);
        found.map(|(index, column)| (index, column.type_oid))
    }

    fn missing(&mut self, column: &str, role: &str) -> Option<RowColumn> {
        let (table, column, role) = (self.table.clone(), column.to_owned(), role.to_owned());
        self.misfit.get_or_insert(LayoutError::MissingColumn { table, column, role });
        None
    }

    fn slot(&mut self, (index, type_oid): (usize, u32), column: &Column) -> Result<Option<RowColumn>, Wait> {
        let role = column.role;
        let (type_name, codec) = match Codec::find(type_oid, &mut self.types) {
            Ok(codec) if codec.fits(role) => return Ok(Some(RowColumn { index, codec })),
            // The configuration does not say that a column of this name is meant.
            Ok(_) | Err(Unreadable::Type(_)) if is_guess(role) && !column.needed => return Ok(None),
            Ok(codec) => (type_name(type_oid, &mut self.types)?, codec),
            Err(Unreadable::Type(name)) => (name, Codec::Foreign),
            Err(Unreadable::Wait) => return Err(Wait),
        };
        self.unsupported(&column.name, role.as_str(), type_name, fitting_types(role));
        Ok(Some(RowColumn { index, codec }))
    }

    /// A column that is read as text.
    fn plain(&mut self, name: &str, role: &str) -> Result<Option<RowColumn>, Wait> {
        let Some((index, type_oid)) = self.find(name) else { return Ok(self.missing(name, role)) };
        match Codec::find(type_oid, &mut self.types) {
            Ok(codec) => Ok(Some(RowColumn { index, codec })),
            Err(Unreadable::Type(type_name)) => {
                self.unsupported(name, role, type_name, PLAIN_TYPES);
                Ok(Some(RowColumn { index, codec: Codec::Foreign }))
            }
            Err(Unreadable::Wait) => Err(Wait),
        }
    }

    fn unsupported(&mut self, column: &str, role: &str, type_name: String, allowed: &'static str) {
        let (table, column, role) = (self.table.clone(), column.to_owned(), role.to_owned());
        self.misfit.get_or_insert(LayoutError::UnsupportedType { table, column, role, type_name, allowed });
    }
}
