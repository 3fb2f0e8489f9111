//! Plain scalars.

use serde_json::{Number, Value};

/// A plain scalar by the core schema of YAML 1.2 (section 10.3.2); `None` if it is a number that JSON can't represent.
pub(super) fn resolve(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "true" | "True" | "TRUE" => return Some(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Value::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return None;
    }
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Value::from);
    if let Some(digits) = text.strip_prefix("0x").filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return radix(digits, 16);
    }
    if let Some(digits) =
        text.strip_prefix("0o").filter(|d| !d.is_empty() && d.bytes().all(|b| matches!(b, b'0'..=b'7')))
    {
        return radix(digits, 8);
    }
    if !is_number(unsigned) {
        return Some(Value::String(text.to_owned()));
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = plain.parse::<i64>() {
        return Some(Value::from(number));
    }
    if let Ok(number) = plain.parse::<u64>() {
        return Some(Value::from(number));
    }
    plain.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}

/// `[0-9]+ ( \. [0-9]* )?` or `\. [0-9]+`, then perhaps an exponent.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let is_mantissa = match mantissa.split_once('.') {
        None => digits(mantissa),
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
    };
    is_mantissa && exponent.is_none_or(digits)
}
