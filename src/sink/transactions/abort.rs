//! A transaction that can't be committed: how it ends, and what becomes of its records.

use rdkafka::types::RDKafkaErrorCode;

use super::super::generation::Generation;
use super::super::warmup::Warmup;
use super::super::{Deliveries, SinkError};
use super::blame::Reports;
use super::calls::{self, Ended};
use super::{Answer, POSITIONS_TOPIC, Phase, TransactionalSink, probe};
use crate::relay::boundary::{Failure, OwnedRecord, Verdict};

impl TransactionalSink {
    /// Ends a transaction that can't be committed.
    pub(super) fn break_off(&mut self) -> Result<(), SinkError> {
        let fatal = self.generation.as_ref().and_then(Generation::fatal);
        match fatal {
            None if matches!(self.phase, Phase::Idle) => self.recover(),
            None if self.generation.as_ref().is_some_and(probe::is_topic_refused) => {
                let mut probes = self.contents.one_of_each_topic();
                probes.push(self.position_record());
                self.recover_with(probes)
            }
            None => {
                self.call(|generation, stopped| {
                    let ended = calls::abort(&generation, &stopped);
                    Answer::Aborted(Box::new(generation), ended)
                });
                Ok(())
            }
            Some((RDKafkaErrorCode::Fenced, reason)) => self.handle_failed_call(Ended::Fenced(reason)),
            Some((code, reason)) => self.handle_failed_call(Ended::Fatal(code, reason)),
        }
    }

    /// A record for the topic of positions that says nothing new.
    fn position_record(&self) -> OwnedRecord {
        let key = self.maker.identity.position_key();
        let value = self.stored.as_ref().map(|stored| stored.encode(&key, &self.keys));
        OwnedRecord {
            topic: POSITIONS_TOPIC.to_owned(),
            key: Some(key.into_bytes()),
            value,
            headers: Vec::new(),
            timestamp_millis: 0,
        }
    }

    /// Gives back what an aborted transaction held.
    pub(super) fn give_back(&mut self, extent: Reports, into: &mut Deliveries) {
        // The first records of partitions that come back are the first again.
        self.warmup = Warmup::default();
        let reports = std::mem::take(&mut self.failed);
        let guilty = self.blame.judge(&reports, extent);
        // What failed along with another says nothing.
        let along = [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight, RDKafkaErrorCode::State];
        let first = reports.iter().find(|report| !along.contains(&report.code));
        let reason = first.map_or_else(|| "the transaction was aborted".to_owned(), |report| report.code.to_string());
        let records = self.contents.abort();
        if !records.is_empty() {
            let topic = first.map(|report| report.record.topic.as_str());
            tracing::warn!(reason, topic, records = records.len(), "kafka transaction aborted");
        }
        into.failed.extend(records.into_iter().map(|(ticket, record)| {
            let refusal = guilty.get(&ticket).cloned().or_else(|| self.blame.refusal(&record.topic));
            let verdict = match refusal {
                Some(refusal) => Verdict::Refused(refusal),
                None => Verdict::Returned(reason.clone()),
            };
            Failure { ticket, record, verdict }
        }));
    }
}
