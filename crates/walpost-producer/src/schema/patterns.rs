//! Regular expressions: the size of a schema's automata, which bounds the cost of a byte of text.
//!
//! The engine (crate regex) never backtracks. But if its lazy automaton does not fit into its cache, it steps through all states for each
//! byte, so the cost is the text's length times the automaton's size.

use std::collections::HashMap;
use std::sync::OnceLock;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value, json};

use super::fault::{SchemaFault, SchemaRule};
use super::pointer::step;

/// Maximum compiled size of a regular expression, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Maximum total compiled size in a schema, in bytes.
const PATTERNS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum length of a regular expression, in bytes: in a schema, and in a payload if the schema has `format: regex`.
const TEXT_BYTES_MAX: usize = 16 * 1024;
/// The sizes that are distinguished: the engine does not report the exact size of an automaton.
const SIZES: [usize; 4] = [4 * 1024, 16 * 1024, 64 * 1024, PATTERN_BYTES_MAX];
/// A state of an automaton takes about 32 bytes, and a step through it a few nanoseconds.
const BYTES_PER_WORK: usize = 16;

/// The regular expressions of a schema, each with the maximum size of its automaton in bytes.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    bytes: HashMap<String, usize>,
    total: usize,
}

impl Patterns {
    /// Adds those of one schema within the schema. An invalid expression is left to the compiler.
    ///
    /// # Errors
    /// One is too long, or all of them together are too large.
    pub(super) fn take(&mut self, pointer: &str, keywords: &Map<String, Value>) -> Result<(), SchemaFault> {
        if let Some(Value::String(pattern)) = keywords.get("pattern") {
            self.add(pattern, || step(pointer, "pattern"))?;
        }
        if let Some(Value::Object(entries)) = keywords.get("patternProperties") {
            for pattern in entries.keys() {
                self.add(pattern, || step(&step(pointer, "patternProperties"), pattern))?;
            }
        }
        Ok(())
    }

    fn add(&mut self, pattern: &str, place: impl Fn() -> String) -> Result<(), SchemaFault> {
        let refuse = |detail: String| SchemaFault { pointer: place(), rule: SchemaRule::Pattern, detail };
        if pattern.len() > TEXT_BYTES_MAX {
            return Err(refuse(format!("the pattern has {} bytes; the limit is {TEXT_BYTES_MAX}", pattern.len())));
        }
        if !self.bytes.contains_key(pattern) {
            let bytes = size(pattern);
            self.total += bytes;
            if self.total > PATTERNS_BYTES_MAX {
                return Err(refuse(format!(
                    "the patterns of the schema compile to more than {} MiB",
                    PATTERNS_BYTES_MAX / 1024 / 1024
                )));
            }
            self.bytes.insert(pattern.to_owned(), bytes);
        }
        Ok(())
    }

    /// The cost of a byte of text that is matched against this pattern.
    pub(super) fn work(&self, pattern: &str) -> u64 {
        (self.bytes.get(pattern).copied().unwrap_or(PATTERN_BYTES_MAX) / BYTES_PER_WORK) as u64
    }
}

/// The smallest of [`SIZES`] that is enough for a pattern.
fn size(pattern: &str) -> usize {
    let schema = json!({ "pattern": pattern });
    let fits = |bytes: &usize| {
        let engine = PatternOptions::regex().size_limit(*bytes).dfa_size_limit(*bytes);
        jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(engine).build(&schema).is_ok()
    };
    SIZES.into_iter().find(fits).unwrap_or(PATTERN_BYTES_MAX)
}

/// Whether a text of a payload is a regular expression, by the validator's parser. Its time is quadratic in the number of named groups.
pub(super) fn is_pattern(text: &str) -> bool {
    static FORMAT: OnceLock<Validator> = OnceLock::new();
    let build = || {
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        options.build(&json!({"format": "regex"})).expect("it is a schema")
    };
    text.len() <= TEXT_BYTES_MAX && FORMAT.get_or_init(build).is_valid(&Value::from(text))
}
