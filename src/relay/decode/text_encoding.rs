//! Converts the stream's text from the database's encoding to UTF-8.
//!
//! Postgres would convert row by row while sending, and a row that it can't convert ends the stream, at the same
//! place each time. So the relay asks for the bytes as stored, and refuses a row that can't be converted like any
//! other bad row. The conversions are the same as Postgres's own (`src/backend/utils/mb/Unicode`);
//! `source/tests/encodings.rs` compares them.

use std::borrow::Cow;

use encoding_rs as table;

/// How a database encodes text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, or Postgres converts to it. Nothing is converted here.
    #[default]
    Utf8,
    /// `SQL_ASCII`: Postgres checks nothing. What is valid UTF-8 is text.
    Unchecked,
    /// Postgres's name of the encoding, and how to decode it.
    Converted(&'static str, CharacterSet),
}

/// How the bytes of an encoding map to characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharacterSet {
    /// ISO 8859-1, each byte a character.
    Latin1,
    /// ISO 8859-9: six characters differ from ISO 8859-1.
    Latin5,
    Standard(&'static table::Encoding),
}

const LATIN5: &[(char, char)] = &[
    ('\u{d0}', '\u{11e}'),
    ('\u{dd}', '\u{130}'),
    ('\u{de}', '\u{15e}'),
    ('\u{f0}', '\u{11f}'),
    ('\u{fd}', '\u{131}'),
    ('\u{fe}', '\u{15f}'),
];

/// Postgres's mapping of 0x8FF3F3 to 0x8FF3FE and 0x8FF4A1 to 0x8FF4FE in EUC_JP, IBM's extensions to JIS X 0212.
const EUC_JP_IBM: [u16; 106] = [
    0x2170, 0x2171, 0x2172, 0x2173, 0x2174, 0x2175, 0x2176, 0x2177, 0x2178, 0x2179, 0x2160, 0x2161, 0x2162, 0x2163,
    0x2164, 0x2165, 0x2166, 0x2167, 0x2168, 0x2169, 0xFF07, 0xFF02, 0x3231, 0x2116, 0x2121, 0x70BB, 0x4EFC, 0x50F4,
    0x51EC, 0x5307, 0x5324, 0xFA0E, 0x548A, 0x5759, 0xFA0F, 0xFA10, 0x589E, 0x5BEC, 0x5CF5, 0x5D53, 0xFA11, 0x5FB7,
    0x6085, 0x6120, 0x654E, 0x663B, 0x6665, 0xFA12, 0xF929, 0x6801, 0xFA13, 0xFA14, 0x6A6B, 0x6AE2, 0x6DF8, 0x6DF2,
    0x7028, 0xFA15, 0xFA16, 0x7501, 0x7682, 0x769E, 0xFA17, 0x7930, 0xFA18, 0xFA19, 0xFA1A, 0xFA1B, 0x7AE7, 0xFA1C,
    0xFA1D, 0x7DA0, 0x7DD6, 0xFA1E, 0x8362, 0xFA1F, 0x85B0, 0xFA20, 0xFA21, 0x8807, 0xFA22, 0x8B7F, 0x8CF4, 0x8D76,
    0xFA23, 0xFA24, 0xFA25, 0x90DE, 0xFA26, 0x9115, 0xFA27, 0xFA28, 0x9592, 0xF9DC, 0xFA29, 0x973B, 0x974D, 0x9751,
    0xFA2A, 0xFA2B, 0xFA2C, 0x999E, 0x9AD9, 0x9B72, 0xFA2D, 0x9ED1,
];

impl Encoding {
    /// The encoding of a database by its `server_encoding`; `None` if only Postgres can convert it.
    #[must_use]
    pub fn of(server_encoding: &str) -> Option<Self> {
        let (name, table) = match server_encoding {
            "UTF8" => return Some(Self::Utf8),
            "SQL_ASCII" => return Some(Self::Unchecked),
            "LATIN1" => ("LATIN1", CharacterSet::Latin1),
            "LATIN5" => ("LATIN5", CharacterSet::Latin5),
            other => {
                let (name, table) = STANDARD.iter().find(|(name, _)| *name == other)?;
                (*name, CharacterSet::Standard(table))
            }
        };
        Some(Self::Converted(name, table))
    }

    /// Postgres's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF8",
            Self::Unchecked => "SQL_ASCII",
            Self::Converted(name, _) => name,
        }
    }

    /// The text as UTF-8; `None` if the bytes are invalid in this encoding.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        let Self::Converted(name, table) = self else { return std::str::from_utf8(bytes).ok().map(Cow::Borrowed) };
        match table {
            CharacterSet::Latin1 => Some(table::mem::decode_latin1(bytes)),
            CharacterSet::Latin5 => Some(renamed(table::mem::decode_latin1(bytes), LATIN5)),
            CharacterSet::Standard(table) => match table.decode_without_bom_handling_and_without_replacement(bytes) {
                Some(text) => Some(renamed(text, deviations(name))),
                None => by_character(name, table, bytes),
            },
        }
    }

    /// Text in this encoding; `None` if it has a character that the encoding lacks.
    #[must_use]
    pub fn encode(self, text: &str) -> Option<Cow<'_, [u8]>> {
        let Self::Converted(name, table) = self else { return Some(text.as_bytes().into()) };
        if text.is_ascii() {
            return Some(text.as_bytes().into());
        }
        let back = |pairs: &[(char, char)]| -> String {
            let find = |character: char| pairs.iter().find(|(_, ours)| *ours == character).map(|(theirs, _)| *theirs);
            text.chars().map(|character| find(character).unwrap_or(character)).collect()
        };
        let bytes = match table {
            CharacterSet::Latin1 => one_byte_each(text)?,
            CharacterSet::Latin5 => one_byte_each(&back(LATIN5))?,
            CharacterSet::Standard(table) => table.encode(&back(deviations(name))).0.into_owned(),
        };
        // A character that the encoding lacks comes back as something else.
        (self.decode(&bytes)? == text).then_some(Cow::Owned(bytes))
    }
}

fn one_byte_each(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

/// Postgres's names of encodings, except ISO 8859-1 and -9. EUC_TW, EUC_JIS_2004 and MULE_INTERNAL have no table.
const STANDARD: &[(&str, &table::Encoding)] = &[
    ("LATIN2", table::ISO_8859_2),
    ("LATIN3", table::ISO_8859_3),
    ("LATIN4", table::ISO_8859_4),
    ("LATIN6", table::ISO_8859_10),
    ("LATIN7", table::ISO_8859_13),
    ("LATIN8", table::ISO_8859_14),
    ("LATIN9", table::ISO_8859_15),
    ("LATIN10", table::ISO_8859_16),
    ("ISO_8859_5", table::ISO_8859_5),
    ("ISO_8859_6", table::ISO_8859_6),
    ("ISO_8859_7", table::ISO_8859_7),
    ("ISO_8859_8", table::ISO_8859_8),
    ("KOI8R", table::KOI8_R),
    ("KOI8U", table::KOI8_U),
    ("WIN866", table::IBM866),
    ("WIN874", table::WINDOWS_874),
    ("WIN1250", table::WINDOWS_1250),
    ("WIN1251", table::WINDOWS_1251),
    ("WIN1252", table::WINDOWS_1252),
    ("WIN1253", table::WINDOWS_1253),
    ("WIN1254", table::WINDOWS_1254),
    ("WIN1255", table::WINDOWS_1255),
    ("WIN1256", table::WINDOWS_1256),
    ("WIN1257", table::WINDOWS_1257),
    ("WIN1258", table::WINDOWS_1258),
    ("EUC_CN", table::GBK),
    ("EUC_JP", table::EUC_JP),
    ("EUC_KR", table::EUC_KR),
];

/// Characters that Postgres maps differently from the standard's tables.
fn deviations(name: &str) -> &'static [(char, char)] {
    match name {
        "KOI8U" => &[('\u{45e}', '\u{255d}'), ('\u{40e}', '\u{256c}')],
        "EUC_CN" => &[('\u{b7}', '\u{30fb}'), ('\u{2014}', '\u{2015}')],
        "EUC_JP" => &[('\u{a6}', '\u{ffe4}')],
        _ => &[],
    }
}

fn renamed<'a>(text: Cow<'a, str>, pairs: &[(char, char)]) -> Cow<'a, str> {
    if !text.chars().any(|found| pairs.iter().any(|(theirs, _)| *theirs == found)) {
        return text;
    }
    let find = |found: char| pairs.iter().find(|(theirs, _)| *theirs == found).map_or(found, |(_, ours)| *ours);
    Cow::Owned(text.chars().map(find).collect())
}

/// Decodes text with a character that the standard's table lacks, one character at a time.
fn by_character(name: &str, table: &'static table::Encoding, bytes: &[u8]) -> Option<Cow<'static, str>> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = match first {
            0..0x80 => 1,
            0x8F if name == "EUC_JP" => 3,
            _ if name.starts_with("EUC") => 2,
            _ => 1,
        };
        let (character, behind) = rest.split_at_checked(length)?;
        match lacking(name, character) {
            Some(character) => text.push(character),
            None => {
                let known = table.decode_without_bom_handling_and_without_replacement(character)?;
                text.push_str(&renamed(known, deviations(name)));
            }
        }
        rest = behind;
    }
    Some(Cow::Owned(text))
}

fn lacking(name: &str, character: &[u8]) -> Option<char> {
    let index = match (name, character) {
        ("EUC_KR", [0xA2, 0xE8]) => return Some('\u{327e}'),
        ("EUC_JP", [0x8F, 0xF3, low @ 0xF3..=0xFE]) => low - 0xF3,
        ("EUC_JP", [0x8F, 0xF4, low @ 0xA1..=0xFE]) => low - 0xA1 + 12,
        _ => return None,
    };
    char::from_u32(EUC_JP_IBM[usize::from(index)].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Encoding {
        Encoding::of(name).expect("it is known")
    }

    #[test]
    fn text_is_converted_as_postgres_does() {
        for (name, bytes, text) in [
            ("LATIN1", &b"k-\xe9\x80"[..], "k-\u{e9}\u{80}"),
            ("LATIN5", b"\xfe\xe9\x80", "\u{15f}\u{e9}\u{80}"),
            ("KOI8U", b"\xae\xc1", "\u{255d}\u{430}"),
            ("EUC_CN", b"\xa1\xa4", "\u{30fb}"),
            ("EUC_JP", b"a\x8f\xf4\xfe\xa4\xa2", "a\u{9ed1}\u{3042}"),
            ("EUC_KR", b"\xa2\xe8\xb0\xa1", "\u{327e}\u{ac00}"),
            ("SQL_ASCII", "\u{e9}".as_bytes(), "\u{e9}"),
        ] {
            assert_eq!(of(name).decode(bytes).as_deref(), Some(text), "{name}");
        }
    }

    #[test]
    fn case_33_bytes_that_are_no_character_are_not_text() {
        assert_eq!(of("SQL_ASCII").decode(b"k-\xe9"), None);
        assert_eq!(of("EUC_JP").decode(b"a\xa4"), None);
        assert_eq!(of("ISO_8859_6").decode(b"\xff"), None);
        for name in ["EUC_TW", "EUC_JIS_2004", "MULE_INTERNAL", "utf8"] {
            assert_eq!(Encoding::of(name), None);
        }
    }

    #[test]
    fn names_are_encoded_or_refused() {
        assert_eq!(of("LATIN1").encode("\u{e9}").as_deref(), Some(&b"\xe9"[..]));
        assert_eq!(of("LATIN5").encode("\u{15f}").as_deref(), Some(&b"\xfe"[..]));
        assert_eq!(of("EUC_CN").encode("\u{30fb}").as_deref(), Some(&b"\xa1\xa4"[..]));
        assert_eq!(of("LATIN1").encode("\u{20ac}"), None);
        assert_eq!(of("WIN1251").encode("\u{e9}"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_text_or_none(name in 0..STANDARD.len(), bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = of(STANDARD[name].0).decode(&bytes);
        }
    }
}
