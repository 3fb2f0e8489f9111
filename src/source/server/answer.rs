//! Values in the server's answers.

use std::num::ParseIntError;

use crate::postgres::{Connection, Row};
use crate::relay::boundary::Lsn;
use crate::source::error::SourceError;

pub(crate) fn setting(control: &mut Connection, name: &'static str) -> Result<u32, SourceError> {
    let rows = control.query("select current_setting($1)", &[Some(name)])?;
    number(first(&rows, name)?, 0, name)
}

pub(crate) fn first<'a>(rows: &'a [Row], question: &'static str) -> Result<&'a Row, SourceError> {
    rows.first().ok_or(SourceError::Answer { question })
}

pub(crate) fn text(row: &Row, column: usize, question: &'static str) -> Result<String, SourceError> {
    row.text(column).map(str::to_owned).ok_or(SourceError::Answer { question })
}

pub(crate) fn number<T: std::str::FromStr<Err = ParseIntError>>(
    row: &Row,
    column: usize,
    question: &'static str,
) -> Result<T, SourceError> {
    row.text(column).and_then(|text| text.parse().ok()).ok_or(SourceError::Answer { question })
}

pub(crate) fn lsn(row: &Row, column: usize) -> Option<Lsn> {
    row.text(column)?.parse().ok()
}
