//! Checks a document against the Open Data Contract Standard's own JSON Schema, that of the version which the document names.
//!
//! `odcs-*.schema.json` are those of versions 3.0.2 (the strict one, which refuses unknown keys), 3.1.0 and 3.2.0 (Bitol, a project of
//! LF AI & Data; Apache License 2.0). Each accepts the patch releases before it.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;
use walpost_producer::schema::pointer::step;

use super::super::yaml::Document;
use crate::config::nearest::nearest;
use crate::contracts::diagnostic::{ContractRule, Diagnostic, Place};

/// Longest excerpt of a value in a message, in characters.
const SHOWN_MAX: usize = 60;

/// A version of the standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Edition {
    /// 3.0.0 to 3.0.2.
    V3_0,
    /// 3.1.0.
    V3_1,
    /// 3.2.0, which also reports versions that the standard does not have.
    #[default]
    V3_2,
}

impl Edition {
    /// The one that a document names.
    pub(super) fn of(document: &Value) -> Self {
        match document.get("apiVersion").and_then(Value::as_str) {
            Some(api) if api.starts_with("v3.0.") => Self::V3_0,
            Some(api) if api.starts_with("v3.1.") => Self::V3_1,
            _ => Self::V3_2,
        }
    }

    /// The later ones, in order, each with its `apiVersion`.
    fn later(self) -> &'static [(&'static str, Self)] {
        const LATER: [(&str, Edition); 2] = [("3.1", Edition::V3_1), ("3.2", Edition::V3_2)];
        match self {
            Self::V3_0 => &LATER,
            Self::V3_1 => &LATER[1..],
            Self::V3_2 => &[],
        }
    }

    fn standard(self) -> &'static Standard {
        match self {
            Self::V3_0 => &V3_0,
            Self::V3_1 => &V3_1,
            Self::V3_2 => &V3_2,
        }
    }
}

struct Standard {
    validator: Validator,
    /// Every key that the standard defines anywhere.
    keys: BTreeSet<String>,
}

static V3_0: LazyLock<Standard> = LazyLock::new(|| Standard::new(include_str!("odcs-3.0.2.schema.json")));
static V3_1: LazyLock<Standard> = LazyLock::new(|| Standard::new(include_str!("odcs-3.1.0.schema.json")));
static V3_2: LazyLock<Standard> = LazyLock::new(|| Standard::new(include_str!("odcs-3.2.0.schema.json")));

impl Standard {
    fn new(text: &str) -> Self {
        let schema: Value = serde_json::from_str(text).expect("the standard's schema is JSON");
        let validator =
            jsonschema::options().should_validate_formats(false).build(&schema).expect("the standard's schema is one");
        let mut keys = BTreeSet::new();
        let mut open = vec![&schema];
        while let Some(value) = open.pop() {
            if let Some(properties) = value.get("properties").and_then(Value::as_object) {
                keys.extend(properties.keys().cloned());
            }
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(entries) => open.extend(entries.values()),
                _ => {}
            }
        }
        Self { validator, keys }
    }

    /// The deviations of a document.
    fn findings(&self, document: &Value) -> Vec<Finding> {
        let mut found = Vec::new();
        for error in self.validator.iter_errors(document) {
            gather(&error, self, &mut found);
        }
        found
    }

    /// What to do about a key that is not known.
    fn advice(&self, key: &str) -> String {
        for (version, standard) in [("3.1", &V3_1), ("3.2", &V3_2)] {
            if standard.keys.contains(key) {
                return format!("; version {version} of the standard has one (apiVersion: v{version}.0)");
            }
        }
        let meant = nearest(key, self.keys.iter().map(String::as_str));
        meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
    }
}

/// The advice for a number that must be a string.
const QUOTE_IT: &str = "; quote it";

/// The number that follows the key at a place, as it is written.
fn number_at<'t>(text: &'t str, place: &Place) -> Option<&'t str> {
    let line = text.lines().nth(place.line.checked_sub(1)?)?;
    let (key, _) = line.char_indices().nth(place.column.checked_sub(1)?)?;
    let value = line[key..].split_once(": ")?.1.trim_start();
    let value = value.split([' ', ',', '}', '#']).next()?;
    value.parse::<f64>().is_ok().then_some(value)
}

/// All deviations of a document from the standard, version 3.
pub(super) fn diagnostics(document: &Document, text: &str) -> Vec<Diagnostic> {
    let edition = Edition::of(&document.value);
    let mut found = edition.standard().findings(&document.value);
    let api = document.value.get("apiVersion").and_then(Value::as_str);
    if let Some(api) = api.filter(|api| api.starts_with("v2.")) {
        let what = format!("version {api} of the standard is too old; use version 3 (apiVersion: v3.1.0)");
        found.retain(|finding| finding.pointer != "/apiVersion");
        found.push(Finding { pointer: "/apiVersion".to_owned(), rule: ContractRule::Odcs, what, is_known_key: false });
    }
    // Version 3.0 allows other keys. In a topic's contract a misspelled one would go unnoticed.
    if edition == Edition::V3_0 && !has_topic(&document.value) {
        found.retain(|finding| finding.rule != ContractRule::UnknownKey);
    }
    // If a part of an object is wrong, its known keys count as unevaluated and would be reported as unknown.
    let is_doubtful = |finding: &Finding| {
        let around = finding.pointer.rfind('/').map_or("", |end| &finding.pointer[..end]);
        let is_cause = |other: &Finding| !other.is_known_key && other.pointer.starts_with(around);
        finding.is_known_key && found.iter().any(is_cause)
    };
    let kept: Vec<bool> = found.iter().map(|finding| !is_doubtful(finding)).collect();
    let mut kept: Vec<Finding> =
        found.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(finding, _)| finding).collect();
    name_later(edition, &document.value, &mut kept);
    let diagnostic = |finding: Finding| {
        let place = document.place(&finding.pointer);
        // 1.10 is the number 1.1.
        let written = finding.what.ends_with(QUOTE_IT).then(|| number_at(text, &place)).flatten();
        let what = written.map(|written| format!("{written} is not of type \"string\"{QUOTE_IT}: \"{written}\""));
        Diagnostic { place, rule: finding.rule, what: what.unwrap_or(finding.what) }
    };
    let mut diagnostics: Vec<Diagnostic> = kept.into_iter().map(diagnostic).collect();
    // Each part of the standard's schema that covers the object reports the same unknown key.
    diagnostics.sort();
    diagnostics.dedup();
    diagnostics
}

/// Whether a contract has a schema object that becomes a schema version.
fn has_topic(document: &Value) -> bool {
    let is_topic = |object: &Value| object.get("physicalType").and_then(Value::as_str) == Some("topic");
    document.get("schema").and_then(Value::as_array).is_some_and(|objects| objects.iter().any(is_topic))
}

/// Adds to each finding that a later version of the standard allows it.
fn name_later(edition: Edition, document: &Value, found: &mut [Finding]) {
    if found.is_empty() {
        return;
    }
    let pointers = |later: Edition| -> BTreeSet<String> {
        later.standard().findings(document).into_iter().map(|finding| finding.pointer).collect()
    };
    let later: Vec<_> = edition.later().iter().map(|(version, later)| (version, pointers(*later))).collect();
    for finding in found.iter_mut().filter(|finding| finding.rule != ContractRule::UnknownKey) {
        if let Some((version, _)) = later.iter().find(|(_, remaining)| !remaining.contains(&finding.pointer)) {
            let allows = if finding.rule == ContractRule::MissingKey { "does not require it" } else { "allows it" };
            finding.what += &format!("; version {version} of the standard {allows} (apiVersion: v{version}.0)");
        }
    }
}

struct Finding {
    pointer: String,
    rule: ContractRule,
    what: String,
    /// Whether the standard defines this key anywhere.
    is_known_key: bool,
}

fn gather(error: &ValidationError<'_>, standard: &Standard, found: &mut Vec<Finding>) {
    let pointer = error.instance_path().as_str();
    let mut push = |pointer: String, rule, what| found.push(Finding { pointer, rule, what, is_known_key: false });
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for key in unexpected {
                let is_known_key = standard.keys.contains(key);
                let advice = if is_known_key { String::new() } else { standard.advice(key) };
                let what = format!("the standard has no key {key} here{advice}");
                found.push(Finding { pointer: step(pointer, key), rule: ContractRule::UnknownKey, what, is_known_key });
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            push(pointer.to_owned(), ContractRule::MissingKey, format!("the key {key} is missing"));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            // The intended alternative is the one of the value's type with the fewest mistakes.
            let is_of_type = |errors: &&Vec<ValidationError<'_>>| {
                let of_type = |error: &ValidationError<'_>| {
                    matches!(error.kind(), ValidationErrorKind::Type { .. })
                        && error.instance_path().as_str() == pointer
                };
                !errors.iter().any(of_type)
            };
            match context.iter().filter(is_of_type).min_by_key(|errors| errors.len()) {
                Some(errors) => errors.iter().for_each(|error| gather(error, standard, found)),
                None => push(pointer.to_owned(), ContractRule::Odcs, of_no_type(error, context)),
            }
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let what = format!("{} is not one of {}", excerpt(error.instance()), options.join(", "));
            push(pointer.to_owned(), ContractRule::Odcs, what);
        }
        _ => push(pointer.to_owned(), ContractRule::Odcs, shown(error)),
    }
}

/// The message for a value whose type no alternative has.
fn of_no_type(error: &ValidationError<'_>, alternatives: &[Vec<ValidationError<'_>>]) -> String {
    let mut types = BTreeSet::new();
    for error in alternatives.iter().flatten() {
        if let ValidationErrorKind::Type { kind: TypeKind::Single(kind) } = error.kind() {
            types.insert(format!("\"{kind}\""));
        }
    }
    let types: Vec<String> = types.into_iter().collect();
    match types.is_empty() {
        true => shown(error),
        false => format!("{} is not of type {}", excerpt(error.instance()), types.join(" or ")),
    }
}

fn shown(error: &ValidationError<'_>) -> String {
    let text = error.masked_with(excerpt(error.instance())).to_string();
    let hint = match error.kind() {
        ValidationErrorKind::Type { .. } if error.instance().is_number() && text.contains("string") => QUOTE_IT,
        _ => "",
    };
    text + hint
}

/// The start of a value.
fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
