//! Whether consumers of one version of a schema can read events of another. Pure.
//!
//! | compatibility | requires that |
//! |---|---|
//! | `none` | nothing |
//! | `backward` | consumers of the new version can read events of the one before |
//! | `forward` | consumers of the one before can read events of the new version |
//! | `full` | both |
//! | `..._transitive` | the same for every registered version, not only the last |
//!
//! A consumer of version R can read events of version W if R's schema allows every payload that W's schema allows. The rules are
//! those of Confluent Schema Registry for JSON Schema ([`CompatibilityRule::source`]), with one difference: a consumer
//! ignores properties that its schema does not name, even if that schema is closed (`"additionalProperties": false`), as in Avro's
//! schema resolution. Here a schema is the producer's promise, checked before publishing; closing it restricts what may be written,
//! and makes adding and removing an optional property compatible in both directions.
//!
//! That applies to what the schema asks for. Below `not` and `if`, and of the alternatives of a `oneOf` that must not match, a schema says
//! which payloads are not meant: there it is taken as written.
//!
//! If compatibility can't be proved, for example of two different patterns, the change is a breach.

mod inline;
mod compare;
mod scalar;
mod object;
mod array;
mod evaluated;
mod combined;
mod exclusion;
mod writer;
mod number;
mod rule;

use std::fmt;

use serde_json::Value;

pub use compare::breaches;
pub use inline::inline;
pub(super) use number::equal;
pub use rule::{CompatibilityRule, RuleSource};

/// What a new version must be compatible with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// No requirement.
    #[default]
    None,
    /// New consumers read old events.
    Backward,
    /// New consumers read the events of every version.
    BackwardTransitive,
    /// Old consumers read new events.
    Forward,
    /// Consumers of every version read new events.
    ForwardTransitive,
    /// Both, with the previous version.
    Full,
    /// Both, with every version.
    FullTransitive,
}

impl Compatibility {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// The name as in `outbox.schema_version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Backward => "backward",
            Self::BackwardTransitive => "backward_transitive",
            Self::Forward => "forward",
            Self::ForwardTransitive => "forward_transitive",
            Self::Full => "full",
            Self::FullTransitive => "full_transitive",
        }
    }

    /// Parses a name in lower or upper case (Confluent's spelling).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it applies to every version, not only the last.
    #[must_use]
    pub const fn is_transitive(self) -> bool {
        matches!(self, Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive)
    }

    const fn is_backward(self) -> bool {
        matches!(self, Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive)
    }

    const fn is_forward(self) -> bool {
        matches!(self, Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive)
    }
}

/// A property of which a reader's schema requires more than a writer's promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// The property, as a JSON pointer into the payload, with `*` for every item or every further property; empty is the
    /// payload itself.
    pub property: String,
    /// The rule.
    pub rule: CompatibilityRule,
    /// What both schemas say, if short.
    pub detail: String,
}

/// An incompatibility: consumers of one version can't read events of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// The version of the consumers.
    pub reader: String,
    /// The version of the events.
    pub writer: String,
    /// Why.
    pub breach: Breach,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Breach { property, rule, detail } = &self.breach;
        let property = if property.is_empty() { "the payload" } else { property };
        write!(
            f,
            "{rule}: consumers of {} can't read events of {}: {property} {}{detail}",
            self.reader,
            self.writer,
            rule.meaning()
        )
    }
}

/// One version for a comparison. Without a schema, it allows everything.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The version.
    pub version: &'a str,
    /// Its schema, accepted by [`Schema::compile`](walpost_producer::schema::Schema::compile).
    pub schema: Option<&'a Value>,
}

/// The incompatibilities of a new version with earlier ones, which are in order of registration.
#[must_use]
pub fn check(kind: Compatibility, new: Version<'_>, earlier: &[Version<'_>]) -> Vec<Incompatibility> {
    let compared = if kind.is_transitive() { earlier } else { &earlier[earlier.len().saturating_sub(1)..] };
    let schema = |version: &Version<'_>| version.schema.map_or(Value::Bool(true), inline);
    let of_new = schema(&new);
    let mut found = Vec::new();
    for old in compared {
        let of_old = schema(old);
        let mut read = |reader: (&str, &Value), writer: (&str, &Value)| {
            let incompatible =
                |breach| Incompatibility { reader: reader.0.to_owned(), writer: writer.0.to_owned(), breach };
            found.extend(breaches(reader.1, writer.1).into_iter().map(incompatible));
        };
        if kind.is_backward() {
            read((new.version, &of_new), (old.version, &of_old));
        }
        if kind.is_forward() {
            read((old.version, &of_old), (new.version, &of_new));
        }
    }
    found
}

#[cfg(test)]
mod tests;
