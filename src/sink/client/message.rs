//! The one conversion of a message of librdkafka, consumed or returned, into a record.

use rdkafka::message::{BorrowedMessage, Message};

use super::native;
use crate::relay::boundary::{OwnedRecord, Record};

/// A copy of a message.
pub(crate) struct CopiedMessage {
    /// A record without a timestamp has [`Record::NO_TIME`], as has one that was not delivered.
    pub(crate) record: OwnedRecord,
    /// Whether all header names are UTF-8: others can't be written again unchanged.
    pub(crate) is_text: bool,
}

impl CopiedMessage {
    pub(crate) fn of(message: &BorrowedMessage<'_>) -> Self {
        let mut is_text = true;
        let headers = native::headers(message).into_iter().map(|(name, value)| {
            let name = String::from_utf8(name).unwrap_or_else(|error| {
                is_text = false;
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            });
            (name, value)
        });
        let record = OwnedRecord {
            topic: message.topic().to_owned(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.collect(),
            timestamp_millis: message.timestamp().to_millis().unwrap_or(Record::NO_TIME),
        };
        Self { record, is_text }
    }
}
