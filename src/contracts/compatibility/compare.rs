//! Compares two schemas: finds where a reader requires more than a writer promises.

use serde_json::{Map, Value};

use super::writer::{Writer, allows};
use super::{Breach, CompatibilityRule};

/// Most comparisons for two schemas. Nested alternatives multiply; beyond the limit, the rest counts as a breach.
const COMPARISONS_MAX: usize = 100_000;

pub(super) const TOO_MANY: &str = " (too many alternatives to compare)";

/// The state of a comparison.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) found: Vec<Breach>,
    comparisons: usize,
    /// Whether the reader is compared as written. Otherwise it ignores properties that it does not name, and fills in defaults,
    /// which would be wrong below a negation.
    pub(super) is_strict: bool,
    /// Whether the first breach is enough.
    is_attempt: bool,
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
        if writer.is_never() {
            return;
        }
        if self.is_too_much() {
            return self.breach(property, CompatibilityRule::CombinedTypeChanged, TOO_MANY);
        }
        match reader {
            Value::Bool(false) => self.breach(property, CompatibilityRule::TypeNarrowed, ""),
            Value::Object(keywords) => self.keywords(keywords, writer, property),
            _ => {}
        }
    }

    /// The first breaches that [`Self::compare`] would find, without recording them.
    pub(super) fn attempt(&mut self, reader: &Value, writer: &Writer<'_>, property: &str) -> Vec<Breach> {
        let (found, is_attempt) = (std::mem::take(&mut self.found), std::mem::replace(&mut self.is_attempt, true));
        self.compare(reader, writer, property);
        self.is_attempt = is_attempt;
        std::mem::replace(&mut self.found, found)
    }

    /// Whether a reader accepts whatever the writer promises.
    pub(super) fn accepts(&mut self, reader: &Value, writer: &Writer<'_>) -> bool {
        self.attempt(reader, writer, "").is_empty()
    }

    /// Whether a reader accepts it as written.
    pub(super) fn accepts_strictly(&mut self, reader: &Value, writer: &Writer<'_>) -> bool {
        let before = std::mem::replace(&mut self.is_strict, true);
        let accepts = self.accepts(reader, writer);
        self.is_strict = before;
        accepts
    }

    /// Counts a comparison. Beyond the limit nothing is proved any more.
    pub(super) fn is_too_much(&mut self) -> bool {
        self.comparisons += 1;
        self.comparisons > COMPARISONS_MAX
    }

    pub(super) fn breach(&mut self, property: &str, rule: CompatibilityRule, detail: impl Into<String>) {
        self.found.push(Breach { property: property.to_owned(), rule, detail: detail.into() });
    }

    /// Compares as a whole and, if that fails, alternative by alternative.
    fn keywords(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        // Whatever it means, both mean it.
        if writer.parts().any(|part| part == reader) {
            return;
        }
        let before = self.found.len();
        self.as_one(reader, writer, property);
        if self.found.len() == before {
            return;
        }
        if self.is_impossible(writer) {
            return self.found.truncate(before);
        }
        let Some(alternatives) = writer.split() else { return };
        self.found.truncate(before);
        for alternative in alternatives {
            if self.is_too_much() {
                return self.breach(property, CompatibilityRule::CombinedTypeChanged, TOO_MANY);
            }
            if !alternative.is_never() {
                self.keywords(reader, &alternative, property);
            }
            if self.is_attempt && !self.found.is_empty() {
                return;
            }
        }
    }

    fn as_one(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let types = writer.types();
        if let Some(wanted) = reader.get("type") {
            let refused: Vec<_> = types.iter().filter(|kind| !allows(wanted, kind)).copied().collect();
            if !refused.is_empty() {
                let rule = if refused.len() == types.len() {
                    CompatibilityRule::TypeChanged
                } else {
                    CompatibilityRule::TypeNarrowed
                };
                // An integer is a number.
                let told = refused.iter().filter(|kind| **kind != "integer" || !refused.contains(&"number"));
                let told: Vec<&str> = told.copied().collect();
                let refused = if told.len() > 3 { "anything".to_owned() } else { told.join(" or ") };
                self.breach(property, rule, format!(" ({refused}; the reader accepts {wanted})"));
                if rule == CompatibilityRule::TypeChanged {
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
}
