//! Passes records to librdkafka through its C API.
//!
//! For every record `rdkafka` copies the topic name and looks it up under a lock, and wraps each header list; and its
//! flush polls. At a few hundred thousand records a second that is a third of the sink's work, so these few calls are
//! made directly.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use crate::relay::boundary::{Header, Record};

/// The topics that one producer has written to. Must be dropped before the producer.
#[derive(Default)]
pub(crate) struct TopicHandles {
    /// The index of each topic in `topics`.
    places: HashMap<String, usize>,
    topics: Vec<(String, TopicHandle)>,
    /// The index of the last record's topic, which mostly is the next one's, too.
    last: usize,
}

#[derive(Clone, Copy)]
struct Topic(NonNull<native::rd_kafka_topic_t>);

// SAFETY: librdkafka's topic objects may be used from any thread, concurrently.
#[expect(unsafe_code, reason = "librdkafka's objects are thread-safe, pointers to them don't say so")]
unsafe impl Send for Topic {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "librdkafka's objects are thread-safe, pointers to them don't say so")]
unsafe impl Sync for Topic {}

/// Owns a topic object.
struct TopicHandle(Topic);

impl Drop for TopicHandle {
    #[expect(unsafe_code, reason = "librdkafka's own destructor")]
    fn drop(&mut self) {
        // SAFETY: it came from rd_kafka_topic_new and is destroyed once; the producer that it belongs to still lives.
        unsafe { native::rd_kafka_topic_destroy(self.0.0.as_ptr()) }
    }
}

impl TopicHandles {
    fn find<C: ProducerContext + 'static>(
        &mut self,
        producer: &ThreadedProducer<C>,
        topic: &str,
    ) -> Result<Topic, RDKafkaErrorCode> {
        if self.topics.get(self.last).is_none_or(|(name, _)| name != topic) {
            self.last = match self.places.get(topic) {
                Some(place) => *place,
                None => self.add(topic, TopicHandle::new(producer, topic)?),
            };
        }
        Ok(self.topics[self.last].1.0)
    }

    fn add(&mut self, topic: &str, handle: TopicHandle) -> usize {
        self.topics.push((topic.to_owned(), handle));
        self.places.insert(topic.to_owned(), self.topics.len() - 1);
        self.topics.len() - 1
    }
}

impl TopicHandle {
    #[expect(unsafe_code, reason = "librdkafka's own constructor")]
    fn new<C: ProducerContext + 'static>(
        producer: &ThreadedProducer<C>,
        topic: &str,
    ) -> Result<Self, RDKafkaErrorCode> {
        let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
        // SAFETY: the client lives, the name is a C string that is copied, and no configuration means the client's default.
        let handle =
            unsafe { native::rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        // SAFETY: it reads this thread's last error, which the failed call has set.
        NonNull::new(handle)
            .map(|topic| Self(Topic(topic)))
            .ok_or_else(|| unsafe { native::rd_kafka_last_error() }.into())
    }
}

/// A client's bootstrap servers, for the client's own callbacks.
pub(crate) struct Bootstrap {
    servers: CString,
    client: OnceLock<ClientPointer>,
}

struct ClientPointer(*mut native::rd_kafka_t);

// SAFETY: librdkafka's clients may be used from any thread, concurrently.
#[expect(unsafe_code, reason = "librdkafka's objects are thread-safe, pointers to them don't say so")]
unsafe impl Send for ClientPointer {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "librdkafka's objects are thread-safe, pointers to them don't say so")]
unsafe impl Sync for ClientPointer {}

impl Bootstrap {
    pub(crate) fn new(servers: &str) -> Self {
        Self { servers: CString::new(servers).unwrap_or_default(), client: OnceLock::new() }
    }

    /// The client whose context owns this.
    pub(crate) fn belongs_to<C: ProducerContext + 'static>(&self, producer: &ThreadedProducer<C>) {
        self.client.get_or_init(|| ClientPointer(producer.client().native_ptr()));
    }

    /// Lets the client connect to its bootstrap servers again. Must only be called from one of its callbacks.
    #[expect(unsafe_code, reason = "rdkafka has no call that adds brokers")]
    pub(crate) fn add_again(&self) {
        if let Some(ClientPointer(client)) = self.client.get() {
            // SAFETY: a callback runs while its client lives; the list is a C string that is copied.
            let _ = unsafe { native::rd_kafka_brokers_add(*client, self.servers.as_ptr()) };
        }
    }
}

/// Puts a copy of the record into librdkafka's queue. On an error it was not queued.
#[expect(unsafe_code, reason = "rdkafka has no call that takes a topic's handle")]
pub(crate) fn produce<C: ProducerContext<DeliveryOpaque = usize> + 'static>(
    producer: &ThreadedProducer<C>,
    topics: &mut TopicHandles,
    record: &Record<'_>,
    slot: usize,
) -> Result<(), RDKafkaErrorCode> {
    let topic = topics.find(producer, record.topic)?;
    let headers = Headers::new(record.headers);
    let (key, key_length) = pointer(record.key);
    let (value, value_length) = pointer(record.value);
    // SAFETY: the arguments are pairs of a type and what that type takes, up to the end mark (rd_kafka_vtype_t in rdkafka.h). The
    // client and the topic live; key and value are copied (RD_KAFKA_MSG_F_COPY) before the call returns; the opaque value is a
    // number that nobody follows. The headers become librdkafka's if it takes the record.
    let error: RDKafkaErrorCode = unsafe {
        use native::rd_kafka_vtype_t as vtype;
        native::rd_kafka_producev(
            producer.client().native_ptr(),
            vtype::RD_KAFKA_VTYPE_RKT,
            topic.0.as_ptr(),
            vtype::RD_KAFKA_VTYPE_MSGFLAGS,
            native::RD_KAFKA_MSG_F_COPY,
            vtype::RD_KAFKA_VTYPE_VALUE,
            value,
            value_length,
            vtype::RD_KAFKA_VTYPE_KEY,
            key,
            key_length,
            vtype::RD_KAFKA_VTYPE_OPAQUE,
            ptr::without_provenance_mut::<c_void>(slot),
            vtype::RD_KAFKA_VTYPE_TIMESTAMP,
            record.timestamp_millis,
            vtype::RD_KAFKA_VTYPE_HEADERS,
            headers.0,
            vtype::RD_KAFKA_VTYPE_END,
        )
    }
    .into();
    if error != RDKafkaErrorCode::NoError {
        return Err(error);
    }
    std::mem::forget(headers);
    Ok(())
}

/// Sends incomplete batches too for this long; shorter if nothing is outstanding before that, and then it returns true.
#[expect(unsafe_code, reason = "rdkafka's flush asks for a flush of no time at all, again and again")]
pub(crate) fn flush<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>, time: Duration) -> bool {
    let millis = i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives. Mostly the time is up before everything is sent.
    let flushed: RDKafkaErrorCode = unsafe { native::rd_kafka_flush(producer.client().native_ptr(), millis) }.into();
    flushed == RDKafkaErrorCode::NoError
}

/// A header list not yet owned by librdkafka; null if there are no headers.
struct Headers(*mut native::rd_kafka_headers_t);

impl Headers {
    #[expect(unsafe_code, reason = "librdkafka's own list")]
    fn new(headers: &[Header<'_>]) -> Self {
        if headers.is_empty() {
            return Self(ptr::null_mut());
        }
        // SAFETY: a list of its own.
        let list = unsafe { native::rd_kafka_headers_new(headers.len()) };
        for header in headers {
            let (value, value_length) = pointer(header.value);
            // SAFETY: name and value are copied, by the lengths that are given. It fails only on lists of consumed messages.
            let _ = unsafe {
                native::rd_kafka_header_add(
                    list,
                    header.name.as_ptr().cast(),
                    header.name.len().cast_signed(),
                    value,
                    value_length.cast_signed(),
                )
            };
        }
        Self(list)
    }
}

impl Drop for Headers {
    #[expect(unsafe_code, reason = "librdkafka's own destructor")]
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the list is still ours.
            unsafe { native::rd_kafka_headers_destroy(self.0) }
        }
    }
}

/// The headers of a consumed message, with each name as the bytes that are there: they may be anything, and `rdkafka`
/// panics on names that are not UTF-8.
pub(crate) fn headers(message: &BorrowedMessage<'_>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    // What rdkafka calls borrowed headers is librdkafka's own list, behind a reference.
    message.headers().map(|list| list_of(ptr::from_ref(list).cast())).unwrap_or_default()
}

#[expect(unsafe_code, reason = "rdkafka makes text of every name")]
fn list_of(list: *const native::rd_kafka_headers_t) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut headers = Vec::new();
    loop {
        let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the list lives as long as its message; what is pointed to lives as long as the list, and is copied.
        // A name is null-terminated. Past the last header nothing is written and an error is returned.
        unsafe {
            let error =
                native::rd_kafka_header_get_all(list, headers.len(), &raw mut name, &raw mut value, &raw mut length);
            if RDKafkaErrorCode::from(error) != RDKafkaErrorCode::NoError {
                return headers;
            }
            let name = CStr::from_ptr(name).to_bytes().to_vec();
            let value = NonNull::new(value.cast_mut().cast::<u8>());
            headers.push((name, value.map(|value| slice::from_raw_parts(value.as_ptr(), length).to_vec())));
        }
    }
}

/// Null is no value; an empty slice is an empty value, and its pointer is not null.
fn pointer(bytes: Option<&[u8]>) -> (*mut c_void, usize) {
    bytes.map_or((ptr::null_mut(), 0), |bytes| (bytes.as_ptr().cast_mut().cast(), bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "no safe call takes a name that is no text")]
    fn a_header_name_that_is_not_utf8_is_read() {
        let list = Headers::new(&[Header { name: "a", value: Some(b"1") }, Header { name: "b", value: None }]);
        let name = [0xFF_u8, 0xFE];
        // SAFETY: name and value are copied by their lengths.
        let added = unsafe { native::rd_kafka_header_add(list.0, name.as_ptr().cast(), 2, name.as_ptr().cast(), 0) };
        assert_eq!(RDKafkaErrorCode::from(added), RDKafkaErrorCode::NoError);
        let expected = [(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None), (name.to_vec(), Some(Vec::new()))];
        assert_eq!(list_of(list.0), expected);
    }
}
