//! The messages of the simulator's Postgres, in pgoutput format.

use walpost::relay::boundary::Lsn;

use crate::postgres::{Kind, Row};

pub(crate) const TABLE: u32 = 16_500;
pub(crate) const FOREIGN_TABLE: u32 = 16_600;
/// A type that the relay has to look up before it can read the first row.
const EXTENSION_TYPE: u32 = 16_700;

fn copy_data(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len() + 4).expect("a short message");
    [&b"d"[..], &length.to_be_bytes(), body].concat()
}

fn xlog_data(message: &[u8]) -> Vec<u8> {
    copy_data(&[&b"w"[..], &[0; 24], message].concat())
}

pub(crate) fn keepalive(end: Lsn) -> Vec<u8> {
    copy_data(&[&b"k"[..], &end.0.to_be_bytes(), &[0; 9]].concat())
}

pub(crate) fn begin(commit: Lsn, at: u64) -> Vec<u8> {
    xlog_data(&[&b"B"[..], &commit.0.to_be_bytes(), &at.to_be_bytes(), &[0; 4]].concat())
}

pub(crate) fn commit(commit: Lsn, end: Lsn) -> Vec<u8> {
    xlog_data(&[&b"C\0"[..], &commit.0.to_be_bytes(), &end.0.to_be_bytes(), &[0; 8]].concat())
}

pub(crate) fn relation(oid: u32, namespace: &str, name: &str) -> Vec<u8> {
    let columns: [(&str, u32); 5] =
        [("id", 25), ("schema_name", 25), ("schema_version", 25), ("key", EXTENSION_TYPE), ("payload", 114)];
    let mut message = [&b"R"[..], &oid.to_be_bytes()].concat();
    for text in [namespace, name] {
        message.extend_from_slice(text.as_bytes());
        message.push(0);
    }
    message.extend_from_slice(b"d\0\x05");
    for (column, type_oid) in columns {
        message.push(0);
        message.extend_from_slice(column.as_bytes());
        message.push(0);
        message.extend_from_slice(&type_oid.to_be_bytes());
        message.extend_from_slice(&(-1_i32).to_be_bytes());
    }
    xlog_data(&message)
}

pub(crate) fn change(row: &Row) -> Vec<u8> {
    let (schema, payload) = (row.schema(), row.payload());
    if row.kind == Kind::Message {
        let payload = payload.expect("a message has a payload");
        let content = format!(
            r#"{{"id":"{}","schema_name":"{schema}","schema_version":"1","key":"{}","payload":{payload}}}"#,
            row.number, row.key
        );
        let length = i32::try_from(content.len()).expect("a short message").to_be_bytes();
        return xlog_data(&[&b"M\x01"[..], &[0; 8], b"outbox\0", &length, content.as_bytes()].concat());
    }
    let table = if row.kind == Kind::Foreign { FOREIGN_TABLE } else { TABLE };
    let mut message = [&b"I"[..], &table.to_be_bytes(), b"N\0\x05"].concat();
    let (id, key) = (row.number.to_string(), row.key.to_string());
    for value in [Some(id.as_str()), Some(schema), Some("1"), Some(key.as_str()), payload.as_deref()] {
        let Some(value) = value else {
            message.push(b'n');
            continue;
        };
        message.push(b'b');
        message.extend_from_slice(&i32::try_from(value.len()).expect("a short value").to_be_bytes());
        message.extend_from_slice(value.as_bytes());
    }
    xlog_data(&message)
}
