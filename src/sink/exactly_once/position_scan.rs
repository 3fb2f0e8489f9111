//! Reading the records of one key in the topic of positions.

use std::ops::ControlFlow;

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::client::topic_reader::{Isolation, ReadingError, Span, TopicReader};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ReadError {
    /// Transient: ask again.
    Passing(KafkaError),
    /// Kafka does not let this client read the topic.
    NotAuthorized,
    /// The record is not a position.
    Malformed,
    /// A position that no relay of this database wrote.
    Forged,
    /// A position that is there twice.
    Copied,
    /// A position of another epoch.
    Forgotten,
    /// The topic has several partitions, so the last position in one is not the last overall.
    Partitioned(usize),
    /// Nobody waits for the answer any more.
    Stopped,
}

impl From<ReadingError> for ReadError {
    fn from(error: ReadingError) -> Self {
        match error {
            ReadingError::NotAuthorized { .. } => Self::NotAuthorized,
            ReadingError::Failed { source, .. } => Self::Passing(source),
            ReadingError::Silent { .. } => {
                Self::Passing(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
            }
            ReadingError::Stopped { .. } => Self::Stopped,
        }
    }
}

/// Where positions under a key are.
pub(super) struct PositionPlace<'a> {
    pub(super) reader: &'a TopicReader,
    pub(super) key: &'a str,
    /// Whether nobody waits for the answer any more.
    pub(super) stopped: &'a dyn Fn() -> bool,
}

impl PositionPlace<'_> {
    /// The last value of the key in a span, if there is one.
    pub(super) fn last(&self, span: Span, isolation: Isolation) -> Result<Option<Option<Vec<u8>>>, ReadError> {
        let mut last = None;
        self.scan(span, isolation, |value| last = Some(value))?;
        Ok(last)
    }

    /// How many records of the key have this value in a span.
    pub(super) fn count(&self, span: Span, isolation: Isolation, wanted: &[u8]) -> Result<usize, ReadError> {
        let mut count = 0;
        self.scan(span, isolation, |value| count += usize::from(value.as_deref() == Some(wanted)))?;
        Ok(count)
    }

    /// Calls `each` with the values of the key in a span.
    fn scan(&self, span: Span, isolation: Isolation, mut each: impl FnMut(Option<Vec<u8>>)) -> Result<(), ReadError> {
        let key = Some(self.key.as_bytes());
        Ok(self.reader.read(POSITIONS_TOPIC, span, isolation, self.stopped, &mut |found| {
            if found.record.key.as_deref() == key {
                each(found.record.value);
            }
            ControlFlow::Continue(())
        })?)
    }
}
