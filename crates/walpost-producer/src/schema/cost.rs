//! An upper bound on the cost of a check, computed from the schema before any payload is seen.
//!
//! A validator can't be interrupted, so its work is bounded beforehand: for each schema within the schema, the work at one value of the
//! payload, and the work at the values below it. Both are sums over the schemas that it applies; the work for a payload is then at most
//! the larger of the two times the payload's size. The bound is sound, and loose by a small factor: a member meets one of the schemas
//! under `properties`, and the most expensive one counts.
//!
//! Based on the validator's source (jsonschema 0.60):
//!
//! | keyword | what the validator does | bound |
//! |---|---|---|
//! | `allOf`, `anyOf`, `oneOf`, `not`, `if`, `then`, `else`, `dependentSchemas` | each branch once, at the same value | a sum |
//! | `dependencies` | applied, although draft 2020-12 does not define it | as `dependentSchemas` |
//! | `unevaluatedProperties`, `unevaluatedItems` | to find what was evaluated, every branch is checked again, and marked if it holds; a nested one does so within each: exponential in their nesting | `mark` |
//! | `$ref` | its target; results are cached for a while | the target, and the memory |
//! | `$dynamicRef`, `$recursiveRef`, circular references | recursion as deep as the payload | refused by [`inspect`](super::inspect) |
//! | `properties`, `items`, `prefixItems`, `additionalProperties` | one schema per member or item | the most expensive |
//! | `patternProperties`, `propertyNames`, `contains` | each at each member or item | a sum |
//! | `pattern`, `patternProperties` | a finite automaton; at worst each byte visits each of its states | `patterns.rs` |
//! | `uniqueItems` | hashes, for which nested arrays can collide: quadratic | replaced by a sort (`unique.rs`) |
//! | `format: regex` | quadratic in the number of named groups | refused above a length (`patterns.rs`) |
//! | other formats, lengths | linear | per byte |
//! | `enum`, `const`, `required` | each entry | per entry |
//! | `multipleOf` | replaced by a division in decimal, of at most 20 digits (`number.rs`) | a constant |
//! | errors of `anyOf`, `oneOf` | all errors of all branches are kept in memory to report one | `locate`; skipped above a limit |

use std::ops::AddAssign;

use serde_json::{Map, Value};

use super::patterns::Patterns;

/// Maximum work for one payload. A unit is about a nanosecond.
pub const WORK_MAX: u64 = 5_000_000_000;
/// Maximum errors collected to report one of them.
const ERRORS_MAX: u64 = 200_000;

/// Examining a keyword.
const KEYWORD: u64 = 10;
/// Looking a name up.
const NAME: u64 = 30;
/// Following a reference: results can be cached, 50 bytes each.
const REFERENCE: u64 = 400;
/// Examining a text, in addition to its bytes.
const TEXT: u64 = 50;
/// Dividing one number by another.
const DIVISION: u64 = 4_000;
/// A value's share of sorting an array.
const SORTED: u64 = 500;
/// Remembering a member as evaluated.
const MARKED: u64 = 100;

/// How a schema is applied by its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// At the same value, and again to find what it has evaluated: `allOf`, `anyOf`, `oneOf`, `if`.
    Branch,
    /// At the same value; what it has evaluated is known without another check: `then`, `else`, `dependentSchemas`, `$ref`.
    Same,
    /// At the same value, and it evaluates nothing: `not`, `dependencies`.
    Test,
    /// At a member or item at which no other such schema is applied.
    OneOf,
    /// At members or items, whatever else is applied to them.
    Each,
    /// As `Each`, and again to find what is evaluated: `contains`.
    Contains,
    /// `unevaluatedProperties`, `unevaluatedItems`.
    Unevaluated,
}

impl Applied {
    /// How a keyword applies the schemas under it.
    pub(super) fn by(keyword: &str) -> Self {
        match keyword {
            "allOf" | "anyOf" | "oneOf" | "if" => Self::Branch,
            "then" | "else" | "dependentSchemas" | "$ref" => Self::Same,
            "properties" | "additionalProperties" | "items" | "prefixItems" => Self::OneOf,
            "contains" => Self::Contains,
            "unevaluatedProperties" | "unevaluatedItems" => Self::Unevaluated,
            "not" | "dependencies" => Self::Test,
            _ => Self::Each,
        }
    }
}

/// Work by what it grows with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rate {
    /// Per value; a member's name counts as one.
    value: u64,
    /// Per byte of text.
    byte: u64,
    /// Errors per value.
    errors: u64,
}

impl Rate {
    const fn value(value: u64) -> Self {
        Self { value, byte: 0, errors: 0 }
    }

    fn max(self, other: Self) -> Self {
        Self {
            value: self.value.max(other.value),
            byte: self.byte.max(other.byte),
            errors: self.errors.max(other.errors),
        }
    }
}

impl AddAssign for Rate {
    fn add_assign(&mut self, other: Self) {
        self.value = self.value.saturating_add(other.value);
        self.byte = self.byte.saturating_add(other.byte);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// The total of one pass of a schema over a payload.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// At the value that the schema is applied at.
    own: Rate,
    /// At each value below.
    below: Rate,
    /// How many schemas are compiled for it.
    schemas: u64,
    /// The maximum nesting of these.
    depth: u64,
}

impl Pass {
    /// At any value.
    fn rate(&self) -> Rate {
        self.own.max(self.below)
    }

    fn compiles(&mut self, other: &Self) {
        self.schemas = self.schemas.saturating_add(other.schemas);
        self.depth = self.depth.max(other.depth.saturating_add(1));
    }

    /// Adds another pass at the same value.
    fn same(&mut self, other: &Self) {
        self.own += other.own;
        self.below += other.below;
        self.compiles(other);
    }

    /// Adds another pass at each member or item.
    fn each(&mut self, other: &Self) {
        self.below += other.rate();
        self.compiles(other);
    }
}

/// The cost of a schema within the schema.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// To check whether a value conforms.
    check: Pass,
    /// To find what it has evaluated of a value.
    mark: Pass,
    /// To locate a violation in a value.
    locate: Pass,
    /// Whether all errors of branches are collected.
    collects: bool,
}

impl Cost {
    /// The cost of a schema by its keywords and by the schemas that it applies.
    pub(super) fn of(
        keywords: Option<&Map<String, Value>>,
        applied: impl Iterator<Item = (Applied, Self)>,
        patterns: &Patterns,
    ) -> Self {
        let mut cost = Self::default();
        let (mut one, mut one_located) = (Rate::default(), Rate::default());
        let mut unevaluated = 0;
        cost.check.schemas = 1;
        cost.locate.schemas = 1;
        cost.mark.schemas = 1;
        cost.mark.own = Rate::value(MARKED);
        cost.mark.below = Rate::value(MARKED);
        for (keyword, value) in keywords.into_iter().flatten() {
            cost.keyword(keyword, value, patterns);
        }
        for (how, part) in applied {
            cost.collects |= part.collects;
            match how {
                Applied::Branch | Applied::Test => {
                    cost.check.same(&part.check);
                    cost.locate.same(&part.check);
                    cost.locate.same(&part.locate);
                    if how == Applied::Branch {
                        cost.mark.same(&part.check);
                        cost.mark.same(&part.mark);
                    }
                }
                Applied::Same => {
                    cost.check.same(&part.check);
                    cost.locate.same(&part.locate);
                    cost.mark.same(&part.mark);
                }
                Applied::OneOf => {
                    one = one.max(part.check.rate());
                    one_located = one_located.max(part.locate.rate());
                    cost.check.compiles(&part.check);
                    cost.locate.compiles(&part.locate);
                    cost.mark.compiles(&part.check);
                }
                Applied::Each => {
                    cost.check.each(&part.check);
                    cost.locate.each(&part.locate);
                    cost.mark.compiles(&part.check);
                }
                Applied::Contains | Applied::Unevaluated => {
                    cost.check.each(&part.check);
                    cost.locate.each(&part.check);
                    cost.locate.each(&part.locate);
                    cost.mark.each(&part.check);
                    unevaluated += u64::from(how == Applied::Unevaluated);
                }
            }
        }
        cost.check.below += one;
        cost.locate.below += one_located;
        let mark = cost.mark;
        for _ in 0..unevaluated {
            cost.check.same(&mark);
            cost.locate.same(&mark);
        }
        cost
    }

    /// The cost of a keyword by itself.
    fn keyword(&mut self, keyword: &str, value: &Value, patterns: &Patterns) {
        let (mut own, mut below) = (Rate { errors: 1, ..Rate::value(KEYWORD) }, Rate::default());
        let entries = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
        match (keyword, value) {
            ("properties", Value::Object(names)) => {
                let bytes: u64 = names.keys().map(|name| name.len() as u64 / 8).sum();
                own.value += NAME * names.len() as u64 + bytes;
                // Their names are kept, to find which are evaluated.
                self.mark.schemas = self.mark.schemas.saturating_add(names.len() as u64);
            }
            ("required", _) => {
                own.value += NAME * entries(value);
                own.errors += entries(value);
            }
            ("dependentRequired" | "dependencies", Value::Object(names)) => {
                let entries: u64 = names.values().map(|names| 1 + entries(names)).sum();
                own.value += NAME * entries;
                own.errors += entries;
            }
            ("enum" | "const", _) => {
                let size = Size::of(value);
                own.value =
                    own.value.saturating_add(size.values.saturating_mul(KEYWORD).saturating_add(size.bytes / 8));
            }
            ("pattern", Value::String(pattern)) => own += Rate { byte: patterns.work(pattern), ..Rate::value(TEXT) },
            ("patternProperties", Value::Object(entries)) => {
                for pattern in entries.keys() {
                    below += Rate { byte: patterns.work(pattern), ..Rate::value(TEXT) };
                }
            }
            ("format" | "formatMinimum" | "formatMaximum" | "formatExclusiveMinimum" | "formatExclusiveMaximum", _) => {
                own += Rate { byte: 4, ..Rate::value(TEXT) };
            }
            ("minLength" | "maxLength", _) => own.byte += 1,
            ("uniqueItems", Value::Bool(true)) => below += Rate { byte: 4, ..Rate::value(SORTED) },
            ("multipleOf", _) => own.value += DIVISION,
            ("$ref", _) => own.value += REFERENCE,
            ("anyOf" | "oneOf", _) => self.collects = true,
            _ => {}
        }
        for pass in [&mut self.check, &mut self.locate] {
            pass.own += own;
            pass.below += below;
        }
        // A keyword that fails is examined twice, to report it.
        self.locate.own += own;
        if keyword == "patternProperties" {
            self.mark.below += below;
        }
    }

    /// How many schemas are compiled.
    pub(super) const fn schemas(&self) -> u64 {
        self.check.schemas
    }

    /// How deep the validator recurses.
    pub(super) fn depth(&self) -> u64 {
        self.check.depth.max(self.locate.depth)
    }

    /// Maximum work to check whether a payload of this size conforms.
    pub(super) fn check(&self, size: Size) -> u64 {
        size.times(self.check.rate())
    }

    /// Maximum work to locate a violation in a payload of this size.
    pub(super) fn locate(&self, size: Size) -> u64 {
        size.times(self.locate.rate())
    }

    /// Whether a violation in a payload of this size may be located.
    pub(super) fn may_locate(&self, size: Size) -> bool {
        let collected = if self.collects { size.values.saturating_mul(self.locate.rate().errors) } else { 0 };
        self.locate(size) <= WORK_MAX && collected <= ERRORS_MAX
    }
}

/// The size of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Values in it, including itself and the names of members.
    pub(super) values: u64,
    /// Bytes of text and names.
    pub(super) bytes: u64,
}

impl Size {
    /// The size of a value. Recurses as deep as the value is nested, like the validator.
    pub(super) fn of(value: &Value) -> Self {
        let mut size = Self::default();
        size.add(value);
        size
    }

    fn add(&mut self, value: &Value) {
        self.values += 1;
        match value {
            Value::String(text) => self.bytes += text.len() as u64,
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(entries) => {
                for (name, value) in entries {
                    self.values += 1;
                    self.bytes += name.len() as u64;
                    self.add(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn times(self, rate: Rate) -> u64 {
        self.values.saturating_mul(rate.value).saturating_add(self.bytes.saturating_mul(rate.byte))
    }
}
