//! The order of versions in files, in which new ones are registered. Registered versions have the order of their registration.

use std::cmp::Ordering;

/// Compares versions naturally: runs of digits by value, the rest as text; pre-releases come before their version (`1.0.0-rc1`
/// before `1.0.0`, as in Semantic Versioning 2.0.0, section 11).
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<Segment> {
        let plain = text.strip_prefix(['v', 'V']).filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        Segments { rest: plain.unwrap_or(text) }.map(Segment::new).collect()
    };
    let (mut left, mut right) = (parts(a), parts(b));
    let length = left.len().max(right.len());
    left.resize(length, Segment::End);
    right.resize(length, Segment::End);
    left.cmp(&right).then_with(|| a.cmp(b))
}

/// A part of a version, ordered so that a hyphen sorts before the end and everything else after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    PreRelease(String),
    End,
    Text(String),
    /// Digits without leading zeros, compared by length first.
    Number(usize, String),
}

impl Segment {
    fn new(text: &str) -> Self {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let digits = text.trim_start_matches('0');
            return Self::Number(digits.len(), digits.to_owned());
        }
        match text.strip_prefix('-') {
            Some(rest) if !rest.is_empty() => Self::PreRelease(rest.to_owned()),
            _ => Self::Text(text.to_owned()),
        }
    }
}

/// Splits into runs of digits and runs of other characters.
struct Segments<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let first = self.rest.chars().next()?;
        let is_digit = first.is_ascii_digit();
        let end = self.rest.find(|symbol: char| symbol.is_ascii_digit() != is_digit).unwrap_or(self.rest.len());
        let (part, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_natural_order() {
        let ordered = [
            "0.9",
            "1",
            "1.0.0-alpha",
            "1.0.0-rc1",
            "1.0.0-rc2",
            "1.0.0-rc10",
            "1.0.0",
            "1.0.1",
            "1.2",
            "1.10",
            "v2",
            "2.0.0",
            "10",
            "2026-03",
            "2026-11",
        ];
        for (index, a) in ordered.iter().enumerate() {
            for b in &ordered[index + 1..] {
                assert_eq!(compare(a, b), Ordering::Less, "{a} {b}");
                assert_eq!(compare(b, a), Ordering::Greater, "{b} {a}");
            }
        }
        assert_eq!(compare("1.0", "1.0"), Ordering::Equal);
    }
}
