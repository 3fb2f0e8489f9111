//! Numbers by their value, exactly: however they are written, and as large as they are.
//!
//! The validator's own `multipleOf` rounds whole numbers above 2^53 to a double where the divisor is a fraction, so what is a multiple
//! of 3 need not be one of 1.5.

use std::cmp::Ordering;

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

/// From here on a double is beyond every integer type of JSON's.
const BEYOND_INTEGERS: f64 = 1e30;

/// Above the digits of every integer type of JSON's and of every double.
const DIGITS_END: u128 = 1 << 67;

/// The order of two numbers.
#[must_use]
pub fn compare(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_with_float(a, float(b)),
        (None, Some(b)) => compare_with_float(b, float(a)).reverse(),
        // Zero has a sign as a double.
        (None, None) => (float(a) + 0.0).total_cmp(&(float(b) + 0.0)),
    }
}

/// Whether a number has no fraction.
#[must_use]
pub fn is_whole(number: &Number) -> bool {
    whole(number).is_some() || float(number).fract() == 0.0
}

/// Whether a number is a whole multiple of another, both in decimal. Nothing is a multiple of zero.
#[must_use]
pub fn is_multiple(value: &Number, of: &Number) -> bool {
    Decimal::of(value).zip(Decimal::of(of)).is_some_and(|(value, of)| value.is_multiple_of(&of))
}

/// A number that is written as a whole one.
fn whole(number: &Number) -> Option<i128> {
    number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from))
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::INFINITY)
}

/// Without rounding the whole number to a double.
fn compare_with_float(whole: i128, float: f64) -> Ordering {
    if float.abs() >= BEYOND_INTEGERS {
        return 0.0_f64.total_cmp(&float);
    }
    let floor = float.floor();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and a whole number of it is exact")]
    let order = whole.cmp(&(floor as i128));
    if order.is_eq() && float > floor { Ordering::Less } else { order }
}

/// The magnitude `digits * 10^exponent`.
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// A double counts as the shortest decimal that reads as it, which is how it was written.
    fn of(number: &Number) -> Option<Self> {
        if let Some(whole) = whole(number) {
            return Some(Self { digits: whole.unsigned_abs(), exponent: 0 });
        }
        let text = number.to_string();
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse().ok().filter(|digits| *digits < DIGITS_END)?;
        let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self { digits, exponent })
    }

    fn is_multiple_of(&self, of: &Self) -> bool {
        if of.digits == 0 {
            return false;
        }
        let places = self.exponent.abs_diff(of.exponent);
        match self.exponent.cmp(&of.exponent) {
            Ordering::Equal => self.digits.is_multiple_of(of.digits),
            Ordering::Greater => multiplied(self.digits % of.digits, power_of_ten(places, of.digits), of.digits) == 0,
            Ordering::Less => {
                // A divisor beyond the range is larger than any digits.
                let divisor = 10_u128.checked_pow(places).and_then(|scale| scale.checked_mul(of.digits));
                divisor.map_or(self.digits == 0, |divisor| self.digits.is_multiple_of(divisor))
            }
        }
    }
}

/// The product of two factors, modulo a number; all are below [`DIGITS_END`].
fn multiplied(a: u128, b: u128, modulus: u128) -> u128 {
    // In two halves of a factor, so that no product overflows.
    const HALF: u32 = 34;
    let (high, low) = (b >> HALF, b & ((1 << HALF) - 1));
    let high = ((a * high % modulus) << HALF) % modulus;
    (high + a * low % modulus) % modulus
}

/// A power of ten, modulo a number.
fn power_of_ten(mut exponent: u32, modulus: u128) -> u128 {
    let (mut power, mut base) = (1 % modulus, 10 % modulus);
    while exponent > 0 {
        if exponent & 1 == 1 {
            power = multiplied(power, base, modulus);
        }
        base = multiplied(base, base, modulus);
        exponent >>= 1;
    }
    power
}

/// `multipleOf`.
struct MultipleOf {
    /// As it is written.
    text: String,
    divisor: Decimal,
}

/// Compiles `multipleOf`.
///
/// # Errors
/// The divisor is not a positive number.
pub(super) fn multiple_of(wanted: &Value) -> Result<Box<dyn for<'i> Keyword<'i>>, ValidationError<'_>> {
    let divisor = wanted.as_number().filter(|divisor| float(divisor) > 0.0).and_then(Decimal::of);
    let Some(divisor) = divisor else {
        return Err(ValidationError::custom(format!("multipleOf: {wanted} is not a positive number")));
    };
    Ok(Box::new(MultipleOf { text: wanted.to_string(), divisor }))
}

impl<'i> Keyword<'i> for MultipleOf {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) {
            return Ok(());
        }
        Err(ValidationError::custom(format!("value is not a multiple of {}", self.text)))
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        match instance {
            Value::Number(number) => Decimal::of(number).is_some_and(|value| value.is_multiple_of(&self.divisor)),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Schema;
    use super::*;

    fn number(value: &Value) -> &Number {
        value.as_number().expect("it is a number")
    }

    fn is_less(a: &Value, b: &Value) -> bool {
        compare(number(a), number(b)).is_lt()
    }

    #[test]
    fn case_43_numbers_are_compared_exactly() {
        assert!(is_less(&json!(9_007_199_254_740_992.0), &json!(9_007_199_254_740_993_u64)));
        assert!(is_less(&json!(1), &json!(1.5)) && is_less(&json!(-1.5), &json!(-1)));
        assert!(is_less(&json!(u64::MAX), &json!(1e40)) && is_less(&json!(-1e40), &json!(i64::MIN)));
        for (a, b) in [(json!(1), json!(1.0)), (json!(0.0), json!(-0.0)), (json!(u64::MAX), json!(u64::MAX))] {
            assert_eq!(compare(number(&a), number(&b)), Ordering::Equal, "{a} {b}");
        }
        assert!(is_whole(number(&json!(1e300))) && is_whole(number(&json!(u64::MAX))));
        assert!(!is_whole(number(&json!(1e-10))));
    }

    #[test]
    fn case_43_numbers_are_divided_exactly() {
        for (value, of) in [
            (json!(10), json!(5)),
            (json!(0), json!(3)),
            (json!(0.0), json!(1e300)),
            (json!(-0.3), json!(0.1)),
            (json!(0.1), json!(0.01)),
            (json!(1.0), json!(0.1)),
            (json!(1e-9), json!(1e-10)),
            (json!(1e308), json!(0.5)),
            (json!(1e300), json!(1e300)),
            (json!(9_007_199_254_740_993_u64), json!(1.5)),
            (json!(9_007_199_254_740_993_u64), json!(3)),
            (json!(u64::MAX), json!(5.0)),
            (json!(1e30), json!(10_000_000_000_000_000_000_u64)),
        ] {
            assert!(is_multiple(number(&value), number(&of)), "{value} {of}");
        }
        for (value, of) in [
            (json!(1e-10), json!(1.0)),
            (json!(0.01), json!(0.1)),
            (json!(1.0), json!(0.3)),
            (json!(1e-300), json!(1.0)),
            (json!(1.000_000_000_1), json!(1.0)),
            (json!(9_007_199_254_740_993_u64), json!(2.0)),
            (json!(1e308), json!(0.123_456_789)),
            (json!(5), json!(1e300)),
            (json!(1e30), json!(9_999_999_999_999_999_999_u64)),
            (json!(5), json!(0)),
        ] {
            assert!(!is_multiple(number(&value), number(&of)), "{value} {of}");
        }
    }

    #[test]
    fn the_keyword_names_the_divisor() {
        let keyword = multiple_of(&json!(1.5)).expect("it is positive");
        assert!(keyword.is_valid(&json!(9_007_199_254_740_993_u64)) && keyword.is_valid(&json!("a")));
        let error = keyword.validate(&json!(1)).expect_err("it is no multiple").to_string();
        assert_eq!(error, "value is not a multiple of 1.5");
        assert!(multiple_of(&json!(0)).is_err());
        let schema = Schema::compile(&json!({"items": {"multipleOf": 0.01}})).expect("it is a schema");
        assert_eq!(schema.check_value(&json!([0.29, "a", 1e20])), Ok(()));
        let violation = schema.check_value(&json!([0.295])).expect_err("it is no multiple");
        assert_eq!((violation.pointer.as_str(), violation.rule.as_str()), ("/0", "multipleOf"));
        assert_eq!(violation.detail, "value is not a multiple of 0.01");
    }
}
