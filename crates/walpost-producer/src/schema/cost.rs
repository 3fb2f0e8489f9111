//! An upper bound on the cost of a check, computed from the schema before any payload is seen.
//!
//! A validator can't be interrupted. So its work is bounded beforehand: for each schema within the schema, how much it does at
//! one value of the payload, and how much at the values below it. Both are sums over what it applies; the work for a payload is
//! then at most the larger of the two times the payload's size. The bound is sound, and loose by a small factor: of the
//! schemas under `properties`, of which a member meets one, the most expensive one counts.
//!
//! What was examined, in the validator's source (jsonschema 0.60):
//!
//! | keyword | what it does | here |
//! |---|---|---|
//! | `allOf`, `anyOf`, `oneOf`, `not`, `if`, `then`, `else`, `dependentSchemas` | each branch once, at the same value | a sum |
//! | `dependencies` | applied, although draft 2020-12 does not have it | as `dependentSchemas` |
//! | `unevaluatedProperties`, `unevaluatedItems` | to know what was evaluated, every branch is checked again, and marked if it holds; a nested one does so within each: exponential in their nesting | `mark` |
//! | `$ref` | its target; results are kept for a while in memory | the target, and the memory |
//! | `$dynamicRef`, `$recursiveRef`, circular references | as deep as the payload | refused by [`inspect`](super::inspect) |
//! | `properties`, `items`, `prefixItems`, `additionalProperties` | one schema a member or item | the most expensive |
//! | `patternProperties`, `propertyNames`, `contains` | each at each member or item | a sum |
//! | `pattern`, `patternProperties` | a finite automaton; at worst each byte meets each of its states | `patterns.rs` |
//! | `uniqueItems` | hashes, which nested arrays can make collide: quadratic | replaced by a sort (`unique.rs`) |
//! | `format: regex` | quadratic in the number of named groups | refused above a length (`patterns.rs`) |
//! | other formats, lengths | linear | by the byte |
//! | `enum`, `const`, `required` | each entry | by the entry |
//! | `multipleOf` | fractions of bounded length | a constant |
//! | errors of `anyOf`, `oneOf` | all errors of all branches are kept in memory to report one | `locate`; not asked for above a limit |

use std::ops::AddAssign;

use serde_json::{Map, Value};

use super::patterns::Patterns;

/// Most work for one payload. A unit is about a nanosecond.
pub const WORK_MAX: u64 = 5_000_000_000;
/// Most errors collected to report one of them.
const ERRORS_MAX: u64 = 200_000;

/// Looking at a keyword.
const KEYWORD: u64 = 10;
/// Looking a name up.
const NAME: u64 = 30;
/// Following a reference: results can be kept, 50 bytes each.
const REFERENCE: u64 = 400;
/// Looking at a text whose bytes are counted besides.
const TEXT: u64 = 50;
/// Dividing one number by another.
const DIVISION: u64 = 2_000;
/// A value's part in sorting an array.
const SORTED: u64 = 500;
/// Remembering a member as evaluated.
const MARKED: u64 = 100;

/// How a schema is applied by the one that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// At the same value, and again to tell what it has evaluated: `allOf`, `anyOf`, `oneOf`, `if`.
    Branch,
    /// At the same value; what it has evaluated is known without checking again: `then`, `else`, `dependentSchemas`, `$ref`.
    Same,
    /// At the same value, and it evaluates nothing: `not`, `dependencies`.
    Test,
    /// At a member or item that no other such schema is applied at.
    OneOf,
    /// At members or items, whatever else is applied at them.
    Each,
    /// As `Each`, and again to tell what is evaluated: `contains`.
    Contains,
    /// `unevaluatedProperties`, `unevaluatedItems`.
    Unevaluated,
}

impl Applied {
    /// How a keyword applies the schemas that stand under it.
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
    /// For each value, a member's name being one.
    value: u64,
    /// For each byte of text.
    byte: u64,
    /// Errors for each value.
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

/// What one pass of a schema over a payload comes to.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// At the value that the schema is applied at.
    own: Rate,
    /// At each value below.
    below: Rate,
    /// How many schemas are compiled for it.
    schemas: u64,
    /// How many of them are within one another at most.
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

    /// Another pass is made at the same value.
    fn same(&mut self, other: &Self) {
        self.own += other.own;
        self.below += other.below;
        self.compiles(other);
    }

    /// Another pass is made at each member or item.
    fn each(&mut self, other: &Self) {
        self.below += other.rate();
        self.compiles(other);
    }
}

/// What a schema within the schema can cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// To know whether a value keeps to it.
    check: Pass,
    /// To know what of a value it has evaluated.
    mark: Pass,
    /// To know where a value does not keep to it.
    locate: Pass,
    /// Whether all errors of branches are collected.
    collects: bool,
}

impl Cost {
    /// What a schema costs by its keywords and by the schemas that it applies.
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

    /// What a keyword costs by itself.
    fn keyword(&mut self, keyword: &str, value: &Value, patterns: &Patterns) {
        let (mut own, mut below) = (Rate { errors: 1, ..Rate::value(KEYWORD) }, Rate::default());
        let entries = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
        match (keyword, value) {
            ("properties", Value::Object(names)) => {
                let bytes: u64 = names.keys().map(|name| name.len() as u64 / 8).sum();
                own.value += NAME * names.len() as u64 + bytes;
                // Their names are kept, to tell which are evaluated.
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
        // A keyword that fails is looked at twice, to say how.
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

    /// The most that it takes to know whether a payload of this size keeps to the schema.
    pub(super) fn check(&self, size: Size) -> u64 {
        size.times(self.check.rate())
    }

    /// The most that it takes to tell where a payload of this size does not keep to the schema.
    pub(super) fn locate(&self, size: Size) -> u64 {
        size.times(self.locate.rate())
    }

    /// Whether it may be asked where a payload of this size does not keep to the schema.
    pub(super) fn may_locate(&self, size: Size) -> bool {
        let collected = if self.collects { size.values.saturating_mul(self.locate.rate().errors) } else { 0 };
        self.locate(size) <= WORK_MAX && collected <= ERRORS_MAX
    }
}

/// How large a value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Values in it, itself and the names of members included.
    pub(super) values: u64,
    /// Bytes of texts and names.
    pub(super) bytes: u64,
}

impl Size {
    /// Of a value. It recurses as deep as the value is nested, as does the validator.
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
