//! Relation messages of databases whose encoding is not UTF-8.

use super::{DecodeError, Reader};
use crate::relay::decode::text_encoding::Encoding;

/// A Relation message with its names converted to UTF-8; what can't be converted is replaced, so it matches nothing
/// that is configured.
///
/// # Errors
/// As [`decode`](super::decode).
pub fn convert_relation(bytes: &[u8], encoding: Encoding) -> Result<Vec<u8>, DecodeError> {
    fn take<'a>(reader: &mut Reader<'a>, count: usize, into: &mut Vec<u8>) -> Result<&'a [u8], DecodeError> {
        let taken = reader.take(count, "a Relation message")?;
        into.extend_from_slice(taken);
        Ok(taken)
    }
    let name = |reader: &mut Reader<'_>, into: &mut Vec<u8>| -> Result<(), DecodeError> {
        let name = reader.c_string("a name in a Relation message")?;
        match encoding.decode(name) {
            Some(name) => into.extend_from_slice(name.as_bytes()),
            None => into.extend_from_slice(String::from_utf8_lossy(name).as_bytes()),
        }
        into.push(0);
        Ok(())
    };
    let mut reader = Reader::new(bytes);
    let mut converted = Vec::with_capacity(bytes.len() + 64);
    take(&mut reader, 5, &mut converted)?;
    name(&mut reader, &mut converted)?;
    name(&mut reader, &mut converted)?;
    take(&mut reader, 1, &mut converted)?;
    let count = take(&mut reader, 2, &mut converted)?;
    for _ in 0..u16::from_be_bytes([count[0], count[1]]) {
        take(&mut reader, 1, &mut converted)?;
        name(&mut reader, &mut converted)?;
        take(&mut reader, 8, &mut converted)?;
    }
    converted.extend_from_slice(reader.rest());
    Ok(converted)
}
