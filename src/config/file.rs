//! Reads the configuration file into a tree of values with line numbers.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ValueOrigin};
use super::tree::{Table, TreeNode, TreeValue};

/// Largest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads the file at `path`.
///
/// # Errors
///
/// The file can't be read, is too large, is not UTF-8 or is not TOML; in the last case, every place is reported. The parser limits
/// nesting, so no file can overflow the stack.
pub(super) fn read(path: &Path) -> Result<Table, Vec<ConfigError>> {
    let shared: Arc<Path> = Arc::from(path);
    let refuse = |what: String, fix: &str| {
        let origin = ValueOrigin::File(Arc::clone(&shared));
        vec![ConfigError { key: String::new(), origin, what, fix: fix.to_owned() }]
    };
    let bytes = bytes(path).map_err(|error| {
        refuse(format!("can't be read: {error}"), "check the --config path and the file's permissions")
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(refuse(format!("is larger than {FILE_BYTES_MAX} bytes"), "give the path of a configuration file"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        refuse(format!("is not UTF-8: invalid byte at offset {offset}"), "save the file as UTF-8")
    })?;
    // Some editors write a byte order mark, which TOML does not allow.
    parse(&shared, text.strip_prefix('\u{FEFF}').unwrap_or(&text))
}

/// Parses the text of the file at `path`.
pub(super) fn parse(path: &Arc<Path>, text: &str) -> Result<Table, Vec<ConfigError>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let lines = Lines::of(text);
    if errors.is_empty() {
        let origin = |offset| ValueOrigin::Line(Arc::clone(path), lines.position(offset).0);
        return Ok(table(document.into_inner(), &origin));
    }
    let mut mistakes: Vec<ConfigError> = Vec::new();
    for error in errors {
        let (line, column) = lines.position(error.span().map_or(text.len(), |span| span.start));
        // One mistake can cause several errors on its line; the first is the most precise.
        let again = |earlier: &ConfigError| matches!(&earlier.origin, ValueOrigin::Column(_, at, _) if *at == line);
        if mistakes.iter().any(again) {
            continue;
        }
        mistakes.push(ConfigError {
            key: String::new(),
            origin: ValueOrigin::Column(Arc::clone(path), line, column),
            // Only the message: the full error quotes the line, which may contain a password.
            what: format!("is not TOML: {}", error.message()),
            fix: "put strings in quotes and section names in [brackets]".to_owned(),
        });
    }
    Err(mistakes)
}

/// Parses a single TOML value, from a variable for a key that takes a table or an array.
///
/// # Errors
///
/// The parser's message, without the input.
pub(super) fn parse_value(text: &str, origin: &ValueOrigin) -> Result<TreeValue, String> {
    let value = DeValue::parse(text).map_err(|error| error.message().to_owned())?;
    Ok(self::value(value.into_inner(), &|_| origin.clone()))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn table(entries: DeTable<'_>, origin: &dyn Fn(usize) -> ValueOrigin) -> Table {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        let node = TreeNode { origin: origin(key.span().start), value: self::value(value.into_inner(), origin) };
        (std::borrow::Cow::into_owned(key.into_inner()), node)
    };
    entries.into_iter().map(entry).collect()
}

fn value(value: DeValue<'_>, origin: &dyn Fn(usize) -> ValueOrigin) -> TreeValue {
    match value {
        DeValue::String(text) => TreeValue::Text(text.into_owned()),
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix());
            TreeValue::Number(decimal.map_or_else(|_| number.to_string(), |decimal| decimal.to_string()))
        }
        DeValue::Float(number) => TreeValue::Number(number.to_string()),
        DeValue::Boolean(truth) => TreeValue::Boolean(truth),
        DeValue::Datetime(_) => TreeValue::Moment,
        DeValue::Array(items) => {
            let item = |item: Spanned<DeValue<'_>>| {
                let origin_of_item = origin(item.span().start);
                TreeNode { value: self::value(item.into_inner(), origin), origin: origin_of_item }
            };
            TreeValue::List(items.into_iter().map(item).collect())
        }
        DeValue::Table(entries) => TreeValue::Table(table(entries, origin)),
    }
}

/// The byte offsets of line starts.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(offset, _)| offset + 1);
        Self { text, starts: std::iter::once(0).chain(after).collect() }
    }

    /// The line and the column, in characters, of a byte offset; both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let before = self.text.get(start..offset).map_or(0, |before| before.chars().count());
        (line, before + 1)
    }
}
