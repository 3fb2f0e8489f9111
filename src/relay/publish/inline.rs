//! Short texts formatted in place, without an allocation and without `core::fmt`, which costs more per record than
//! decoding it.

use std::fmt;

use crate::relay::boundary::{Lsn, Position, Timestamp};
use crate::relay::calendar::civil_date;

/// A text of at most `N` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inline<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Inline<N> {
    fn default() -> Self {
        Self { bytes: [0; N], length: 0 }
    }
}

impl<const N: usize> Inline<N> {
    /// The text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// A position in its `Display` format: `16/B374D848/3`. At most 38 bytes.
    pub(crate) fn push_position(&mut self, position: Position) {
        let Position { commit: Lsn(commit), ordinal } = position;
        self.push_hex(commit >> 32);
        self.push(b'/');
        self.push_hex(commit & 0xFFFF_FFFF);
        self.push(b'/');
        self.push_decimal(ordinal, 1);
    }

    /// A time as RFC 3339, in UTC with microseconds: 27 bytes. Years outside 0 to 9999 are clamped to that range.
    pub(crate) fn push_time(&mut self, time: Timestamp) {
        const FIRST: i64 = -62_167_219_200_000_000;
        const LAST: i64 = 253_402_300_799_999_999;
        let micros = time.0.clamp(FIRST, LAST);
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_date(days);
        let parts = [
            (year, 4, b'-'),
            (month, 2, b'-'),
            (day, 2, b'T'),
            (second / 3_600, 2, b':'),
            (second / 60 % 60, 2, b':'),
            (second % 60, 2, b'.'),
            (micros, 6, b'Z'),
        ];
        for (number, width, end) in parts {
            // None is negative after the clamp.
            self.push_decimal(number.unsigned_abs(), width);
            self.push(end);
        }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn push_hex(&mut self, number: u64) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let count = (64 - (number | 1).leading_zeros()).div_ceil(4);
        for place in (0..count).rev() {
            self.push(DIGITS[(number >> (4 * place) & 0xF) as usize]);
        }
    }

    /// Zero-padded to `width` digits.
    fn push_decimal(&mut self, mut number: u64, width: usize) {
        // A u64 has at most 20 digits.
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        while number > 0 {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let text = &digits[start.min(digits.len() - width)..];
        self.bytes[self.length..self.length + text.len()].copy_from_slice(text);
        self.length += text.len();
    }
}

impl fmt::Display for Timestamp {
    /// As RFC 3339, in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Inline::<32>::default();
        text.push_time(*self);
        f.write_str(&String::from_utf8_lossy(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(micros: i64) -> String {
        let mut text = Inline::<32>::default();
        text.push_time(Timestamp(micros));
        String::from_utf8(text.as_bytes().to_vec()).expect("ASCII")
    }

    fn position(commit: u64, ordinal: u64) -> String {
        let mut text = Inline::<48>::default();
        text.push_position(Position { commit: Lsn(commit), ordinal });
        String::from_utf8(text.as_bytes().to_vec()).expect("ASCII")
    }

    #[test]
    fn times_are_written_to_the_microsecond_and_cut_to_four_digits_of_year() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(time(951_826_245_000_001), "2000-02-29T12:10:45.000001Z");
        assert_eq!(time(4_107_542_400_000_000), "2100-03-01T00:00:00.000000Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59.999999Z");
        assert_eq!(time(i64::MIN), "0000-01-01T00:00:00.000000Z");
        assert_eq!(time(i64::MAX), "9999-12-31T23:59:59.999999Z");
    }

    proptest! {
        #[test]
        fn a_position_is_written_as_it_is_displayed(commit in any::<u64>(), ordinal in any::<u64>()) {
            prop_assert_eq!(position(commit, ordinal), Position { commit: Lsn(commit), ordinal }.to_string());
            prop_assert_eq!(position(0, 0), "0/0/0");
        }
    }
}
