//! Copies of records, many in one allocation. What is no longer needed is freed at once, and makes room for the copies
//! of the next transaction.

use std::collections::{BTreeMap, VecDeque};

use crate::relay::boundary::{Header, OwnedRecord, Record, Ticket};

/// The length of a null value. Every other is below it: librdkafka's largest record is a gigabyte.
const NULL: u32 = u32::MAX;

/// The size of an allocation, in bytes; a larger record has its own.
const BLOCK_BYTES: usize = 256 * 1024;

/// Copied records, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Copies {
    list: VecDeque<Copied>,
    blocks: VecDeque<Vec<u8>>,
    /// How many blocks have been freed before those.
    freed: usize,
    bytes: usize,
}

/// A record's place in the blocks.
#[derive(Clone, Copy, Debug)]
struct Copied {
    ticket: Ticket,
    timestamp_millis: i64,
    /// Counted from the first block, which may have been freed.
    block: usize,
    start: usize,
    bytes: usize,
}

impl Copies {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The size of all, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn tickets(&self) -> impl Iterator<Item = Ticket> {
        self.list.iter().map(|copied| copied.ticket)
    }

    /// Copies a record, which must be small enough for librdkafka.
    pub(super) fn push(&mut self, ticket: Ticket, record: &Record<'_>) {
        let bytes = copied_bytes(record);
        if self.blocks.back().is_none_or(|block| block.capacity() - block.len() < bytes) {
            self.blocks.push_back(Vec::with_capacity(bytes.max(BLOCK_BYTES)));
        }
        let into = self.blocks.back_mut().expect("one was added");
        let start = into.len();
        put(into, Some(record.topic.as_bytes()));
        put(into, record.key);
        put(into, record.value);
        put_length(into, record.headers.len());
        for header in record.headers {
            put(into, Some(header.name.as_bytes()));
            put(into, header.value);
        }
        let block = self.freed + self.blocks.len() - 1;
        self.list.push_back(Copied { ticket, timestamp_millis: record.timestamp_millis, block, start, bytes });
        self.bytes += bytes;
    }

    /// Shows one record.
    pub(super) fn show<T>(&self, place: usize, to: impl FnOnce(Ticket, &Record<'_>) -> T) -> T {
        let copied = self.list[place];
        let Copied { ticket, timestamp_millis, .. } = copied;
        let mut reader = self.reader(copied);
        let (topic, key, value) = (text(reader.take()), reader.take(), reader.take());
        let headers = reader.number();
        let headers: Vec<Header<'_>> =
            (0..headers).map(|_| Header { name: text(reader.take()), value: reader.take() }).collect();
        to(ticket, &Record { topic, key, value, headers: &headers, timestamp_millis })
    }

    pub(super) fn owned(&self, place: usize) -> (Ticket, OwnedRecord) {
        self.show(place, |ticket, record| (ticket, OwnedRecord::copy(record)))
    }

    /// Hands out all records, in the order of their tickets.
    pub(super) fn take(&mut self) -> Vec<(Ticket, OwnedRecord)> {
        let mut records: Vec<_> = (0..self.len()).map(|place| self.owned(place)).collect();
        records.sort_unstable_by_key(|(ticket, _)| *ticket);
        self.clear();
        records
    }

    /// A record of each topic.
    pub(super) fn one_of_each_topic(&self) -> Vec<OwnedRecord> {
        let mut topics = BTreeMap::new();
        for (place, copied) in self.list.iter().enumerate() {
            let topic = self.reader(*copied).take().unwrap_or_default();
            topics.entry(topic).or_insert(place);
        }
        topics.into_values().map(|place| self.owned(place).1).collect()
    }

    /// Forgets the first one.
    pub(super) fn forget_first(&mut self) {
        self.bytes -= self.list.pop_front().map_or(0, |copied| copied.bytes);
        let Some(first) = self.list.front() else { return self.clear() };
        while self.freed < first.block {
            self.blocks.pop_front();
            self.freed += 1;
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.blocks.clear();
        (self.freed, self.bytes) = (0, 0);
    }

    fn reader(&self, copied: Copied) -> Reader<'_> {
        Reader(&self.blocks[copied.block - self.freed][copied.start..])
    }
}

/// How many bytes the copy of a record takes.
fn copied_bytes(record: &Record<'_>) -> usize {
    const LENGTH: usize = size_of::<u32>();
    let value = |bytes: Option<&[u8]>| LENGTH + bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter().map(|header| LENGTH + header.name.len() + value(header.value));
    LENGTH + record.topic.len() + value(record.key) + value(record.value) + LENGTH + headers.sum::<usize>()
}

/// What was text before.
fn text(bytes: Option<&[u8]>) -> &str {
    str::from_utf8(bytes.unwrap_or_default()).expect("a kept name is the text that it was")
}

fn put(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => into.extend_from_slice(&NULL.to_ne_bytes()),
        Some(bytes) => {
            put_length(into, bytes.len());
            into.extend_from_slice(bytes);
        }
    }
}

fn put_length(into: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).ok().filter(|length| *length < NULL);
    into.extend_from_slice(&length.expect("librdkafka accepted the record").to_ne_bytes());
}

/// Reads what [`put`] has written, and nothing else: a length that does not fit is a bug.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> u32 {
        let (number, rest) = self.0.split_first_chunk().expect("a kept record is complete");
        self.0 = rest;
        u32::from_ne_bytes(*number)
    }

    fn take(&mut self) -> Option<&'a [u8]> {
        let length = self.number();
        if length == NULL {
            return None;
        }
        let length = usize::try_from(length).expect("the length was a usize before");
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECORD: Record<'static> =
        Record { topic: "t", key: None, value: Some(&[0; 1_000]), headers: &[], timestamp_millis: 0 };

    #[test]
    fn blocks_are_freed_as_records_are_removed() {
        let mut copies = Copies::default();
        for number in 0..100_000 {
            copies.push(Ticket(number), &RECORD);
            if copies.len() > 1_000 {
                copies.forget_first();
            }
        }
        assert_eq!(copies.owned(0), (Ticket(99_000), OwnedRecord::copy(&RECORD)));
        assert_eq!(copies.bytes(), 1_000 * copied_bytes(&RECORD));
        assert!(copies.blocks.len() * BLOCK_BYTES < copies.bytes() + 2 * BLOCK_BYTES, "{} blocks", copies.blocks.len());
    }

    proptest! {
        #[test]
        fn every_record_is_returned_unchanged(
            records in prop::collection::vec((
                "[a-z.]{1,9}",
                prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..99)),
                prop::collection::vec(("[a-z_]{0,9}", prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..5),
                any::<i64>(),
            ), 0..20),
        ) {
            let mut copies = Copies::default();
            let mut expected = Vec::new();
            for (number, (topic, key, value, headers, timestamp_millis)) in (0..).zip(records) {
                let record = OwnedRecord { topic, key, value, headers, timestamp_millis };
                copies.push(Ticket(number), &record.borrow(&record.header_list()));
                expected.push((Ticket(number), record));
            }
            let mut topics: Vec<_> = expected.iter().map(|(_, record)| record.topic.clone()).collect();
            topics.sort_unstable();
            topics.dedup();
            let of_each = copies.one_of_each_topic();
            prop_assert!(of_each.iter().all(|one| expected.iter().any(|(_, record)| record == one)));
            prop_assert_eq!(of_each.into_iter().map(|one| one.topic).collect::<Vec<_>>(), topics);
            prop_assert_eq!(copies.blocks.iter().map(Vec::len).sum::<usize>(), copies.bytes());
            prop_assert_eq!(copies.take(), expected);
            prop_assert!(copies.is_empty() && copies.bytes() == 0);
        }
    }
}
