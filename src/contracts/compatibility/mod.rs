//! Whether consumers of one version of a schema can read events of another. Pure.
//!
//! | compatibility | asks that |
//! |---|---|
//! | `none` | nothing |
//! | `backward` | consumers of the new version can read events of the one before |
//! | `forward` | consumers of the one before can read events of the new version |
//! | `full` | both |
//! | `..._transitive` | the same of every registered version, not of the last alone |
//!
//! A consumer of version R reads events of version W when every payload that W's schema allows is one that R's schema allows.
//! The rules are those of Confluent Schema Registry for JSON Schema ([`Rule::source`]), with one difference: a consumer leaves
//! aside properties that its schema does not name, also where that schema is closed (`"additionalProperties": false`), as
//! Avro's schema resolution has it. A schema is the producer's promise here, checked before anything is published; closing it
//! says what may be written, and makes adding an optional property and removing one compatible in both directions.
//!
//! Where nothing can be proved, as of two different patterns, a change is a breach.

mod array;
mod compare;
mod inline;
mod number;
mod object;
mod rule;
mod scalar;
mod writer;

use std::fmt;

use serde_json::Value;

pub use compare::breaches;
pub use inline::inline;
pub(super) use number::equal;
pub use rule::{Rule, Source};

/// What a new version must keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// Nothing.
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
    /// Both ways, with the version before.
    Full,
    /// Both ways, with every version.
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

    /// As `outbox.schema_version` has it.
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

    /// The kind of this name, in lower or upper case (Confluent's spelling).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Whether it is with every version, not with the last alone.
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

/// A property of which a reader's schema asks more than a writer's promises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// The property, as a JSON pointer into the payload, with `*` for every item or every further property; empty is the
    /// payload itself.
    pub property: String,
    /// The rule.
    pub rule: Rule,
    /// What both schemas say, where that is short.
    pub detail: String,
}

/// Consumers of one version can't read events of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// The version whose consumers can't.
    pub reader: String,
    /// The version whose events they can't read.
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

/// One version for a comparison. No schema allows everything.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// The version.
    pub version: &'a str,
    /// Its schema, one that [`Schema::compile`](walpost_producer::schema::Schema::compile) has taken.
    pub schema: Option<&'a Value>,
}

/// What a new version breaks with those before it, which are in the order of their registration.
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
