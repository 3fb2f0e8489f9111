//! Values as JSON Schema compares them: numbers exactly, however they are written.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// Largest magnitude up to which every whole number is exact as a float, which is how the validator reads divisors.
const EXACT_MAX: i128 = 1 << 53;

/// Whether one number is less than another.
pub(super) fn less(a: &Value, b: &Value) -> bool {
    order(a, b) == Some(Ordering::Less)
}

/// Equality by JSON Schema: 1 and 1.0 are equal.
pub(in crate::contracts) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => order(a, b) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => order_with_float(a, b.as_f64()?),
        (None, Some(b)) => order_with_float(b, a.as_f64()?).map(Ordering::reverse),
        (None, None) => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// A number that is written as a whole one.
fn whole(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// Without rounding the whole number to a float.
fn order_with_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.abs() >= 1e30 {
        return 0.0.partial_cmp(&float);
    }
    let floor = float.floor();
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked, and a whole number of it is exact")]
    let order = whole.cmp(&(floor as i128));
    Some(if order.is_eq() && float > floor { Ordering::Less } else { order })
}

/// Whether a number is a multiple of another, for certain: in decimal, as the validator divides.
pub(super) fn is_multiple(value: &Value, of: &Value) -> bool {
    if equal(value, of) {
        return true;
    }
    let (Some(value), Some(of)) = (Decimal::of(value), Decimal::of(of)) else { return false };
    let shared = value.exponent.min(of.exponent);
    match (value.at(shared), of.at(shared)) {
        (Some(value), Some(of)) => of != 0 && value % of == 0,
        _ => false,
    }
}

/// `digits * 10^exponent`.
struct Decimal {
    digits: i128,
    exponent: i32,
}

impl Decimal {
    /// `None` if the validator would round it.
    fn of(value: &Value) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        if let Some(digits) = whole(value) {
            return (digits.abs() <= EXACT_MAX).then_some(Self { digits, exponent: 0 });
        }
        Self::parse(number).filter(|decimal| decimal.digits.abs() <= EXACT_MAX)
    }

    /// From the shortest text of a float.
    fn parse(number: &Number) -> Option<Self> {
        let text = number.to_string();
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let exponent = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
        Some(Self { digits, exponent })
    }

    /// The digits with another exponent, which is no higher.
    fn at(&self, exponent: i32) -> Option<i128> {
        let places = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.digits.checked_mul(10_i128.checked_pow(places)?)
    }
}

/// Whether a number has no fraction.
pub(super) fn is_whole(number: &Number) -> bool {
    number.as_f64().is_none_or(|value| value.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn case_43_numbers_are_compared_and_divided_exactly() {
        assert!(less(&json!(9_007_199_254_740_992.0), &json!(9_007_199_254_740_993_u64)));
        assert!(!equal(&json!(9_007_199_254_740_992.0), &json!(9_007_199_254_740_993_u64)));
        assert!(equal(&json!(1), &json!(1.0)) && equal(&json!(u64::MAX), &json!(u64::MAX)));
        assert!(less(&json!(1), &json!(1.5)) && less(&json!(-1.5), &json!(-1)) && less(&json!(u64::MAX), &json!(1e40)));
        for (value, of) in [(10, 5), (0, 3)] {
            assert!(is_multiple(&json!(value), &json!(of)), "{value} {of}");
        }
        for (value, of) in [(0.1, 0.01), (1.0, 0.1), (1e-9, 1e-10), (5.0, 5.0), (1e300, 1e300)] {
            assert!(is_multiple(&json!(value), &json!(of)), "{value} {of}");
        }
        for (value, of) in [(1e-10, 1.0), (0.01, 0.1), (1.0, 0.3), (1e-300, 1.0), (1.000_000_000_1, 1.0)] {
            assert!(!is_multiple(&json!(value), &json!(of)), "{value} {of}");
        }
        assert!(is_whole(&Number::from_f64(1e300).expect("it is finite")) && is_whole(&Number::from(u64::MAX)));
        assert!(!is_whole(&Number::from_f64(1e-10).expect("it is finite")));
    }
}
