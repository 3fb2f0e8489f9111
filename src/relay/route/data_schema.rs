//! `ce_dataschema`: a schema version's absolute URI, as CloudEvents 1.0 requires. SDKs drop an event whose
//! `dataschema` is relative.

/// The default base of the URIs.
pub const DEFAULT_BASE: &str = "urn:walpost:schema:";

/// `<base><name>/<version>`, with name and version percent-encoded, `/` included: so the last `/` separates the two.
#[must_use]
pub fn uri(base: &str, name: &str, version: &str) -> String {
    let mut uri = String::with_capacity(base.len() + name.len() + version.len() + 1);
    uri.push_str(base);
    push_encoded(&mut uri, name);
    uri.push('/');
    push_encoded(&mut uri, version);
    uri
}

/// The version in the `ce_dataschema` of an event of schema `name`, whatever base the relay that wrote it had.
/// Earlier releases wrote `<name>/<version>` unencoded. `None` if it names another schema.
#[must_use]
pub fn version_of(data_schema: &str, name: &str) -> Option<String> {
    let absolute = || {
        let (path, version) = data_schema.rsplit_once('/')?;
        let base = path.strip_suffix(percent_encoded(name).as_str())?;
        is_absolute(base).then(|| percent_decoded(version))?
    };
    let relative = || Some(data_schema.strip_prefix(name)?.strip_prefix('/')?.to_owned());
    absolute().or_else(relative)
}

/// Whether it starts with a scheme (RFC 3986, 3.1).
#[must_use]
pub fn is_absolute(uri: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(legal)
    })
}

/// Percent-encodes a text as a path segment: everything that is not a `pchar` of RFC 3986.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    push_encoded(&mut encoded, text);
    encoded
}

fn push_encoded(to: &mut String, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            to.push(char::from(byte));
        } else {
            to.extend(['%', DIGITS[usize::from(byte >> 4)].into(), DIGITS[usize::from(byte & 0xF)].into()]);
        }
    }
}

/// `None` if it is not percent-encoded UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        decoded.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_42_a_data_schema_is_an_absolute_uri() {
        let of = |name, version| uri(DEFAULT_BASE, name, version);
        assert_eq!(of("order.placed", "2.1.0"), "urn:walpost:schema:order.placed/2.1.0");
        assert_eq!(of("größe/ü %", "2/x?"), "urn:walpost:schema:gr%C3%B6%C3%9Fe%2F%C3%BC%20%25/2%2Fx%3F");
        assert_eq!(uri("https://schemas.example.com/", "a", "1"), "https://schemas.example.com/a/1");
        for absolute in [DEFAULT_BASE, "https://x/", "a+b-c.d:"] {
            assert!(is_absolute(absolute), "{absolute}");
        }
        for relative in ["", "/a", "a/b:c", ":x", "1a:x", "order.placed/1"] {
            assert!(!is_absolute(relative), "{relative}");
        }
    }

    #[test]
    fn case_42_the_version_is_read_from_relative_and_absolute_forms_of_any_base() {
        let version = |data_schema: &str, name: &str| version_of(data_schema, name);
        for base in [DEFAULT_BASE, "https://schemas.example.com/v1/", "x:"] {
            for (name, text) in [("order.placed", "2"), ("a/b", "2/x"), ("größe %", "β%41"), ("urn:a", "1")] {
                assert_eq!(version(&uri(base, name, text), name).as_deref(), Some(text), "{base} {name}");
                assert_eq!(version(&format!("{name}/{text}"), name).as_deref(), Some(text), "{name}");
            }
        }
        for (data_schema, name) in [
            ("b/1", "a"),
            ("urn:walpost:schema:b/1", "a"),
            ("urn:walpost:schema:a", "a"),
            ("urn:walpost:schema:a/%zz", "a"),
            ("urn:walpost:schema:a/%C3", "a"),
            ("", "a"),
        ] {
            assert_eq!(version(data_schema, name), None, "{data_schema}");
        }
    }

    proptest! {
        #[test]
        fn every_name_and_version_comes_back(name in ".{1,20}", version in ".{0,20}") {
            let uri = uri(DEFAULT_BASE, &name, &version);
            prop_assert!(uri.is_ascii());
            prop_assert_eq!(version_of(&uri, &name), Some(version));
        }
    }
}
