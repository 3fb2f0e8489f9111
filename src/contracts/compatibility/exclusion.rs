//! What no payload of a writer can be. Where that can't be proved, it counts as possible.

use serde_json::Value;

use super::array::item;
use super::compare::Comparison;
use super::number::{equal, less};
use super::object::{Promise, names, promise};
use super::writer::Writer;

/// How many choices within one another are followed.
const CHOICES_MAX: usize = 1;
/// How many items are looked at.
const ITEMS_MAX: usize = 8;

impl Comparison {
    /// Whether nothing that the writer promises keeps to this schema, which is taken as written.
    pub(super) fn excludes(&mut self, writer: &Writer<'_>, schema: &Value) -> bool {
        self.excludes_all(writer, schema)
            || (0..writer.choices())
                .map(|choice| writer.split_at(choice))
                .any(|parts| parts.iter().all(|part| self.excludes_all(part, schema)))
    }

    fn excludes_all(&mut self, writer: &Writer<'_>, schema: &Value) -> bool {
        if self.is_impossible(&writer.clone().and(schema)) {
            return true;
        }
        // What the writer excludes may be more.
        let promised = Writer::new([schema]);
        writer.excluded().iter().any(|excluded| *excluded == schema || self.accepts_strictly(excluded, &promised))
    }

    /// Whether no value keeps to the writer's schemas.
    pub(super) fn is_impossible(&mut self, writer: &Writer<'_>) -> bool {
        self.is_impossible_within(writer, CHOICES_MAX)
    }

    fn is_impossible_within(&mut self, writer: &Writer<'_>, choices: usize) -> bool {
        if writer.is_never() {
            return true;
        }
        if self.is_too_much() {
            return false;
        }
        if writer.types().iter().all(|kind| self.is_none_of(kind, writer, choices)) {
            return true;
        }
        choices > 0
            && (0..writer.choices())
                .map(|choice| writer.split_at(choice))
                .any(|parts| parts.iter().all(|part| self.is_impossible_within(part, choices - 1)))
    }

    /// Whether no value of this type keeps to the writer's schemas.
    fn is_none_of(&mut self, kind: &str, writer: &Writer<'_>, choices: usize) -> bool {
        match kind {
            "string" => is_crossed(writer, "minLength", "maxLength"),
            "integer" | "number" => is_out_of_range(writer),
            "array" => {
                let least = writer.greatest("minItems").and_then(Value::as_u64).unwrap_or(0);
                let least = usize::try_from(least).unwrap_or(ITEMS_MAX).min(ITEMS_MAX);
                is_crossed(writer, "minItems", "maxItems")
                    || (0..least).any(|index| {
                        let promised = Writer::new(writer.parts().filter_map(|part| item(part, index)));
                        self.is_impossible_within(&promised, choices)
                    })
            }
            "object" => {
                let required = writer.all("required").flat_map(|all| names(Some(all)));
                is_crossed(writer, "minProperties", "maxProperties")
                    || required.into_iter().any(|name| match promise(writer, name) {
                        Promise::Absent => true,
                        Promise::Anything => false,
                        Promise::Described(schemas) | Promise::Further(schemas) => {
                            self.is_impossible_within(&Writer::new(schemas), choices)
                        }
                    })
            }
            _ => false,
        }
    }
}

/// Whether the least of something is more than the most.
fn is_crossed(writer: &Writer<'_>, least: &str, most: &str) -> bool {
    writer.greatest(least).zip(writer.least(most)).is_some_and(|(least, most)| less(most, least))
}

/// Whether the lower limits are above the upper ones.
fn is_out_of_range(writer: &Writer<'_>) -> bool {
    let limits = |inclusive: &'static str, exclusive: &'static str| {
        writer.all(inclusive).map(|limit| (limit, false)).chain(writer.all(exclusive).map(|limit| (limit, true)))
    };
    limits("minimum", "exclusiveMinimum").any(|(lower, is_open)| {
        limits("maximum", "exclusiveMaximum")
            .any(|(upper, ends_open)| less(upper, lower) || ((is_open || ends_open) && equal(upper, lower)))
    })
}
