//! The two texts that name a server: a URL and libpq's `key=value` pairs.

use std::collections::BTreeMap;

use super::OptionsError;

/// Keys and values as given; no key twice, no meaning yet.
pub(super) type Given = BTreeMap<String, String>;

/// The scheme of a text that is a URL.
pub(super) fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_letter)).then_some(scheme)
}

/// Reads `postgres://user:password@host:port/database?key=value`.
pub(super) fn from_url(text: &str) -> Result<Given, OptionsError> {
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, database) = rest.split_once('/').map_or((rest, ""), |(authority, database)| (authority, database));
    let mut given = Given::new();
    let hosts = match authority.rsplit_once('@') {
        Some((who, hosts)) => {
            let (user, password) = who.split_once(':').map_or((who, None), |(user, password)| (user, Some(password)));
            set_decoded(&mut given, "user", user)?;
            if let Some(password) = password {
                set_decoded(&mut given, "password", password)?;
            }
            hosts
        }
        None => authority,
    };
    let (host, port) = split_port(hosts)?;
    set_decoded(&mut given, "host", host)?;
    set_decoded(&mut given, "port", port)?;
    set_decoded(&mut given, "dbname", database)?;
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or(OptionsError::Syntax("a URL parameter has no ="))?;
        let key = decode(key)?;
        // JDBC's way to ask for TLS, which libpq takes too.
        if key == "ssl" && value == "true" {
            given.insert("sslmode".to_owned(), "require".to_owned());
        } else {
            given.insert(key, decode(value)?);
        }
    }
    Ok(given)
}

/// Reads `host=localhost port=5432 password='it''s'`, with libpq's quotes and backslashes.
pub(super) fn from_key_values(text: &str) -> Result<Given, OptionsError> {
    let mut given = Given::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(OptionsError::Syntax("missing = after a key"))?;
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(OptionsError::Syntax("missing = after a key"));
        }
        let (value, after) = value(after.trim_start())?;
        given.insert(key.to_owned(), value);
        rest = after.trim_start();
    }
    Ok(given)
}

/// One value and what follows it.
fn value(text: &str) -> Result<(String, &str), OptionsError> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices().skip(usize::from(quoted));
    while let Some((place, character)) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some((_, escaped)) => value.push(escaped),
                None => break,
            },
            '\'' if quoted => return Ok((value, &text[place + 1..])),
            character if character.is_whitespace() && !quoted => return Ok((value, &text[place..])),
            character => value.push(character),
        }
    }
    if quoted { Err(OptionsError::Syntax("a quoted value has no closing quote")) } else { Ok((value, "")) }
}

/// Cuts the port off a URL's host; an IPv6 address stands in brackets.
fn split_port(host: &str) -> Result<(&str, &str), OptionsError> {
    if host.contains(',') {
        return Err(OptionsError::SeveralHosts);
    }
    if let Some(bracketed) = host.strip_prefix('[') {
        let (address, after) = bracketed.split_once(']').ok_or(OptionsError::Syntax("a [ in the host has no ]"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((address, port)),
            None if after.is_empty() => Ok((address, "")),
            None => Err(OptionsError::Syntax("something other than a port follows the ] of the host")),
        };
    }
    Ok(host.split_once(':').unwrap_or((host, "")))
}

fn set_decoded(given: &mut Given, key: &str, value: &str) -> Result<(), OptionsError> {
    if !value.is_empty() {
        given.insert(key.to_owned(), decode(value)?);
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, OptionsError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let digit = |index: usize| after.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(OptionsError::Syntax("a % in the URL is not followed by two hexadecimal digits"));
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte"));
        rest = &after[2..];
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(OptionsError::Syntax("a part of the URL is not UTF-8, or holds a zero byte")),
    }
}
