//! Why a schema can't be used.

use std::fmt;

/// The rule that a schema violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SchemaRule {
    /// It is not JSON.
    Json,
    /// It is not a valid JSON Schema, draft 2020-12.
    Schema,
    /// Nested too deep, or too large with every reference expanded.
    Nesting,
    /// Draft 2020-12 has no such keyword.
    UnknownKeyword,
    /// The validator does not check this format.
    UnknownFormat,
    /// A reference points outside the schema.
    RemoteRef,
    /// References are circular.
    CyclicRef,
    /// A reference has no target.
    DanglingRef,
    /// A regular expression is invalid, or can't be matched in linear time.
    Pattern,
}

impl SchemaRule {
    /// The rule's name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Schema => "schema",
            Self::Nesting => "nesting",
            Self::UnknownKeyword => "unknown_keyword",
            Self::UnknownFormat => "unknown_format",
            Self::RemoteRef => "remote_ref",
            Self::CyclicRef => "cyclic_ref",
            Self::DanglingRef => "dangling_ref",
            Self::Pattern => "pattern",
        }
    }
}

impl fmt::Display for SchemaRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a schema can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at {pointer:?}: {detail}")]
pub struct SchemaFault {
    /// The location in the schema, as a JSON pointer.
    pub pointer: String,
    /// The rule that it violates.
    pub rule: SchemaRule,
    /// A description. At most 500 bytes for a schema that is compiled.
    pub detail: String,
}
