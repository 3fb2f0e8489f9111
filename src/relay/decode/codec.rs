//! How a column's type is sent in the stream, and which types can play which role.

use super::role::Role;
use super::scalar::Scalar;
use crate::relay::boundary::ColumnType;
use crate::relay::boundary::Wait;

/// How to read a column's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// The bytes are the text: text, varchar, char, name, json, and other types sent as text, such as enums.
    Utf8,
    /// In binary format, a version byte precedes the text.
    Jsonb,
    /// Any bytes; in text format as hexadecimal digits.
    Bytea,
    /// 16 bytes.
    Uuid,
    /// A signed number, big endian.
    Integer,
    /// Another scalar type, which is formatted as text.
    Scalar(Scalar),
    /// A type of the database's own with its own binary format, or a dropped type: readable only if the server sends
    /// it as text.
    Foreign,
}

/// OIDs below this are fixed (pg_type.dat; FirstGenbkiObjectId). Others differ between databases, those of the
/// information schema's domains among them.
const FIXED_OIDS_END: u32 = 10_000;

impl Codec {
    /// The codec of a type. If the OID alone does not tell, the type is looked up: how it is sent, and its name.
    ///
    /// # Errors
    /// [`Unreadable::Wait`] until there is an answer; [`Unreadable::Type`] with the name of a built-in type without a
    /// codec.
    pub(crate) fn find(
        type_oid: u32,
        types: &mut impl FnMut(u32) -> Result<Option<ColumnType>, Wait>,
    ) -> Result<Self, Unreadable> {
        if let Some(codec) = Self::of(type_oid) {
            return Ok(codec);
        }
        let found = types(type_oid)?;
        let sent_as = found.as_ref().and_then(|found| found.sent_as).and_then(Self::of);
        match sent_as {
            Some(codec) => Ok(codec),
            None if type_oid >= FIXED_OIDS_END => Ok(Self::Foreign),
            None => Err(Unreadable::Type(name(type_oid, found))),
        }
    }

    const fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            18 | 19 | 25 | 114 | 1042 | 1043 => Self::Utf8,
            3802 => Self::Jsonb,
            17 => Self::Bytea,
            2950 => Self::Uuid,
            20 | 21 | 23 => Self::Integer,
            other => match Scalar::of(other) {
                Some(scalar) => Self::Scalar(scalar),
                None => return None,
            },
        })
    }

    /// Whether it is a point in time.
    pub(crate) const fn is_time(self) -> bool {
        matches!(self, Self::Scalar(Scalar::Timestamp | Scalar::TimestampTz))
    }

    /// Whether a column read this way can play this role.
    pub(crate) const fn fits(self, role: Role) -> bool {
        match role {
            Role::Headers => matches!(self, Self::Utf8 | Self::Jsonb),
            Role::CreatedAt | Role::Timestamp => self.is_time(),
            Role::Payload => matches!(self, Self::Utf8 | Self::Jsonb | Self::Bytea | Self::Foreign),
            Role::PayloadBytes => matches!(self, Self::Bytea),
            Role::Key => true,
            _ => !matches!(self, Self::Bytea),
        }
    }
}

/// Why a column's type has no codec.
pub(crate) enum Unreadable {
    /// It must be looked up first.
    Wait,
    /// The relay can't read it; its name.
    Type(String),
}

impl From<Wait> for Unreadable {
    fn from(_: Wait) -> Self {
        Self::Wait
    }
}

/// A type's name, for error messages.
///
/// # Errors
/// [`Wait`] until it is known.
pub(crate) fn type_name(
    type_oid: u32,
    types: &mut impl FnMut(u32) -> Result<Option<ColumnType>, Wait>,
) -> Result<String, Wait> {
    types(type_oid).map(|found| name(type_oid, found))
}

fn name(type_oid: u32, found: Option<ColumnType>) -> String {
    found.map_or_else(|| format!("with OID {type_oid}"), |found| found.name)
}

/// The types that can play a role, in words.
pub(crate) const fn fitting_types(role: Role) -> &'static str {
    match role {
        Role::Headers => "jsonb or json",
        Role::CreatedAt | Role::Timestamp => "timestamptz or timestamp",
        Role::Payload => "json, jsonb, text, varchar or bytea",
        Role::PayloadBytes => "bytea",
        Role::Key => PLAIN_TYPES,
        _ => "text, uuid, json, a number, boolean, a date or time, inet, or an enum or domain",
    }
}

/// The types for keys, headers and parts of topics, in words.
pub const PLAIN_TYPES: &str = "text, uuid, json, bytea, a number, boolean, a date or time, inet, or an enum or domain";

/// A column that was found: its index in a row, and how to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowColumn {
    pub index: usize,
    /// How its bytes are read.
    pub codec: Codec,
}
