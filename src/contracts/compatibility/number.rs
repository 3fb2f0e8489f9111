//! Values as JSON Schema compares them: numbers exactly, however they are written.

use serde_json::Value;
use walpost_producer::schema::number;

/// Whether one number is less than another.
pub(super) fn less(a: &Value, b: &Value) -> bool {
    a.as_number().zip(b.as_number()).is_some_and(|(a, b)| number::compare(a, b).is_lt())
}

/// Equality by JSON Schema: 1 and 1.0 are equal.
pub(in crate::contracts) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => number::compare(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Whether a number is a multiple of another, as the check divides.
pub(super) fn is_multiple(value: &Value, of: &Value) -> bool {
    value.as_number().zip(of.as_number()).is_some_and(|(value, of)| number::is_multiple(value, of))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_equal_as_json_schema_says() {
        assert!(equal(&json!(1), &json!(1.0)) && equal(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!equal(&json!(1), &json!(true)) && !equal(&json!([1]), &json!([1, 1])));
        assert!(less(&json!(1), &json!(1.5)) && !less(&json!("a"), &json!("b")));
    }
}
