//! Floating point numbers and `numeric` as text.

use std::fmt::{LowerExp, Write};
use std::str::FromStr;

/// `real` as text.
pub(super) fn float4(value: f32) -> String {
    if value.is_nan() || value.is_infinite() {
        return unbounded(value.is_nan(), value.is_sign_negative());
    }
    // The midpoint of two neighbouring values needs one more bit of mantissa than they have (float.h: FLT_MANT_DIG,
    // FLT_DIG).
    float(value, Precision { between: 25, digits: 6 })
}

/// `double precision` as text.
pub(super) fn float8(value: f64) -> String {
    if value.is_nan() || value.is_infinite() {
        return unbounded(value.is_nan(), value.is_sign_negative());
    }
    float(value, Precision { between: 54, digits: 15 })
}

fn unbounded(is_nan: bool, is_negative: bool) -> String {
    let text = match (is_nan, is_negative) {
        (true, _) => "NaN",
        (false, true) => "-Infinity",
        (false, false) => "Infinity",
    };
    text.to_owned()
}

struct Precision {
    /// Bits of a value exactly halfway between two neighbours.
    between: u32,
    /// Digits before the decimal point from which an exponent is used.
    digits: i32,
}

/// The shortest digits that read back as the value and are nearer to it than to any other, as Postgres's
/// `double_to_shortest_decimal_buf` has them: unlike the shortest possible, never a number exactly halfway between
/// two values, which readers round differently. Of two equally near, the even one.
fn float<T: LowerExp + FromStr + PartialEq>(value: T, precision: Precision) -> String {
    let (mut digits, mut exponent) = scientific(&format!("{value:e}"));
    let rounded = format!("{value:.*e}", digits.len() - 1);
    if rounded.parse::<T>().is_ok_and(|read| read == value) {
        (digits, exponent) = scientific(&rounded);
    }
    while is_between(&digits, exponent, precision.between) {
        (digits, exponent) = scientific(&format!("{value:.*e}", digits.len()));
    }
    let sign = if rounded.starts_with('-') { "-" } else { "" };
    let point = exponent + 1;
    let digits = digits.as_str();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if !(-4..precision.digits).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let way = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{dot}{rest}e{way}{:02}", exponent.unsigned_abs());
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    match point {
        ..=0 => format!("{sign}0.{}{digits}", zeros(-point)),
        _ if point >= count => format!("{sign}{digits}{}", zeros(point - count)),
        _ => {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        }
    }
}

/// Digits and the exponent of the first one, out of `-1.25e-7`.
fn scientific(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = mantissa.chars().filter(char::is_ascii_digit).collect();
    (digits, exponent.parse().unwrap_or(0))
}

/// Whether a decimal number of few digits is exactly halfway between two floating-point numbers: an odd number with
/// one bit more than they have, times a power of two.
fn is_between(digits: &str, exponent: i32, bits: u32) -> bool {
    /// 5^24 has more than 54 bits, and no number of 17 digits is a multiple of 5^25.
    const POWERS: u32 = 24;
    let Ok(number) = digits.parse::<u128>() else { return false };
    let power = exponent + 1 - i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if number == 0 || power.unsigned_abs() > POWERS {
        return false;
    }
    let five = 5_u128.pow(power.unsigned_abs());
    let number = match power {
        0.. => number.checked_mul(five),
        _ => (number % five == 0).then(|| number / five),
    };
    number.is_some_and(|number| (number >> number.trailing_zeros()).ilog2() + 1 == bits)
}

/// `numeric` as text (`numeric_send`): groups of four digits, the weight of the first group, the sign, and the
/// display scale.
pub(super) fn numeric(bytes: &[u8]) -> Option<String> {
    let (head, digits) = bytes.split_first_chunk::<8>()?;
    let [count, weight, sign, scale] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([head[at], head[at + 1]]));
    let (groups, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() || groups.len() != usize::from(count) {
        return None;
    }
    let mut text = String::new();
    match sign {
        0x0000 => {}
        0x4000 => text.push('-'),
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    }
    if groups.iter().any(|group| u16::from_be_bytes(*group) > 9_999) {
        return None;
    }
    let weight = i32::from(weight.cast_signed());
    let group = |place: i32| {
        let found = usize::try_from(place).ok().and_then(|place| groups.get(place));
        found.map_or(0, |group| u16::from_be_bytes(*group))
    };
    if weight < 0 {
        text.push('0');
    }
    for place in 0..=weight {
        let written = match place {
            0 => write!(text, "{}", group(place)),
            _ => write!(text, "{:04}", group(place)),
        };
        written.ok()?;
    }
    if scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(scale);
        let mut place = weight + 1;
        while text.len() < end {
            write!(text, "{:04}", group(place)).ok()?;
            place += 1;
        }
        text.truncate(end);
    }
    Some(text)
}
