//! A payload's schema: compiled once, then used to check each payload. Pure; schemas may be untrusted.
//!
//! The relay's core checks each payload with it, `walpost contract` validates contracts' schemas with it, and a service can check
//! before it emits: all three get the same result.
//!
//! The dialect is JSON Schema, draft 2020-12, with formats asserted, and with ODCS's limits of dates and times
//! (`formatMinimum` and so on, named as in the ajv validator: [`moment`]). A schema that could take unbounded time, memory or stack is
//! refused before it is compiled ([`inspect`]), and a payload that could take too long is refused before it is checked ([`cost`]).

// By clippy.toml. The tests may do more.
#![cfg_attr(not(test), deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types))]

pub mod fault;
pub mod inspect;
pub mod reference;
pub mod cost;
mod patterns;
pub mod number;
mod unique;
pub mod keywords;
pub mod moment;
pub mod pointer;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde::de::IgnoredAny;
use serde_json::Value;

use self::cost::{Cost, Size, WORK_MAX};
use self::patterns::PATTERN_BYTES_MAX;

pub use self::fault::{SchemaFault, SchemaRule};

/// Maximum length of a schema's text, in bytes; also the limit of a contract file.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Maximum length of a violation's detail and pointer, in bytes: they become a header of a dead letter.
const DETAIL_BYTES_MAX: usize = 500;

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    validator: Validator,
    cost: Cost,
}

/// The [rule](Violation::rule) of a payload that is not checked because that could take too long.
pub const COST: &str = "cost";

/// The [rule](Violation::rule) of a payload that is JSON, but that no check can read: a number beyond the range of a double, half a
/// surrogate pair, or more than 128 levels.
pub const LIMIT: &str = "limit";

/// How a payload violates its schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} at {pointer:?}: {detail}")]
pub struct Violation {
    /// The location in the payload, as a JSON pointer; empty for the payload itself. At most 500 bytes.
    pub pointer: String,
    /// The violated keyword, such as `required` or `maxLength`; `json` if the payload is not JSON, [`LIMIT`] or [`COST`] if it was not
    /// checked, and `schema` if it is too large to locate the violation.
    pub rule: String,
    /// A description, with property names but without the payload's values. At most 500 bytes.
    pub detail: String,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// It is not valid draft 2020-12, or its cost is unbounded.
    pub fn compile(schema: &Value) -> Result<Self, SchemaFault> {
        let cost = inspect::cost(schema).map_err(|fault| SchemaFault { detail: cut(fault.detail), ..fault })?;
        let options = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_format("regex", patterns::is_pattern)
            .with_keyword("uniqueItems", |_, wanted, _| Ok(unique::keyword(wanted)))
            .with_keyword("multipleOf", |_, wanted, _| number::multiple_of(wanted))
            .with_pattern_options(
                PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX),
            );
        let options = moment::KEYWORDS.into_iter().fold(options, |options, (name, relation)| {
            options.with_keyword(name, move |_, limit, _| moment::keyword(name, relation, limit))
        });
        let validator = options.build(schema).map_err(|error| fault(schema, &error))?;
        Ok(Self { validator, cost })
    }

    /// Compiles a schema from its text.
    ///
    /// # Errors
    /// As for [`Self::compile`]; or it is not JSON.
    pub fn parse(text: &str) -> Result<Self, SchemaFault> {
        if text.len() > TEXT_BYTES_MAX {
            let detail = format!("the schema has {} bytes; the limit is {TEXT_BYTES_MAX}", text.len());
            return Err(SchemaFault { pointer: String::new(), rule: SchemaRule::Nesting, detail });
        }
        let schema = serde_json::from_str(text).map_err(|error| {
            let (rule, what) = match is_json(text.as_bytes()) {
                true => (SchemaRule::Schema, UNREADABLE),
                false => (SchemaRule::Json, "not JSON"),
            };
            SchemaFault { pointer: String::new(), rule, detail: format!("{what}: {error}") }
        })?;
        Self::compile(&schema)
    }

    /// Checks a payload.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self, payload: &[u8]) -> Result<(), Violation> {
        self.check_counted(payload).1
    }

    /// [`Self::check`], with an upper bound of its cost in units of about a nanosecond.
    pub fn check_counted(&self, payload: &[u8]) -> (u64, Result<(), Violation>) {
        match serde_json::from_slice(payload) {
            Ok(payload) => self.check_parsed(&payload),
            Err(error) => {
                let (rule, what) = if is_json(payload) { (LIMIT, UNREADABLE) } else { ("json", "not JSON") };
                let detail = cut(format!("{what}: {error}"));
                (0, Err(Violation { pointer: String::new(), rule: rule.to_owned(), detail }))
            }
        }
    }

    /// [`Self::check`] for a parsed payload.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_value(&self, payload: &Value) -> Result<(), Violation> {
        self.check_parsed(payload).1
    }

    fn check_parsed(&self, payload: &Value) -> (u64, Result<(), Violation>) {
        let whole = |rule: &str, detail| Err(Violation { pointer: String::new(), rule: rule.to_owned(), detail });
        let size = Size::of(payload);
        let work = self.cost.check(size);
        if work > WORK_MAX {
            let Size { values, bytes } = size;
            let detail = format!(
                "{values} values with {bytes} bytes of text could take {} s to check against this schema; the limit is {} s",
                work / 1_000_000_000,
                WORK_MAX / 1_000_000_000
            );
            return (0, whole(COST, detail));
        }
        // A check is faster than locating the violation.
        let outcome = if self.validator.is_valid(payload) {
            Ok(())
        } else if self.cost.may_locate(size) {
            self.validator.validate(payload).map_err(|error| violation(&error))
        } else {
            whole("schema", "the payload violates the schema, and is too large to say where".to_owned())
        };
        (work, outcome)
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    Violation {
        pointer: cut(error.instance_path().as_str().to_owned()),
        rule: error.kind().keyword().to_owned(),
        detail: cut(error.masked().to_string()),
    }
}

/// The compiler reports the location in the schema as the path of its metaschema's instance, or of the keyword.
fn fault(schema: &Value, error: &ValidationError<'_>) -> SchemaFault {
    let found = |pointer: &str| schema.pointer(pointer).is_some() && !pointer.is_empty();
    let paths = [error.instance_path().as_str(), error.schema_path().as_str()];
    let pointer = paths.into_iter().find(|pointer| found(pointer)).unwrap_or_default().to_owned();
    let is_pattern = pointer.ends_with("/pattern") || pointer.contains("/patternProperties");
    let rule = match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => SchemaRule::Pattern,
        _ if is_pattern => SchemaRule::Pattern,
        ValidationErrorKind::Referencing(_) => SchemaRule::RemoteRef,
        _ => SchemaRule::Schema,
    };
    let detail = match rule {
        SchemaRule::Pattern => format!(
            "{error}; patterns must match in linear time: no look-around, no back-references, at most {} KiB compiled",
            PATTERN_BYTES_MAX / 1024
        ),
        _ => error.to_string(),
    };
    SchemaFault { pointer, rule, detail: cut(detail) }
}

/// What is said of JSON that can't be read.
const UNREADABLE: &str = "JSON beyond what can be checked";

/// Whether a text is JSON by its grammar, which limits neither numbers nor nesting, and does not pair surrogates (RFC 8259).
#[must_use]
pub fn is_json(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Escapes control characters, since names of a payload become part of a header, and truncates to [`DETAIL_BYTES_MAX`] at a character
/// boundary.
fn cut(mut text: String) -> String {
    if text.contains(char::is_control) {
        let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        text = text.chars().take(DETAIL_BYTES_MAX).map(escaped).collect();
    }
    if text.len() > DETAIL_BYTES_MAX {
        let end = (0..=DETAIL_BYTES_MAX - 3).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod cost_tests;
#[cfg(test)]
mod tests;
