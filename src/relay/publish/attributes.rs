//! Names that CloudEvents allows for attributes, which are headers with the prefix `ce_`.

/// Whether a CloudEvent may have a header of this name: after the attribute prefix, in any case, only `a-z` and `0-9`.
///
/// SDKs reject a whole event because of another name, and the Java client stops at it; and some read names
/// case-insensitively, so `CE_ID` would pass for the relay's own `ce_id`.
#[must_use]
pub fn is_header_of_event(name: &str) -> bool {
    match name.split_at_checked(3) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("ce_") => {
            let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            prefix == "ce_" && !rest.is_empty() && rest.bytes().all(is_legal)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_42_attributes_have_lower_case_letters_and_digits() {
        for legal in ["ce_tenant7", "ce-x", "traceparent", "ü", "ce", ""] {
            assert!(is_header_of_event(legal), "{legal}");
        }
        for illegal in ["ce_my-ext", "CE_id", "Ce_id", "ce_Id", "ce_", "ce_ü"] {
            assert!(!is_header_of_event(illegal), "{illegal}");
        }
    }
}
