//! Output for people: figures, colours, lines on stderr, and untrusted text without its control characters.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write as _};

use indicatif::ProgressStyle;

/// Whether the output is a terminal that shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// With escape sequences.
    On,
    /// Without.
    Off,
}

impl Colour {
    pub(crate) const RED: u8 = 31;
    pub(crate) const GREEN: u8 = 32;
    pub(crate) const YELLOW: u8 = 33;
    pub(crate) const BLUE: u8 = 34;
    pub(crate) const DIM: u8 = 2;
    pub(crate) const BOLD: u8 = 1;

    /// What a writer supports: colours on a terminal, unless the user disables them (`NO_COLOR`, no-color.org).
    #[must_use]
    pub(crate) fn of(out: &impl IsTerminal) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if out.is_terminal() && !plain { Self::On } else { Self::Off }
    }

    pub(crate) fn paint(self, code: u8, text: &str) -> String {
        match self {
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Off => text.to_owned(),
        }
    }
}

/// A count of things; `what` names one of them.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A number with thousands separators.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a terminal or a viewer may interpret a character as a command: control characters, those that change the
/// direction of text (Unicode, "Bidirectional Algorithm"), and the two that separate lines without being control
/// characters.
pub(crate) fn is_command(c: char) -> bool {
    let directs = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || directs || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Untrusted text on one line: no character of it is a command.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    escape(text, is_command)
}

/// The same for text that may have several lines.
pub(crate) fn visible_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_command(c))
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) { escaped.extend(c.escape_default()) } else { escaped.push(c) }
    }
    Cow::Owned(escaped)
}

/// The style of a line that changes.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates in this crate are well formed")
}

/// Writes a permanent line to stderr.
#[cfg_attr(not(feature = "lab"), expect(dead_code, reason = "only the demo and the benchmark need it"))]
pub(crate) fn line(text: &str) {
    // If nobody reads stderr any more, nothing of importance is lost.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_have_commas() {
        let shown = [0, 999, 1_000, 12_345, 999_999, 1_000_000].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "12,345", "999,999", "1,000,000"]);
    }

    #[test]
    fn untrusted_text_has_no_control_characters() {
        assert!(matches!(visible("order.placed \u{e9}\u{1f600}"), Cow::Borrowed(_)));
        assert_eq!(visible("a\x1b[2Jb\r\nc\td\x7f"), "a\\u{1b}[2Jb\\r\\nc\\td\\u{7f}");
        assert_eq!(visible("\u{9b}2J \u{202e}txt \u{2028}"), "\\u{9b}2J \\u{202e}txt \\u{2028}");
        assert_eq!(visible_lines("a\nb\x1b"), "a\nb\\u{1b}");
    }
}
