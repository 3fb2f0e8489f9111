//! The trace context that Quarkus' Debezium outbox extension writes in the column `tracingspancontext`: the text of
//! Java's `Properties`, such as `#Mon Nov 30 12:00:00 UTC 2026\ntraceparent=00-...-01\n`.

/// The headers of W3C Trace Context and Baggage. No others, so that a writer can set no other header through this column.
const PROPAGATED: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// The headers of a trace context, in a fixed order. What is no such property is skipped.
pub(super) fn headers(text: &[u8]) -> Vec<(&'static str, String)> {
    let text = String::from_utf8_lossy(text);
    let properties = properties(&text);
    let value = |name: &str| {
        // The last one counts, as in a hash table.
        let found = properties.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    PROPAGATED.iter().filter_map(|name| value(name).map(|value| (*name, value))).collect()
}

/// Reads properties as `java.util.Properties.load` does.
fn properties(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut lines = text.split(['\n', '\r']);
    while let Some(line) = lines.next() {
        let line = line.trim_start_matches(is_white);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut line = line.to_owned();
        while ends_in_continuation(&line) {
            line.pop();
            let Some(next) = lines.next() else { break };
            line.push_str(next.trim_start_matches(is_white));
        }
        let (key, value) = line.split_at(key_end(&line));
        let value = value.trim_start_matches(is_white);
        let value = value.strip_prefix(['=', ':']).unwrap_or(value).trim_start_matches(is_white);
        found.push((unescaped(key), unescaped(value)));
    }
    found
}

const fn is_white(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0C')
}

/// Whether the line ends in an odd number of backslashes.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// Where the key ends: at the first `=`, `:` or white space that is not escaped.
fn key_end(line: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '=' | ':' => return at,
            _ if is_white(c) => return at,
            _ => {}
        }
    }
    line.len()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\x0C'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                plain.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).unwrap_or('\u{FFFD}'));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_context_of_quarkus_gives_its_headers() {
        // As `Properties.store` writes it.
        let text = format!("#Mon Nov 30 12:00:00 UTC 2026\ntracestate=a\\=1,b\\:2\ntraceparent={PARENT}\n");
        let expected = [("traceparent", PARENT.to_owned()), ("tracestate", "a=1,b:2".to_owned())];
        assert_eq!(headers(text.as_bytes()), expected);
    }

    #[test]
    fn properties_are_read_as_java_reads_them() {
        for (text, expected) in [
            ("traceparent = a", Some("a")),
            ("  traceparent:a\r\n", Some("a")),
            ("traceparent a", Some("a")),
            ("traceparent=a\ntraceparent=b", Some("b")),
            ("trace\\\n   parent=a", Some("a")),
            ("traceparent=\\u0061\\\\\\t", Some("a\\\t")),
            ("trace\\u0070arent=a", Some("a")),
            ("traceparent=a \\", Some("a ")),
            ("!traceparent=a", None),
            ("traceparent", None),
            ("traceparent\\=a", None),
            ("spanid=1", None),
            ("{\"traceparent\": \"a\"}", None),
            ("", None),
        ] {
            let found = headers(text.as_bytes());
            let found = found.first().map(|(name, value)| (*name, value.as_str()));
            assert_eq!(found, expected.map(|value| ("traceparent", value)), "{text:?}");
        }
        assert_eq!(headers(b"\xFF\\u").len(), 0);
    }
}
