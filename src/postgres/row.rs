//! A row of an answer.

use super::frame::{Body, ProtocolError};

/// A row of an answer, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(Vec<Option<String>>);

impl Row {
    /// The value of a column, counted from 0; `None` for null and for a column that is not there.
    #[must_use]
    pub fn text(&self, column: usize) -> Option<&str> {
        self.0.get(column)?.as_deref()
    }

    /// Whether the column holds Postgres' `t`.
    #[must_use]
    pub fn is_true(&self, column: usize) -> bool {
        self.text(column) == Some("t")
    }

    /// The bytes that `encode(..., 'hex')` wrote in the column.
    #[must_use]
    pub fn hex(&self, column: usize) -> Option<Vec<u8>> {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        self.text(column)?.as_bytes().chunks_exact(2).map(pair).collect()
    }

    pub(super) fn parse(body: &mut Body<'_>) -> Result<Self, ProtocolError> {
        let count = body.i16("the number of columns of a row")?;
        let column = |_| {
            let value = body.value("a column of a row")?;
            Ok(value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
        };
        (0..count).map(column).collect::<Result<_, _>>().map(Self)
    }
}
