//! `allOf`, `anyOf`, `oneOf`, `not`, `if`.

use serde_json::{Map, Value};

use super::CompatibilityRule;
use super::compare::{Comparison, TOO_MANY};
use super::writer::Writer;

/// How many alternatives must match.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Matches {
    /// `anyOf`.
    AtLeastOne,
    /// `oneOf`.
    ExactlyOne,
}

impl Comparison {
    pub(super) fn combined(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        for part in reader.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.compare(part, writer, property);
        }
        for (keyword, matches) in [("anyOf", Matches::AtLeastOne), ("oneOf", Matches::ExactlyOne)] {
            if let Some(alternatives) = reader.get(keyword)
                && !writer.all(keyword).any(|promised| promised == alternatives)
                && let Value::Array(alternatives) = alternatives
            {
                self.alternatives(alternatives, matches, writer, property);
            }
        }
        if let Some(excluded) = reader.get("not")
            && !self.excludes(writer, excluded)
        {
            self.breach(property, CompatibilityRule::NotTypeExtended, "");
        }
        self.condition(reader, writer, property);
    }

    fn alternatives(&mut self, alternatives: &[Value], matches: Matches, writer: &Writer<'_>, property: &str) {
        if let [alternative] = alternatives {
            return self.compare(alternative, writer, property);
        }
        if self.is_one_of(alternatives, matches, writer) {
            return;
        }
        if self.is_too_much() {
            return self.breach(property, CompatibilityRule::CombinedTypeChanged, TOO_MANY);
        }
        if matches == Matches::ExactlyOne && self.is_one_of(alternatives, Matches::AtLeastOne, writer) {
            let detail = " (it may match several alternatives of the oneOf)";
            return self.breach(property, CompatibilityRule::CombinedTypeChanged, detail);
        }
        let has_alternatives = writer.is_alternative() || writer.choices() > 0 || writer.by_type().is_some();
        let rule =
            if has_alternatives { CompatibilityRule::SumTypeNarrowed } else { CompatibilityRule::CombinedTypeChanged };
        self.breach(property, rule, "");
    }

    /// Whether one of the reader's alternatives accepts everything that the writer promises, or one each of its alternatives.
    fn is_one_of(&mut self, alternatives: &[Value], matches: Matches, writer: &Writer<'_>) -> bool {
        if self.is_too_much() {
            return false;
        }
        if writer.is_never() || self.has_one(alternatives, matches, writer) || self.is_impossible(writer) {
            return true;
        }
        // One choice often decides, and all choices together are a product.
        let mut choices = (0..writer.choices()).map(|choice| writer.split_at(choice));
        if choices.any(|parts| parts.iter().all(|part| self.has_one(alternatives, matches, part))) {
            return true;
        }
        let Some(parts) = writer.split().or_else(|| writer.by_type()) else { return false };
        parts.iter().all(|part| self.is_one_of(alternatives, matches, part))
    }

    /// Whether the same alternative accepts everything that the writer promises and, of a `oneOf`, no other accepts any of it.
    fn has_one(&mut self, alternatives: &[Value], matches: Matches, writer: &Writer<'_>) -> bool {
        alternatives.iter().enumerate().any(|(index, alternative)| {
            let others = alternatives.iter().enumerate().filter(|(other, _)| *other != index);
            self.accepts(alternative, writer)
                && (matches == Matches::AtLeastOne || others.into_iter().all(|(_, other)| self.excludes(writer, other)))
        })
    }

    /// `if`, `then`, `else`.
    fn condition<'a>(&mut self, reader: &'a Map<String, Value>, writer: &Writer<'a>, property: &str) {
        let keywords = |part: &Map<String, Value>| ["if", "then", "else"].map(|keyword| part.get(keyword).cloned());
        let [Some(condition), then, otherwise] = ["if", "then", "else"].map(|keyword| reader.get(keyword)) else {
            return;
        };
        if writer.parts().any(|part| keywords(part) == keywords(reader)) {
            return;
        }
        // Where the writer has the same condition, what follows from it there is promised, too.
        let with = |promised: Writer<'a>, keyword| {
            let same = writer.parts().filter(|part| part.get("if") == Some(condition));
            same.filter_map(|part| part.get(keyword)).fold(promised, Writer::and)
        };
        let is_accepted = then.is_none_or(|then| self.accepts(then, &with(writer.clone().and(condition), "then")))
            && otherwise
                .is_none_or(|otherwise| self.accepts(otherwise, &with(writer.clone().without(condition), "else")));
        if !is_accepted {
            self.breach(property, CompatibilityRule::ConditionChanged, "");
        }
    }
}
