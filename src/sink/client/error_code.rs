//! What an error code of Kafka or librdkafka means for a record: the one table.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::options::TopicRules;
use crate::relay::boundary::{OwnedRecord, Record, Refusal, RefusalCode, Timestamp};

/// The meaning of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecordFate {
    /// Nothing is wrong with the record: an outage, or the fault of another record. Send it again.
    Returned,
    /// The topic accepts nothing from this client, whatever the record.
    TopicRefused(Refusal),
    /// The batch was refused; some record in it is at fault.
    RecordRefused(Refusal),
}

/// The meaning of `code`. A code that is not in the table returns the record: no record is lost to an unforeseen code.
///
/// Codes and their meaning: <https://kafka.apache.org/protocol#protocol_error_codes>.
pub(crate) fn fate(code: Code) -> RecordFate {
    let refusal = |code, detail: &str| Refusal { code, detail: detail.to_owned() };
    match code {
        Code::TopicAuthorizationFailed => RecordFate::TopicRefused(refusal(
            RefusalCode::NotAuthorized,
            "kafka does not allow this client to write to the topic",
        )),
        Code::InvalidTopic => {
            RecordFate::TopicRefused(refusal(RefusalCode::UnknownTopic, "Kafka does not accept this topic name"))
        }
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => RecordFate::RecordRefused(refusal(
            RefusalCode::TooLarge,
            "the record is larger than the topic's max.message.bytes",
        )),
        Code::InvalidRecord => RecordFate::RecordRefused(refusal(
            RefusalCode::ContractViolation,
            "the broker rejected the record as invalid: it has no key and the topic is compacted, or it violates the topic's schema",
        )),
        // `judged` gives the details.
        Code::InvalidTimestamp => RecordFate::RecordRefused(refusal(
            RefusalCode::ContractViolation,
            "the topic rejects the record's timestamp",
        )),
        Code::PolicyViolation => RecordFate::RecordRefused(refusal(
            RefusalCode::NotAuthorized,
            "a policy of the Kafka cluster rejected the record",
        )),
        _ => RecordFate::Returned,
    }
}

/// The refusal of a record that is at fault for `code`. Timestamps that a topic rejects are remembered.
pub(crate) fn judged(record: &OwnedRecord, code: Code, refusal: Refusal, rules: &TopicRules) -> Refusal {
    match code {
        Code::InvalidTimestamp => rules.refusals().refuse_time(&record.topic, record.timestamp_millis),
        _ => refusal,
    }
}

/// Why a record would be refused by its topic or altered by librdkafka, as far as known without asking Kafka.
pub(crate) fn unfit(record: &Record<'_>, rules: &TopicRules) -> Option<Refusal> {
    if let Some(refusal) = rules.refusals().refusal(record) {
        return Some(refusal);
    }
    if record.timestamp_millis < Record::NO_TIME {
        let time = Timestamp(record.timestamp_millis.saturating_mul(1_000));
        let detail = format!("the record's timestamp, {time}, is before 1970, where Kafka timestamps start");
        return Some(Refusal { code: RefusalCode::ContractViolation, detail });
    }
    if record.key.is_none() && rules.facts(record.topic).is_some_and(|facts| facts.is_compacted == Some(true)) {
        let detail = format!("the topic {} is compacted, and the record has no key", record.topic);
        return Some(Refusal { code: RefusalCode::ContractViolation, detail });
    }
    // librdkafka returns a header's name only up to a zero byte.
    let header = record.headers.iter().find(|header| header.name.as_bytes().contains(&0))?;
    let detail = format!("header name {:?} contains a zero byte", header.name);
    Some(Refusal { code: RefusalCode::Undecodable, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_and_unknown_codes_return_the_record() {
        for code in [
            Code::UnknownTopicOrPartition,
            Code::UnknownTopic,
            Code::UnknownPartition,
            Code::PurgeQueue,
            Code::PurgeInflight,
            Code::MessageTimedOut,
            Code::BrokerTransportFailure,
            Code::Fatal,
            Code::OutOfOrderSequenceNumber,
            Code::InvalidDifferentRecord,
            Code::Unknown,
            Code::NotEnoughReplicas,
            Code::InvalidProducerEpoch,
        ] {
            assert_eq!(fate(code), RecordFate::Returned, "{code:?}");
        }
    }

    #[test]
    fn case_34_a_time_before_1970_is_refused_without_asking() {
        let record = |timestamp_millis| Record { topic: "t", key: None, value: None, headers: &[], timestamp_millis };
        for time in [i64::MIN, -2] {
            let refusal = unfit(&record(time), &TopicRules::default()).expect("it is refused");
            assert_eq!(refusal.code, RefusalCode::ContractViolation);
        }
        for time in [Record::NO_TIME, Record::TIME_OF_SENDING, 1, i64::MAX] {
            assert_eq!(unfit(&record(time), &TopicRules::default()), None, "{time}");
        }
    }

    #[test]
    fn refusals_carry_their_code() {
        let refused = |code| match fate(code) {
            RecordFate::TopicRefused(refusal) | RecordFate::RecordRefused(refusal) => refusal.code,
            RecordFate::Returned => panic!("{code:?} is returned"),
        };
        assert_eq!(refused(Code::MessageSizeTooLarge), RefusalCode::TooLarge);
        assert_eq!(refused(Code::TopicAuthorizationFailed), RefusalCode::NotAuthorized);
        assert_eq!(refused(Code::InvalidRecord), RefusalCode::ContractViolation);
        assert_eq!(refused(Code::PolicyViolation), RefusalCode::NotAuthorized);
    }
}
