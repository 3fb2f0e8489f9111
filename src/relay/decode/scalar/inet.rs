//! Network addresses as text.

use std::fmt::Write;

/// `inet` or `cidr` as text (`network_send`): the family, the network bits, whether it is `cidr`, and the address.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let (&[family, bits, is_cidr, length], address) = bytes.split_first_chunk()?;
    if usize::from(length) != address.len() {
        return None;
    }
    let (mut text, whole) = match family {
        2 => (v4(address.try_into().ok()?), 32),
        3 => (v6(address.try_into().ok()?)?, 128),
        _ => return None,
    };
    if bits > whole {
        return None;
    }
    if is_cidr != 0 || bits != whole {
        write!(text, "/{bits}").ok()?;
    }
    Some(text)
}

fn v4([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

/// As Postgres's `pg_inet_net_ntop` formats it: the longest run of zeros is left out, and the last four bytes of an
/// IPv4 address in IPv6 are written in dotted form.
fn v6(address: [u8; 16]) -> Option<String> {
    let (pairs, _) = address.as_chunks::<2>();
    let words: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    let mut best = 0..0;
    let mut start = 0;
    for end in 1..=words.len() {
        if words[end - 1] != 0 {
            start = end;
        } else if end - start > best.len() {
            best = start..end;
        }
    }
    if best.len() < 2 {
        best = 0..0;
    }
    let holds_v4 = best.start == 0 && (best.len() == 6 || best.len() == 5 && words[5] == 0xFFFF);
    let mut text = String::new();
    for (place, word) in words.iter().enumerate() {
        if best.contains(&place) {
            if place == best.start {
                text.push(':');
            }
            continue;
        }
        if place > 0 {
            text.push(':');
        }
        if place == 6 && holds_v4 {
            text.push_str(&v4(address[12..].try_into().ok()?));
            return Some(text);
        }
        write!(text, "{word:x}").ok()?;
    }
    if !best.is_empty() && best.end == words.len() {
        text.push(':');
    }
    Some(text)
}
