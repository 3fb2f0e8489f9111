//! What Kafka says of several topics at once, which `rdkafka` can't ask: their partitions, and what this client is
//! allowed to do with them (KIP-430).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::bindings as native;
use rdkafka::types::RDKafkaErrorCode;

/// The operation Write, as numbered in Kafka's protocol (`AclOperation`).
pub(crate) const WRITE: u32 = 4;

/// The allowed operations by topic, as numbered in Kafka's protocol (`AclOperation`). A topic for which Kafka does
/// not report them is left out. Blocks.
pub fn operations<C: ClientContext>(
    admin: &AdminClient<C>,
    topics: &[String],
    timeout: Duration,
) -> BTreeMap<String, BTreeSet<u32>> {
    let described = describe(admin, topics, Asked::PartitionsAndOperations, timeout);
    described.into_iter().filter_map(|(topic, it)| Some((topic, it.operations?))).collect()
}

/// The number of partitions by topic. A topic that is missing, or with a partition that has no leader, is left out.
/// Blocks.
pub(crate) fn led_partitions<C: ClientContext>(
    admin: &AdminClient<C>,
    topics: &[String],
    timeout: Duration,
) -> BTreeMap<String, usize> {
    let described = describe(admin, topics, Asked::Partitions, timeout);
    described.into_iter().filter_map(|(topic, it)| Some((topic, it.led_partitions?))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Partitions,
    PartitionsAndOperations,
}

/// What Kafka says of a topic.
struct Description {
    operations: Option<BTreeSet<u32>>,
    led_partitions: Option<usize>,
}

fn describe<C: ClientContext>(
    admin: &AdminClient<C>,
    topics: &[String],
    asked: Asked,
    timeout: Duration,
) -> BTreeMap<String, Description> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    let mut names: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    if names.is_empty() { BTreeMap::new() } else { ask(admin.inner().native_ptr(), &mut names, asked, millis) }
}

#[expect(unsafe_code, reason = "rdkafka has no call that describes topics")]
fn ask(
    client: *mut native::rd_kafka_t,
    names: &mut [*const c_char],
    asked: Asked,
    millis: i32,
) -> BTreeMap<String, Description> {
    let mut found = BTreeMap::new();
    // SAFETY: the client lives during the call. The names are C strings that are copied. Everything created here is
    // destroyed here, once, after everything that points into it was read: descriptions, names and operations belong
    // to the event. A queue that is destroyed with an answer on its way drops that answer.
    unsafe {
        let collection = native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        let kind = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = native::rd_kafka_AdminOptions_new(client, kind);
        let refused = native::rd_kafka_AdminOptions_set_include_authorized_operations(
            options,
            i32::from(asked == Asked::PartitionsAndOperations),
        );
        let queue = native::rd_kafka_queue_new(client);
        native::rd_kafka_AdminOptions_set_request_timeout(options, millis, ptr::null_mut(), 0);
        if refused.is_null() {
            native::rd_kafka_DescribeTopics(client, collection, options, queue);
            if let Some(event) = NonNull::new(native::rd_kafka_queue_poll(queue, millis)) {
                let result = native::rd_kafka_event_DescribeTopics_result(event.as_ptr());
                if !result.is_null() {
                    let mut count = 0;
                    let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
                    for topic in (0..count).map(|index| *topics.add(index)) {
                        let name = CStr::from_ptr(native::rd_kafka_TopicDescription_name(topic));
                        found.insert(name.to_string_lossy().into_owned(), description(topic));
                    }
                }
                native::rd_kafka_event_destroy(event.as_ptr());
            }
        } else {
            native::rd_kafka_error_destroy(refused);
        }
        native::rd_kafka_queue_destroy(queue);
        native::rd_kafka_AdminOptions_destroy(options);
        native::rd_kafka_TopicCollection_destroy(collection);
    }
    found
}

/// # Safety
///
/// The description must live during the call.
#[expect(unsafe_code, reason = "rdkafka has no call that describes topics")]
unsafe fn description(topic: *const native::rd_kafka_TopicDescription_t) -> Description {
    // SAFETY: what is returned belongs to the description, and is read before this returns.
    unsafe {
        let mut count = 0;
        let operations = native::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        // As numbers: a newer librdkafka may know more than its bindings.
        let operations = NonNull::new(operations.cast_mut().cast::<u32>())
            .map(|numbers| slice::from_raw_parts(numbers.as_ptr(), count).iter().copied().collect());
        let error = native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic));
        let mut count = 0;
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let is_led = |index| {
            let leader = native::rd_kafka_TopicPartitionInfo_leader(*partitions.add(index));
            !leader.is_null() && native::rd_kafka_Node_id(leader) >= 0
        };
        let is_ready = RDKafkaErrorCode::from(error) == RDKafkaErrorCode::NoError && count > 0;
        let led_partitions = (is_ready && (0..count).all(is_led)).then_some(count);
        Description { operations, led_partitions }
    }
}
