//! Arrays.

use serde_json::{Map, Value};

use super::CompatibilityRule;
use super::compare::Comparison;
use super::evaluated::{certain, further_items, prefix};
use super::number::less;
use super::scalar::Bound;
use super::writer::Writer;

impl Comparison {
    pub(super) fn arrays(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        self.at_most(
            reader,
            writer,
            Bound::new(property, "maxItems", [CompatibilityRule::MaxItemsAdded, CompatibilityRule::MaxItemsDecreased]),
        );
        self.at_least(
            reader,
            writer,
            Bound::new(property, "minItems", [CompatibilityRule::MinItemsAdded, CompatibilityRule::MinItemsIncreased]),
        );
        let is_true = |value: &Value| value == &Value::Bool(true);
        if reader.get("uniqueItems").is_some_and(is_true) && !writer.all("uniqueItems").any(is_true) {
            self.breach(property, CompatibilityRule::UniqueItemsAdded, "");
        }
        let listed = reader.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for (index, wanted) in listed.iter().enumerate() {
            let items: Vec<_> = writer.parts().filter_map(|part| item(part, index)).collect();
            let at = format!("{property}/{index}");
            if items.is_empty() && !is_open(wanted) && !is_short(writer, index) {
                self.breach(&at, CompatibilityRule::ItemAddedToOpenContentModel, "");
            } else if !items.is_empty() {
                self.compare(wanted, &Writer::new(items), &at);
            }
        }
        if let Some(wanted) = reader.get("items").filter(|wanted| !is_open(wanted)) {
            self.items(wanted, listed.len(), writer, property);
        }
        self.contains(reader, writer, property);
        self.unevaluated_items(reader, writer, property);
    }

    /// The reader's `items`, which are those after its `prefixItems`.
    fn items(&mut self, wanted: &Value, from: usize, writer: &Writer<'_>, property: &str) {
        if is_short(writer, from) {
            return;
        }
        let further: Vec<_> = writer.parts().filter_map(further_items).collect();
        let listed = writer.parts().map(prefix).chain(further.iter().map(|(_, start)| *start)).max().unwrap_or(0);
        for index in from..listed {
            if is_short(writer, index) {
                return;
            }
            let items = writer.parts().filter_map(|part| item(part, index));
            self.compare(wanted, &Writer::new(items), &format!("{property}/{index}"));
        }
        let further: Vec<_> = further.into_iter().map(|(schema, _)| schema).collect();
        let at = format!("{property}/*");
        match (further.is_empty(), wanted) {
            (true, Value::Bool(false)) => self.breach(&at, CompatibilityRule::AdditionalItemsRemoved, ""),
            (true, _) => self.breach(&at, CompatibilityRule::AdditionalItemsNarrowed, ""),
            (false, Value::Bool(false)) if !Writer::new(further.iter().copied()).is_never() => {
                self.breach(&at, CompatibilityRule::AdditionalItemsRemoved, "");
            }
            (false, _) => self.compare(wanted, &Writer::new(further), &at),
        }
    }

    /// `contains`, `minContains`, `maxContains`.
    fn contains(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let Some(wanted) = reader.get("contains") else { return };
        let one = Value::from(1);
        let least = reader.get("minContains").unwrap_or(&one);
        let is_enough = less(least, &one)
            || writer.parts().any(|part| {
                let promised = part.get("minContains").unwrap_or(&one);
                let contains = part.get("contains").filter(|_| !less(promised, least));
                contains.is_some_and(|contains| self.accepts(wanted, &Writer::new([contains])))
            });
        let is_not_too_many = reader.get("maxContains").is_none_or(|most| {
            let is_below = |promised: &Value| !less(most, promised);
            writer.least("maxItems").is_some_and(is_below)
                || writer.parts().any(|part| {
                    let contains = part.get("contains").filter(|_| part.get("maxContains").is_some_and(is_below));
                    contains.is_some_and(|contains| self.accepts_strictly(contains, &Writer::new([wanted])))
                })
        });
        if !(is_enough && is_not_too_many) {
            self.breach(property, CompatibilityRule::ContainsChanged, format!(" ({wanted})"));
        }
    }

    /// `unevaluatedItems` is `items` after those that the reader evaluates for certain.
    fn unevaluated_items(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let Some(wanted) = reader.get("unevaluatedItems").filter(|wanted| !is_open(wanted)) else { return };
        let evaluating = certain(reader);
        let evaluates_all = |part: &&Map<String, Value>| part.contains_key("items");
        if evaluating.iter().any(evaluates_all) {
            return;
        }
        let from = evaluating.into_iter().map(prefix).max().unwrap_or(0);
        let before = self.found.len();
        self.items(wanted, from, writer, property);
        if self.found.len() > before {
            self.found.truncate(before);
            self.breach(property, CompatibilityRule::UnevaluatedChanged, "");
        }
    }
}

/// The schema of the item at this index.
pub(super) fn item(part: &Map<String, Value>, index: usize) -> Option<&Value> {
    let prefix = part.get("prefixItems").and_then(Value::as_array);
    let further = || further_items(part).filter(|(_, start)| index >= *start).map(|(schema, _)| schema);
    prefix.and_then(|prefix| prefix.get(index)).or_else(further)
}

/// Whether the writer has no item at this index.
fn is_short(writer: &Writer<'_>, index: usize) -> bool {
    writer.least("maxItems").is_some_and(|most| !less(&Value::from(index), most))
}

/// Whether a schema allows everything.
pub(super) fn is_open(schema: &Value) -> bool {
    match schema {
        Value::Bool(allowed) => *allowed,
        Value::Object(keywords) => keywords.keys().all(|keyword| keyword == "default"),
        _ => false,
    }
}
