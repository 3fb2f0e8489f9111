//! What `--kafka-property` takes.

/// A property as NAME=VALUE.
pub(super) fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_has_a_name_and_may_hold_equals_signs() {
        assert_eq!(property("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(property("=c").is_err() && property("a").is_err());
    }
}
