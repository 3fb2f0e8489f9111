//! How output is written for people: figures, colours, and lines on stderr.

use std::io::{self, IsTerminal, Write as _};

use indicatif::ProgressStyle;

/// Whether a text is for a terminal that shows colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With escape sequences.
    On,
    /// Without.
    Off,
}

impl Colour {
    pub(crate) const RED: u8 = 31;
    pub(crate) const GREEN: u8 = 32;
    pub(crate) const DIM: u8 = 2;
    pub(crate) const BOLD: u8 = 1;

    /// What a writer takes: colours on a terminal, unless the user wants none (`NO_COLOR`, no-color.org).
    #[must_use]
    pub fn of(out: &impl IsTerminal) -> Self {
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

/// A number with commas between the thousands.
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

/// The style of a line that changes.
pub(crate) fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates of this crate are well formed")
}

/// Writes a line that stays to stderr.
pub(crate) fn line(text: &str) {
    // A reader who has gone away misses nothing that matters.
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
}
