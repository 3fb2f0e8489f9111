//! Converts ODCS date and time formats, which are those of Java's `DateTimeFormatter`, to regular expressions.

/// The regular expression of a format: letters `y`, `M`, `d`, `H`, `h`, `m`, `s`, `S`, `a`, `X`, `x`, `Z`, quoted text, optional sections
/// in brackets, and the rest literally. The standard's own examples have a `T` without quotes, and mean any offset by the `Z` after it.
///
/// # Errors
/// What can't be converted.
pub(super) fn pattern(format: &str) -> Result<String, String> {
    let mut pattern = String::from("^");
    let mut symbols = format.chars().peekable();
    let (mut sections, mut is_iso) = (0_usize, false);
    while let Some(symbol) = symbols.next() {
        match symbol {
            '\'' => {
                let quoted: String = symbols.by_ref().take_while(|inner| *inner != '\'').collect();
                // Two quotes are an escaped quote.
                literal(if quoted.is_empty() { "'" } else { &quoted }, &mut pattern);
            }
            '[' => {
                sections += 1;
                pattern.push('(');
            }
            ']' => {
                sections =
                    sections.checked_sub(1).ok_or("this format closes an optional section that it does not open")?;
                pattern.push_str(")?");
            }
            'T' => {
                is_iso = true;
                pattern.push('T');
            }
            symbol if symbol.is_ascii_alphabetic() => {
                let mut count = 1;
                while symbols.next_if_eq(&symbol).is_some() {
                    count += 1;
                }
                let known = if (symbol, count, is_iso) == ('Z', 1, true) {
                    Some("(Z|[+-][0-9]{2}:?[0-9]{2})".to_owned())
                } else {
                    letters(symbol, count)
                };
                pattern.push_str(&known.ok_or_else(|| {
                    format!(
                        "the letter {symbol} of this format is not supported; use y M d H h m s S a X x Z, or quote it"
                    )
                })?);
            }
            symbol => literal(symbol.encode_utf8(&mut [0; 4]), &mut pattern),
        }
    }
    if sections > 0 {
        return Err("this format opens an optional section that it does not close".to_owned());
    }
    pattern.push('$');
    Ok(pattern)
}

fn letters(symbol: char, count: usize) -> Option<String> {
    let two = |range: &str, short: &str| match count {
        1 => Some(short.to_owned()),
        2 => Some(range.to_owned()),
        _ => None,
    };
    match symbol {
        'y' | 'u' if (1..=9).contains(&count) => {
            Some(if count == 1 { "[0-9]{1,9}".to_owned() } else { format!("[0-9]{{{count}}}") })
        }
        'M' if count == 3 => Some("(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)".to_owned()),
        'M' => two("(0[1-9]|1[0-2])", "([1-9]|1[0-2])"),
        'd' => two("(0[1-9]|[12][0-9]|3[01])", "([1-9]|[12][0-9]|3[01])"),
        'H' => two("([01][0-9]|2[0-3])", "([0-9]|1[0-9]|2[0-3])"),
        'h' => two("(0[1-9]|1[0-2])", "([1-9]|1[0-2])"),
        'm' | 's' => two("[0-5][0-9]", "([0-9]|[1-5][0-9])"),
        'S' if count <= 9 => Some(format!("[0-9]{{{count}}}")),
        'a' if count == 1 => Some("(AM|PM)".to_owned()),
        'X' if count == 3 => Some("(Z|[+-][0-9]{2}:[0-9]{2})".to_owned()),
        'x' if count == 3 => Some("[+-][0-9]{2}:[0-9]{2}".to_owned()),
        'X' if count == 1 => Some("(Z|[+-][0-9]{2}([0-9]{2})?)".to_owned()),
        'Z' if count <= 3 => Some("[+-][0-9]{4}".to_owned()),
        _ => None,
    }
}

fn literal(text: &str, pattern: &mut String) {
    for symbol in text.chars() {
        if symbol.is_ascii_punctuation() && !matches!(symbol, '-' | ':' | ',' | '\'' | '/' | ' ' | '_') {
            pattern.push('\\');
        }
        pattern.push(symbol);
    }
}
