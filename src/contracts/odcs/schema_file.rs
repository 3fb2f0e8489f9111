//! JSON Schema files referenced by contracts.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use walpost_producer::schema::{Schema, SchemaFault, inspect, is_json};

use super::super::definition::JsonSchema;
use super::super::text_file;
use super::super::yaml::Document;
use super::cursor::Cursor;
use crate::contracts::diagnostic::{ContractRule, Diagnostic, Place};

/// Reads and compiles the file at `path`, which must be in the contract's directory or below it.
pub(super) fn read(path: &str, named: &Cursor<'_>, contract: &Path) -> Result<JsonSchema, Vec<Diagnostic>> {
    let diagnostic = |what: String| vec![named.diagnostic(ContractRule::SchemaFile, what)];
    let is_below = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.contains("://") || !is_below {
        return Err(diagnostic(format!(
            "{path} is not a path within the contract's directory; nothing is fetched from elsewhere"
        )));
    }
    let found: PathBuf = contract.parent().unwrap_or(Path::new("")).join(path);
    let text = text_file::read(&found, text_file::folder_of(contract))
        .map_err(|error| diagnostic(format!("can't read {}: {error}", found.display())))?;
    let file: Arc<Path> = Arc::from(found);
    parse(&file, &text)
}

/// Parses and compiles a file's text.
fn parse(file: &Arc<Path>, text: &str) -> Result<JsonSchema, Vec<Diagnostic>> {
    let document = Document::parse(file, text);
    let value: Value = match (serde_json::from_str(text), &document) {
        // Too much nesting has its own rule, with the same place.
        (_, Err(diagnostic))
            if matches!(diagnostic.rule, ContractRule::Nesting | ContractRule::DuplicateKey | ContractRule::File) =>
        {
            return Err(vec![diagnostic.clone()]);
        }
        (Ok(value), _) => value,
        (Err(error), _) => {
            let place = Place { file: Arc::clone(file), line: error.line().max(1), column: error.column().max(1) };
            let (rule, what) = match is_json(text.as_bytes()) {
                true => (ContractRule::Schema, format!("it can't be read: {error}")),
                false => (ContractRule::Json, error.to_string()),
            };
            return Err(vec![Diagnostic { place, rule, what }]);
        }
    };
    if has_nul(&value) {
        let place =
            document.as_ref().err().map_or_else(|| Place::start_of(file), |diagnostic| diagnostic.place.clone());
        let what = "a string contains U+0000, which PostgreSQL can't store".to_owned();
        return Err(vec![Diagnostic { place, rule: ContractRule::Json, what }]);
    }
    // JSON that is not YAML, because of tabs, gets the start of the file as its place.
    let diagnostic = |fault: SchemaFault| match &document {
        Ok(document) => document.diagnostic(&fault.pointer, fault.rule.into(), fault.detail),
        Err(_) => Diagnostic {
            place: Place::start_of(file),
            rule: fault.rule.into(),
            what: format!("{}: {}", fault.pointer, fault.detail),
        },
    };
    let mut diagnostics: Vec<Diagnostic> = inspect::unknown(&value).into_iter().map(diagnostic).collect();
    diagnostics.extend(Schema::compile(&value).err().map(diagnostic));
    if diagnostics.is_empty() { Ok(JsonSchema { value, text: text.trim().to_owned() }) } else { Err(diagnostics) }
}

/// Whether a string or key contains U+0000, which jsonb rejects. Recursion is bounded by serde_json's depth limit.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(entries) => entries.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
