//! Quoted scalars that span lines. YAML 1.2 (section 7.3) indents their continuation lines deeper than the key. Most libraries accept
//! them at the column of the key, too; this parser does not. The blanks at the start of such a line are not part of the text.

/// The text with the lines of one quoted scalar indented, which starts at this character. `None` if none starts there, or if all its lines
/// are indented.
pub(super) fn indented(text: &str, start: usize) -> Option<String> {
    let (from, quote) = text.char_indices().nth(start).filter(|(_, symbol)| matches!(symbol, '"' | '\''))?;
    let line_start = text[..from].rfind('\n').map_or(0, |end| end + 1);
    let column = text[line_start..from].chars().count();
    let end = end(&text[from..], quote)?;
    let (scalar, rest) = text[from..].split_at(end);
    let mut lines = scalar.split_inclusive('\n');
    let mut indented = text[..from].to_owned();
    indented.extend(lines.next());
    let mut is_changed = false;
    for line in lines {
        // These end a document, wherever they are.
        if line.starts_with("---") || line.starts_with("...") {
            return None;
        }
        let blanks = line.len() - line.trim_start_matches(' ').len();
        let missing = (column + 1).saturating_sub(blanks);
        if missing > 0 && !line.trim().is_empty() {
            is_changed = true;
            indented.extend(std::iter::repeat_n(' ', missing));
        }
        indented.push_str(line);
    }
    indented.push_str(rest);
    is_changed.then_some(indented)
}

/// The length of the quoted scalar at the start, with its quotes.
fn end(text: &str, quote: char) -> Option<usize> {
    let mut symbols = text.char_indices().skip(1).peekable();
    while let Some((at, symbol)) = symbols.next() {
        let escapes = symbol == '\\' && quote == '"';
        let is_twice = symbol == '\'' && quote == '\'' && symbols.peek().is_some_and(|(_, next)| *next == '\'');
        if escapes || is_twice {
            symbols.next();
        } else if symbol == quote {
            return Some(at + 1);
        }
    }
    None
}
