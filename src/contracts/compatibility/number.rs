//! Values as JSON Schema compares them.

use std::cmp::Ordering;

use serde_json::Value;

/// Whether one number is less than another; integers exactly.
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
    let whole = |value: &Value| value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Whether a number is a multiple of another.
pub(super) fn is_multiple(value: &Value, of: &Value) -> bool {
    match (value.as_i64(), of.as_i64(), value.as_f64(), of.as_f64()) {
        (Some(value), Some(of), ..) => of != 0 && value.checked_rem(of) == Some(0),
        (_, _, Some(value), Some(of)) => {
            let quotient = value / of;
            quotient.is_finite() && (quotient - quotient.round()).abs() < 1e-9
        }
        _ => false,
    }
}
