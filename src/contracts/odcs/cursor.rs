//! A value of a document, with its place.

use serde_json::Value;
use walpost_producer::schema::pointer::step;

use super::super::yaml::Document;
use crate::contracts::diagnostic::{ContractRule, Diagnostic};

/// A value of a document.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    document: &'a Document,
    pub(super) value: &'a Value,
    pub(super) pointer: String,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(document: &'a Document) -> Self {
        Self { document, value: &document.value, pointer: String::new() }
    }

    /// The value of a key; `None` if missing or null.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { document: self.document, value, pointer: step(&self.pointer, key) })
    }

    /// The items of the array at a key; empty if there is none.
    pub(super) fn items(&self, key: &str) -> Vec<Self> {
        self.get(key).map(|list| list.elements()).unwrap_or_default()
    }

    /// The items of this array.
    pub(super) fn elements(&self) -> Vec<Self> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let element =
            |(index, value)| Self { document: self.document, value, pointer: format!("{}/{index}", self.pointer) };
        items.iter().enumerate().map(element).collect()
    }

    /// The string at a key.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.value.get(key).and_then(Value::as_str)
    }

    /// The boolean at a key.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value.get(key).and_then(Value::as_bool)
    }

    pub(super) fn document(&self) -> &'a Document {
        self.document
    }

    pub(super) fn diagnostic(&self, rule: ContractRule, what: impl Into<String>) -> Diagnostic {
        self.document.diagnostic(&self.pointer, rule, what)
    }
}
