//! The untyped configuration: tables of values with their places.

use std::collections::BTreeMap;

use super::error::{Complaint, ValueOrigin};

/// Longest excerpt of a refused value in an error, in characters.
const EXCERPT_CHARS: usize = 60;

/// Keys and their values.
pub(super) type Table = BTreeMap<String, TreeNode>;

/// A value and where it was written.
#[derive(Clone)]
pub(super) struct TreeNode {
    pub(super) value: TreeValue,
    pub(super) origin: ValueOrigin,
}

/// An untyped value. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) enum TreeValue {
    /// A string of the file.
    Text(String),
    /// An integer or a float, in decimal digits.
    Number(String),
    /// A boolean of the file.
    Boolean(bool),
    /// A date or time of the file; no key takes one.
    Moment,
    /// An array.
    List(Vec<TreeNode>),
    Table(Table),
    /// The text of a variable: a string, number or boolean, depending on its key.
    Variable(String),
}

impl TreeValue {
    pub(super) fn as_text(&self) -> Result<&str, Complaint> {
        match self {
            Self::Text(text) | Self::Variable(text) if text.is_empty() => {
                Err(Complaint::new("is empty", "give it a value or remove the key"))
            }
            Self::Text(text) | Self::Variable(text) => Ok(text),
            other => Err(other.is_not("a string", "put it in quotes")),
        }
    }

    pub(super) fn as_boolean(&self) -> Result<bool, Complaint> {
        match self {
            Self::Boolean(truth) => Ok(*truth),
            Self::Variable(text) if text == "true" => Ok(true),
            Self::Variable(text) if text == "false" => Ok(false),
            other => Err(other.is_not("true or false", "write true or false, without quotes")),
        }
    }

    /// The value as a whole number from `least` to `most`.
    pub(super) fn as_integer(&self, least: u64, most: u64) -> Result<u64, Complaint> {
        let (Self::Number(digits) | Self::Variable(digits)) = self else {
            return Err(self.is_not("a whole number", "write it without quotes"));
        };
        digits.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            Complaint::new(
                format!("{} is not a whole number from {least} to {most}", shown(digits)),
                "choose a number in that range",
            )
        })
    }

    /// The complaint about a wrong type. Names the type, never the value.
    pub(super) fn is_not(&self, wanted: &str, fix: &str) -> Complaint {
        let kind = match self {
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Moment => "a date or time",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Variable(_) => "text",
        };
        Complaint::new(format!("is {kind}, expected {wanted}"), fix)
    }
}

/// A refused value for an error: quoted, on one line, truncated. Text with an `@` may be a URL with a password under the wrong key,
/// so it is not shown.
pub(super) fn shown(value: &str) -> String {
    if value.contains('@') {
        return "the value".to_owned();
    }
    let mut excerpt: String = value.chars().take(EXCERPT_CHARS).flat_map(char::escape_debug).collect();
    if value.chars().nth(EXCERPT_CHARS).is_some() {
        excerpt.push('…');
    }
    format!("\"{excerpt}\"")
}
