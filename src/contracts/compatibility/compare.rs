//! Compares two schemas: finds where a reader requires more than a writer promises.

use serde_json::{Map, Value};

use super::writer::{Writer, allows};
use super::{Breach, Rule};

/// Most comparisons for two schemas. Nested alternatives multiply; beyond the limit, the rest counts as a breach.
const COMPARISONS_MAX: usize = 100_000;

/// The state of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) found: Vec<Breach>,
    comparisons: usize,
}

/// All breaches, by property. If empty, `reader` accepts every payload that `writer` allows. Both are
/// [inlined](super::inline).
#[must_use]
pub fn breaches(reader: &Value, writer: &Value) -> Vec<Breach> {
    let mut comparison = Comparison::default();
    comparison.compare(reader, &Writer::new([writer]), "");
    comparison.found.sort();
    comparison.found.dedup();
    comparison.found
}

impl Comparison {
    /// Records where `reader` requires more than `writer` promises of the value at `property`.
    pub(super) fn compare(&mut self, reader: &Value, writer: &Writer<'_>, property: &str) {
        self.comparisons += 1;
        if writer.is_never() {
            return;
        }
        if self.comparisons > COMPARISONS_MAX {
            return self.breach(property, Rule::CombinedTypeChanged, " (too many alternatives to compare)");
        }
        match reader {
            Value::Bool(false) => self.breach(property, Rule::TypeNarrowed, ""),
            Value::Object(keywords) => self.keywords(keywords, writer, property),
            _ => {}
        }
    }

    /// What [`Self::compare`] would find, without recording it.
    pub(super) fn attempt(&mut self, reader: &Value, writer: &Writer<'_>, property: &str) -> Vec<Breach> {
        let before = std::mem::take(&mut self.found);
        self.compare(reader, writer, property);
        std::mem::replace(&mut self.found, before)
    }

    pub(super) fn breach(&mut self, property: &str, rule: Rule, detail: impl Into<String>) {
        self.found.push(Breach { property: property.to_owned(), rule, detail: detail.into() });
    }

    /// Compares as a whole and, if that fails, alternative by alternative.
    fn keywords(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let before = self.found.len();
        self.as_one(reader, writer, property);
        if self.found.len() == before {
            return;
        }
        let Some(alternatives) = writer.split() else { return };
        self.found.truncate(before);
        for alternative in alternatives {
            self.comparisons += 1;
            if self.comparisons > COMPARISONS_MAX {
                return self.breach(property, Rule::CombinedTypeChanged, " (too many alternatives to compare)");
            }
            if !alternative.is_never() {
                self.keywords(reader, &alternative, property);
            }
        }
    }

    fn as_one(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let types = writer.types();
        if let Some(wanted) = reader.get("type") {
            let refused: Vec<_> = types.iter().filter(|kind| !allows(wanted, kind)).copied().collect();
            if !refused.is_empty() {
                let rule = if refused.len() == types.len() { Rule::TypeChanged } else { Rule::TypeNarrowed };
                // An integer is a number.
                let told = refused.iter().filter(|kind| **kind != "integer" || !refused.contains(&"number"));
                let told: Vec<&str> = told.copied().collect();
                let refused = if told.len() > 3 { "anything".to_owned() } else { told.join(" or ") };
                self.breach(property, rule, format!(" ({refused}; the reader accepts {wanted})"));
                if rule == Rule::TypeChanged {
                    return;
                }
            }
        }
        self.values(reader, writer, property);
        let may_be = |kind| types.contains(&kind);
        if may_be("string") {
            self.strings(reader, writer, property);
        }
        if may_be("number") || may_be("integer") {
            self.numbers(reader, writer, property);
        }
        if may_be("object") {
            self.objects(reader, writer, property);
        }
        if may_be("array") {
            self.arrays(reader, writer, property);
        }
        self.combined(reader, writer, property);
    }

    /// `allOf`, `anyOf`, `oneOf`, `not`, `if`.
    fn combined(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        for part in reader.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.compare(part, writer, property);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(alternatives) = reader.get(keyword).and_then(Value::as_array) {
                self.any(alternatives, writer, property);
            }
        }
        if let Some(excluded) = reader.get("not") {
            // The writer must exclude whatever the reader excludes.
            let is_excluded = |other: &Value| self.attempt(other, &Writer::new([excluded]), property).is_empty();
            if !writer.all("not").any(is_excluded) {
                self.breach(property, Rule::NotTypeExtended, "");
            }
        }
        let condition = |part: &Map<String, Value>| ["if", "then", "else"].map(|keyword| part.get(keyword).cloned());
        let checks_something =
            reader.contains_key("if") && (reader.contains_key("then") || reader.contains_key("else"));
        if checks_something && !writer.parts().any(|part| condition(part) == condition(reader)) {
            self.breach(property, Rule::ConditionChanged, "");
        }
    }

    /// One of the reader's alternatives must accept everything that the writer promises, or each of its alternatives.
    fn any(&mut self, alternatives: &[Value], writer: &Writer<'_>, property: &str) {
        if let [alternative] = alternatives {
            return self.compare(alternative, writer, property);
        }
        if alternatives.iter().any(|alternative| self.attempt(alternative, writer, property).is_empty()) {
            return;
        }
        let Some(parts) = writer.split().or_else(|| writer.by_type()) else {
            let rule = if writer.is_alternative() { Rule::SumTypeNarrowed } else { Rule::CombinedTypeChanged };
            return self.breach(property, rule, "");
        };
        let before = self.found.len();
        for part in parts.iter().filter(|part| !part.is_never()) {
            self.comparisons += 1;
            if self.comparisons > COMPARISONS_MAX {
                return self.breach(property, Rule::CombinedTypeChanged, " (too many alternatives to compare)");
            }
            self.any(alternatives, part, property);
        }
        if self.found.len() > before {
            self.found.truncate(before);
            self.breach(property, Rule::SumTypeNarrowed, "");
        }
    }
}
