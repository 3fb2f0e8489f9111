//! Durations and sizes: a number and a unit.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Complaint;
use super::tree::{TreeValue, shown};

const DURATION_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 7 * 86_400_000)];

const BYTE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A duration such as "500ms", "30s", "5m", "2h", "7d" or "2w", or a plain number of seconds.
pub(super) fn duration(value: &TreeValue, range: RangeInclusive<Duration>) -> Result<Duration, Complaint> {
    let fix = "write a number with ms, s, m, h, d or w, such as \"30s\"";
    let millis = quantity(value, &DURATION_UNITS, 1_000, fix)?;
    let duration = Duration::from_millis(millis);
    if range.contains(&duration) {
        return Ok(duration);
    }
    let within = format!("choose {} to {}", written(*range.start()), written(*range.end()));
    Err(Complaint::new(format!("{} is out of range", written(duration)), within))
}

/// Reads the same text as [`duration`]; `None` if it is not a duration.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATION_UNITS, 1_000).map(Duration::from_millis)
}

/// A size such as "16MiB", "512KiB", "64MB" or a plain number of bytes.
pub(super) fn bytes(value: &TreeValue, range: RangeInclusive<u64>) -> Result<u64, Complaint> {
    let fix = "write a number with B, kB, MB, GB, KiB, MiB or GiB, such as \"16MiB\"";
    let bytes = quantity(value, &BYTE_UNITS, 1, fix)?;
    if range.contains(&bytes) {
        return Ok(bytes);
    }
    let within = format!("choose {} to {} bytes", range.start(), range.end());
    Err(Complaint::new(format!("{bytes} bytes is out of range"), within))
}

/// A duration in the largest unit that gives a whole number.
fn written(duration: Duration) -> String {
    let millis = duration.as_millis();
    let whole = |(_, size): &&(&str, u64)| millis != 0 && millis.is_multiple_of(u128::from(*size));
    let (unit, size) = DURATION_UNITS.iter().rev().find(whole).unwrap_or(&DURATION_UNITS[1]);
    format!("{}{unit}", millis / u128::from(*size))
}

/// Parses a number with a unit; a plain number counts multiples of `plain` smallest units.
fn quantity(value: &TreeValue, units: &[(&str, u64)], plain: u64, fix: &str) -> Result<u64, Complaint> {
    let text = match value {
        TreeValue::Number(digits) => digits,
        other => other.as_text()?,
    };
    let refused = || Complaint::new(format!("{} is not a valid quantity", shown(text)), fix);
    parse(text, units, plain).ok_or_else(refused)
}

fn parse(text: &str, units: &[(&str, u64)], plain: u64) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let unit = unit.trim();
    let size = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, size)) => *size,
        None if unit.is_empty() => plain,
        None => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> TreeValue {
        TreeValue::Text(text.to_owned())
    }

    #[test]
    fn durations_have_units_and_plain_numbers_are_seconds() {
        let any = Duration::ZERO..=Duration::MAX;
        let read = |value| duration(&value, any.clone()).ok();
        assert_eq!(read(text("500ms")), Some(Duration::from_millis(500)));
        assert_eq!(read(text("30 s")), Some(Duration::from_secs(30)));
        assert_eq!(read(text("5m")), Some(Duration::from_secs(300)));
        assert_eq!(read(text("7d")), Some(Duration::from_secs(604_800)));
        assert_eq!(read(text("1w")), read(text("7d")));
        assert_eq!(read(TreeValue::Number("30".into())), Some(Duration::from_secs(30)));
        assert_eq!(read(TreeValue::Variable("30".into())), Some(Duration::from_secs(30)));
        for bad in ["", "s", "-1s", "1.5s", "30x", "30 S", "s30", "99999999999999999999s", "18446744073709551615w"] {
            assert_eq!(read(text(bad)), None, "{bad}");
        }
        assert_eq!(read(TreeValue::Boolean(true)), None);
    }

    #[test]
    fn an_out_of_range_duration_names_the_range() {
        let complaint = duration(&text("90m"), Duration::from_secs(1)..=Duration::from_secs(3_600)).err();
        assert_eq!(complaint, Some(Complaint::new("90m is out of range", "choose 1s to 1h")));
        assert_eq!(written(Duration::ZERO), "0s");
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        let read = |value| bytes(&value, 1..=u64::MAX).ok();
        assert_eq!(read(text("16MiB")), Some(16 << 20));
        assert_eq!(read(text("16 MiB")), Some(16 << 20));
        assert_eq!(read(text("64MB")), Some(64_000_000));
        assert_eq!(read(text("1024")), Some(1024));
        assert_eq!(read(TreeValue::Number("1024".into())), Some(1024));
        for bad in ["0", "16mib", "16 M", "1e6", "99999999999GiB"] {
            assert_eq!(read(text(bad)), None, "{bad}");
        }
    }
}
