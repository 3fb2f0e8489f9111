//! Quoting for SQL text, where a parameter can't stand.

/// Quotes an identifier: `my "table"` becomes `"my ""table"""`.
///
/// A NUL can stand neither in an identifier nor in the protocol's strings; it is left out, so that the server sees a
/// name that it can only refuse.
#[must_use]
pub(crate) fn quote_identifier(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for character in name.chars().filter(|character| *character != '\0') {
        if character == '"' {
            quoted.push('"');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// Quotes a string literal: `it's` becomes `'it''s'`. Right under either setting of `standard_conforming_strings`: with
/// a backslash in it, it becomes an escape string, as libpq's `PQescapeLiteral` makes it.
#[must_use]
pub(crate) fn quote_literal(text: &str) -> String {
    let escape = text.contains('\\');
    let mut quoted = String::with_capacity(text.len() + 4);
    quoted.push_str(if escape { " E'" } else { "'" });
    for character in text.chars().filter(|character| *character != '\0') {
        if character == '\'' || character == '\\' {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_literals_cannot_break_out_of_their_quotes() {
        assert_eq!(quote_identifier("Order-Events"), "\"Order-Events\"");
        assert_eq!(quote_identifier("a\"; drop"), "\"a\"\"; drop\"");
        assert_eq!(quote_identifier("a\0b"), "\"ab\"");
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), " E'a\\\\''b'");
        assert_eq!(quote_literal(""), "''");
    }
}
