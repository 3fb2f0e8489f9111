//! Values, strings and numbers.

use std::cmp::Ordering;

use serde_json::{Map, Value};
use walpost_producer::schema::moment::Moment;

use super::CompatibilityRule;
use super::compare::Comparison;
use super::number::{equal, is_multiple, less};
use super::writer::Writer;

/// A keyword that limits a property.
#[derive(Clone, Copy)]
pub(super) struct Bound<'a> {
    property: &'a str,
    keyword: &'a str,
    /// The rules for a new limit and for a narrower one.
    rules: [CompatibilityRule; 2],
}

impl<'a> Bound<'a> {
    pub(super) const fn new(property: &'a str, keyword: &'a str, rules: [CompatibilityRule; 2]) -> Self {
        Self { property, keyword, rules }
    }
}

impl Comparison {
    /// `enum` and `const`.
    pub(super) fn values(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        let promised = writer.values();
        if let Some(wanted) = reader.get("enum").and_then(Value::as_array) {
            match &promised {
                None => self.breach(property, CompatibilityRule::EnumAdded, ""),
                Some(promised) => {
                    let further: Vec<String> = promised
                        .iter()
                        .filter(|value| !wanted.iter().any(|wanted| equal(wanted, value)))
                        .map(ToString::to_string)
                        .collect();
                    if !further.is_empty() {
                        self.breach(
                            property,
                            CompatibilityRule::EnumArrayNarrowed,
                            format!(" ({})", further.join(", ")),
                        );
                    }
                }
            }
        }
        if let Some(wanted) = reader.get("const")
            && !promised.is_some_and(|promised| promised.iter().all(|value| equal(wanted, value)))
        {
            self.breach(property, CompatibilityRule::ConstChanged, format!(" ({wanted})"));
        }
    }

    pub(super) fn strings(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        self.at_most(
            reader,
            writer,
            Bound::new(
                property,
                "maxLength",
                [CompatibilityRule::MaxLengthAdded, CompatibilityRule::MaxLengthDecreased],
            ),
        );
        self.at_least(
            reader,
            writer,
            Bound::new(
                property,
                "minLength",
                [CompatibilityRule::MinLengthAdded, CompatibilityRule::MinLengthIncreased],
            ),
        );
        self.same(
            reader,
            writer,
            Bound::new(property, "pattern", [CompatibilityRule::PatternAdded, CompatibilityRule::PatternChanged]),
        );
        self.same(
            reader,
            writer,
            Bound::new(property, "format", [CompatibilityRule::FormatAdded, CompatibilityRule::FormatChanged]),
        );
        for (keyword, stricter, is_upper) in [
            ("formatMaximum", "formatExclusiveMaximum", true),
            ("formatExclusiveMaximum", "formatMaximum", true),
            ("formatMinimum", "formatExclusiveMinimum", false),
            ("formatExclusiveMinimum", "formatMinimum", false),
        ] {
            let Some(wanted) = reader.get(keyword) else { continue };
            let moment = |value: &Value| value.as_str().and_then(Moment::parse);
            let order =
                |value: &Value| moment(value).zip(moment(wanted)).and_then(|(value, wanted)| value.compare(&wanted));
            let beyond = if is_upper { Ordering::Less } else { Ordering::Greater };
            // An inclusive limit satisfies an exclusive one only if it is strictly tighter; the other way round, it may be equal.
            let is_exclusive = keyword.contains("Exclusive");
            let holds =
                writer.all(keyword).any(|value| order(value).is_some_and(|order| order == beyond || order.is_eq()))
                    || writer.all(stricter).any(|value| {
                        order(value).is_some_and(|order| order == beyond || (!is_exclusive && order.is_eq()))
                    });
            if !holds {
                let is_there = writer.all(keyword).chain(writer.all(stricter)).next().is_some();
                let rule =
                    if is_there { CompatibilityRule::FormatLimitNarrowed } else { CompatibilityRule::FormatLimitAdded };
                self.breach(property, rule, format!(" ({keyword} {wanted})"));
            }
        }
    }

    pub(super) fn numbers(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, property: &str) {
        for (keyword, other, is_upper, rules) in [
            (
                "maximum",
                "exclusiveMaximum",
                true,
                [CompatibilityRule::MaximumAdded, CompatibilityRule::MaximumDecreased],
            ),
            (
                "exclusiveMaximum",
                "maximum",
                true,
                [CompatibilityRule::ExclusiveMaximumAdded, CompatibilityRule::ExclusiveMaximumDecreased],
            ),
            (
                "minimum",
                "exclusiveMinimum",
                false,
                [CompatibilityRule::MinimumAdded, CompatibilityRule::MinimumIncreased],
            ),
            (
                "exclusiveMinimum",
                "minimum",
                false,
                [CompatibilityRule::ExclusiveMinimumAdded, CompatibilityRule::ExclusiveMinimumIncreased],
            ),
        ] {
            let Some(wanted) = reader.get(keyword) else { continue };
            let within = |value: &Value| if is_upper { less(value, wanted) } else { less(wanted, value) };
            let is_exclusive = keyword.starts_with("exclusive");
            let holds = writer.all(keyword).any(|value| within(value) || equal(value, wanted))
                || writer.all(other).any(|value| within(value) || (!is_exclusive && equal(value, wanted)));
            if !holds {
                let promised = writer.all(keyword).chain(writer.all(other)).next();
                self.limit(Bound::new(property, keyword, rules), wanted, promised);
            }
        }
        let Some(wanted) = reader.get("multipleOf") else { return };
        let whole = Value::from(1);
        let types = writer.types();
        let of_type = (!types.contains(&"number")).then_some(&whole);
        let promised: Vec<&Value> = writer.all("multipleOf").chain(of_type).collect();
        if promised.iter().any(|value| is_multiple(value, wanted)) {
            return;
        }
        let rule = match writer.all("multipleOf").next() {
            None => CompatibilityRule::MultipleOfAdded,
            Some(promised) if is_multiple(wanted, promised) => CompatibilityRule::MultipleOfExpanded,
            Some(_) => CompatibilityRule::MultipleOfChanged,
        };
        self.breach(property, rule, format!(" ({wanted})"));
    }

    /// The writer's maximum must not exceed the reader's.
    pub(super) fn at_most(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, limit: Bound<'_>) {
        let Some(wanted) = reader.get(limit.keyword) else { return };
        let promised = writer.least(limit.keyword);
        if promised.is_none_or(|promised| less(wanted, promised)) {
            self.limit(limit, wanted, promised);
        }
    }

    /// The writer's minimum must not be below the reader's. A minimum of 0 requires nothing.
    pub(super) fn at_least(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, limit: Bound<'_>) {
        let Some(wanted) = reader.get(limit.keyword).filter(|wanted| less(&Value::from(0), wanted)) else { return };
        let promised = writer.greatest(limit.keyword);
        if promised.is_none_or(|promised| less(promised, wanted)) {
            self.limit(limit, wanted, promised);
        }
    }

    fn limit(&mut self, limit: Bound<'_>, wanted: &Value, promised: Option<&Value>) {
        let Bound { property, keyword, rules } = limit;
        match promised {
            None => self.breach(property, rules[0], format!(" ({keyword} {wanted})")),
            Some(promised) => {
                self.breach(property, rules[1], format!(" ({keyword} {wanted}; the writer promises {promised})"));
            }
        }
    }

    fn same(&mut self, reader: &Map<String, Value>, writer: &Writer<'_>, limit: Bound<'_>) {
        let Some(wanted) = reader.get(limit.keyword) else { return };
        if writer.all(limit.keyword).any(|promised| promised == wanted) {
            return;
        }
        self.limit(limit, wanted, writer.all(limit.keyword).next());
    }
}
