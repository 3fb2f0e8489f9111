//! What an error code of Kafka or librdkafka means for a record: the one table.

use rdkafka::types::RDKafkaErrorCode as Code;

use super::options::TopicRules;
use crate::relay::boundary::{Record, Refusal, RefusalCode};

/// What a code says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing is wrong with the record: an outage, or the fault of another record. To be sent again.
    Returned,
    /// The topic takes nothing from this client, whatever the record.
    TopicRefused(Refusal),
    /// The batch was refused; some record in it is at fault.
    RecordRefused(Refusal),
}

/// The meaning of `code`. A code that is not in the table returns the record: none is ever lost to a code nobody thought of.
///
/// Codes and their meaning: <https://kafka.apache.org/protocol#protocol_error_codes>.
pub(super) fn outcome(code: Code) -> Outcome {
    let refusal = |code, detail: &str| Refusal { code, detail: detail.to_owned() };
    match code {
        Code::TopicAuthorizationFailed => Outcome::TopicRefused(refusal(
            RefusalCode::NotAuthorized,
            "kafka does not allow this client to write to the topic",
        )),
        Code::InvalidTopic => Outcome::TopicRefused(refusal(
            RefusalCode::UnknownTopic,
            "kafka does not allow a topic of this name to be written",
        )),
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Outcome::RecordRefused(refusal(
            RefusalCode::TooLarge,
            "the record is larger than max.message.bytes of the topic",
        )),
        Code::InvalidRecord => Outcome::RecordRefused(refusal(
            RefusalCode::ContractViolation,
            "the broker refused the record as invalid: no key for a compacted topic, or it breaks the topic's schema",
        )),
        Code::InvalidTimestamp => Outcome::RecordRefused(refusal(
            RefusalCode::ContractViolation,
            "the commit time is outside of the time span that the topic takes (message.timestamp.before.max.ms, after.max.ms)",
        )),
        Code::PolicyViolation => Outcome::RecordRefused(refusal(
            RefusalCode::NotAuthorized,
            "a policy of the kafka cluster refused the record",
        )),
        _ => Outcome::Returned,
    }
}

/// Why a record would be refused by its topic or changed by librdkafka, as far as that is known without asking Kafka.
pub(super) fn unfit(record: &Record<'_>, rules: &TopicRules) -> Option<Refusal> {
    if record.key.is_none() && rules.facts(record.topic).is_some_and(|facts| facts.is_compacted == Some(true)) {
        let detail = format!("the topic {} is compacted, and the record has no key", record.topic);
        return Some(Refusal { code: RefusalCode::ContractViolation, detail });
    }
    // librdkafka gives the name of a header back up to a zero byte.
    let header = record.headers.iter().find(|header| header.name.as_bytes().contains(&0))?;
    let detail = format!("the header name {:?} has a zero byte", header.name);
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
            assert_eq!(outcome(code), Outcome::Returned, "{code:?}");
        }
    }

    #[test]
    fn refusals_carry_their_code() {
        let refused = |code| match outcome(code) {
            Outcome::TopicRefused(refusal) | Outcome::RecordRefused(refusal) => refusal.code,
            Outcome::Returned => panic!("{code:?} is returned"),
        };
        assert_eq!(refused(Code::MessageSizeTooLarge), RefusalCode::TooLarge);
        assert_eq!(refused(Code::TopicAuthorizationFailed), RefusalCode::NotAuthorized);
        assert_eq!(refused(Code::InvalidRecord), RefusalCode::ContractViolation);
        assert_eq!(refused(Code::PolicyViolation), RefusalCode::NotAuthorized);
    }
}
