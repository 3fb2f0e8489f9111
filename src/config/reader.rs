//! Converts a tree of values to types, collecting all mistakes instead of stopping at the first.

use std::collections::BTreeMap;

use super::error::{Complaint, ConfigError, ConfigErrors, ValueOrigin};
use super::names::variable;
use super::nearest::nearest;
use super::tree::{Table, TreeNode, TreeValue, shown};

/// What reading a configuration has found.
pub(super) struct Findings {
    /// The mistakes so far.
    pub(super) errors: Vec<ConfigError>,
    /// All keys that were read, present or not, in order.
    pub(super) keys: Vec<String>,
    /// Where a missing section belongs.
    pub(super) home: ValueOrigin,
}

impl Findings {
    pub(super) fn new(home: ValueOrigin) -> Self {
        Self { errors: Vec::new(), keys: Vec::new(), home }
    }

    /// Records a mistake.
    pub(super) fn refuse(&mut self, key: &str, origin: ValueOrigin, complaint: Complaint) {
        let Complaint { what, fix } = complaint;
        self.errors.push(ConfigError { key: key.to_owned(), origin, what, fix });
    }

    /// The value, if there are no mistakes.
    pub(super) fn or_errors<T>(mut self, value: Option<T>) -> Result<T, ConfigErrors> {
        // Missing keys come last: they have no line, and may be among the misspelled ones.
        let place = |error: &ConfigError| match error.origin {
            ValueOrigin::Column(_, line, _) | ValueOrigin::Line(_, line) => (0, line),
            ValueOrigin::Variable(_) => (1, 0),
            ValueOrigin::File(_) | ValueOrigin::Nowhere => (2, 0),
        };
        self.errors.sort_by_key(place);
        match value {
            Some(value) if self.errors.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.errors)),
        }
    }
}

/// A table of the configuration being read.
pub(super) struct Section<'f> {
    path: String,
    /// Where a missing key belongs.
    home: ValueOrigin,
    table: Table,
    asked: BTreeMap<&'static str, Option<ValueOrigin>>,
    findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// Starts reading `table` at `path` (empty for the root).
    pub(super) fn new(path: impl Into<String>, table: Table, findings: &'f mut Findings) -> Self {
        Self { path: path.into(), home: findings.home.clone(), table, asked: BTreeMap::new(), findings }
    }

    /// The same, with the place where the table starts.
    pub(super) fn at(mut self, origin: &ValueOrigin) -> Self {
        if matches!(origin, ValueOrigin::Line(..)) {
            self.home = origin.clone();
        }
        self
    }

    /// Takes a value that is not a plain one, with the findings to report to.
    pub(super) fn take(&mut self, key: &'static str) -> (Option<TreeNode>, &mut Findings) {
        let node = self.table.remove(key);
        self.asked.insert(key, node.as_ref().map(|node| node.origin.clone()));
        let path = self.key(key);
        self.findings.keys.push(path);
        (node, self.findings)
    }

    /// The table at a key; empty if missing or not a table.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'_> {
        let path = self.key(key);
        let (node, findings) = self.take(key);
        let Some(TreeNode { value, origin }) = node else {
            return Section::new(path, Table::new(), findings);
        };
        let table = as_table(value).unwrap_or_else(|complaint| {
            findings.refuse(&path, origin.clone(), complaint);
            Table::new()
        });
        Section::new(path, table, findings).at(&origin)
    }

    /// An optional value. Also `None` if it is wrong; then the mistake is recorded.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&TreeValue) -> Result<T, Complaint>,
    ) -> Option<T> {
        let node = self.take(key).0?;
        parse(&node.value).map_err(|complaint| self.refuse(key, complaint)).ok()
    }

    /// A value with a default.
    pub(super) fn or<T>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl FnOnce(&TreeValue) -> Result<T, Complaint>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    /// A required value; if missing, the mistake shows `example`.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&TreeValue) -> Result<T, Complaint>,
    ) -> Option<T> {
        let value = self.optional(key, parse);
        if !self.is_given(key) {
            self.refuse_missing(key, example);
        }
        value
    }

    /// Whether a key is present, right or wrong.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.asked.get(key).is_some_and(Option::is_some)
    }

    /// Records that a required key is missing.
    pub(super) fn refuse_missing(&mut self, key: &'static str, example: &str) {
        let header =
            if self.path.starts_with("outbox.") { "[[outbox]]".to_owned() } else { format!("[{}]", self.path) };
        let advice = format!("write {key} = {example} under {header}, or set {}", variable(&self.key(key)));
        self.refuse(key, Complaint::new("is missing", advice));
    }

    /// Records a mistake of a key.
    pub(super) fn refuse(&mut self, key: &'static str, complaint: Complaint) {
        let origin = self.asked.get(key).cloned().flatten().unwrap_or_else(|| self.home.clone());
        self.findings.refuse(&self.key(key), origin, complaint);
    }

    /// Finishes reading: keys that were not read are unknown.
    pub(super) fn finish(self) {
        let known = || self.asked.keys().copied();
        for (key, node) in &self.table {
            let fix = match nearest(key, known()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => format!("the keys here are {}", known().collect::<Vec<_>>().join(", ")),
            };
            let what = if matches!(node.value, TreeValue::Table(_)) { "unknown section" } else { "unknown key" };
            self.findings.refuse(&self.key(key), node.origin.clone(), Complaint::new(what, fix));
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Parses one of several words.
pub(super) fn choice<T: Copy>(value: &TreeValue, choices: &[(&str, T)]) -> Result<T, Complaint> {
    let text = value.as_text()?;
    if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*meaning);
    }
    let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
    let fix = match nearest(text, choices.iter().map(|(word, _)| *word)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => format!("write {}", words.join(" or ")),
    };
    Err(Complaint::new(format!("{} is not a valid value", shown(text)), fix))
}

/// Converts a value to a table.
pub(super) fn as_table(value: TreeValue) -> Result<Table, Complaint> {
    match value {
        TreeValue::Table(table) => Ok(table),
        other => Err(other.is_not("a table", "write a [section] or { key = value }")),
    }
}
