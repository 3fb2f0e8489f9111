//! A transaction that can't be committed: how it ends, and what happens to its records.

use std::collections::BTreeSet;

use rdkafka::types::RDKafkaErrorCode;
use tokio::time::Instant;

use super::calls::{self, Ended};
use super::recovery::Recovered;
use super::{Answer, Phase, TransactionalSink, probe};
use crate::relay::boundary::{Failure, OwnedRecord, PositionKeys, Verdict};
use crate::relay::route::destination::POSITIONS_TOPIC;
use crate::sink::boundary::{Deliveries, Opened};
use crate::sink::client::error_code::{RecordFate, fate};
use crate::sink::client::producer_client::ProducerClient;
use crate::sink::client::routes::Routes;
use crate::sink::error::SinkError;
use crate::sink::refusal_isolation::Reports;

impl TransactionalSink {
    /// Ends a transaction that can't be committed.
    pub(super) fn break_off(&mut self) -> Result<(), SinkError> {
        let fatal = self.client.as_ref().and_then(ProducerClient::fatal);
        match fatal {
            None if matches!(self.phase, Phase::Idle) => self.recover(),
            None if self.client.as_ref().is_some_and(probe::is_topic_refused) => {
                let mut probes = self.open.one_of_each_topic();
                probes.push(self.position_record());
                self.recover_with(probes)
            }
            None => {
                self.call(|client, stopped| {
                    let ended = calls::abort(&client, &stopped);
                    Answer::Aborted(Box::new(client), ended)
                });
                Ok(())
            }
            Some((RDKafkaErrorCode::Fenced, reason)) => self.handle_failed_call(Ended::Fenced(reason)),
            Some((code, reason)) => self.handle_failed_call(Ended::Fatal(code, reason)),
        }
    }

    /// A record for the positions topic with no new information. It is not the stored position itself, which must not be
    /// there twice; nor is it signed, so that nobody can make use of a copy.
    pub(super) fn position_record(&self) -> OwnedRecord {
        let key = self.factory.identity.position_key();
        let value = self.stored.as_ref().map(|stored| stored.encode(&key, &PositionKeys::default()));
        OwnedRecord {
            topic: POSITIONS_TOPIC.to_owned(),
            key: Some(key.into_bytes()),
            value,
            headers: Vec::new(),
            timestamp_millis: 0,
        }
    }

    /// A new producer owns the transactional id, and it is known how far everything is in Kafka.
    pub(super) fn handle_recovered(&mut self, recovered: Recovered, into: &mut Deliveries) {
        let Recovered { client, kept, refusing } = recovered;
        let stored = kept.position().cloned();
        let cost = self.recovering_since.elapsed();
        for (topic, code) in &refusing {
            if let RecordFate::TopicRefused(refusal) = fate(*code) {
                tracing::warn!(
                    topic,
                    reason = refusal.detail,
                    "kafka rejects writes to a topic; sending its events to the dead-letter topic"
                );
                self.factory.producers.rules.refusals().refuse_topic(topic, refusal, cost);
            }
        }
        self.client = Some(client);
        self.routes = Routes::default();
        if !std::mem::replace(&mut self.is_open, true) {
            into.opened = Some(Opened { stored: kept });
            self.stored = stored;
        } else if self.in_doubt.is_some() && stored == self.in_doubt {
            self.handle_committed(into);
        } else {
            self.in_doubt = None;
            let refusing: Vec<String> = refusing.into_iter().map(|(topic, _)| topic).collect();
            self.give_back(Reports::Some { refusing: &refusing }, into);
        }
        self.rest();
    }

    /// Returns the records of an aborted transaction, in ticket order.
    pub(super) fn give_back(&mut self, extent: Reports<'_>, into: &mut Deliveries) {
        let reports = std::mem::take(&mut self.failed);
        let fates = self.isolation.judge(&reports, extent, &self.factory.producers.rules);
        for (report, fate) in reports.iter().zip(fates) {
            if let RecordFate::RecordRefused(refusal) = fate {
                self.verdicts.keep(report.ticket, &report.record.topic, refusal);
            }
        }
        // What failed along with another record says nothing.
        let along = [RDKafkaErrorCode::PurgeQueue, RDKafkaErrorCode::PurgeInflight, RDKafkaErrorCode::State];
        let failed = || reports.iter().filter(|report| !along.contains(&report.code));
        let reason = failed().next().map(|report| report.code.to_string());
        let reason = reason.unwrap_or_else(|| "the transaction was aborted".to_owned());
        let blamed: BTreeSet<&str> = match extent {
            Reports::Some { refusing: refusing @ [_, ..] } => refusing.iter().map(String::as_str).collect(),
            Reports::All | Reports::Some { .. } => failed().map(|report| report.record.topic.as_str()).collect(),
        };
        let mut records = self.open.abort(Instant::now());
        records.extend(self.ahead.take());
        if !records.is_empty() {
            let (topic, most_records) = (blamed.first(), self.open.most_records());
            tracing::warn!(reason, topic, records = records.len(), most_records, "kafka transaction aborted");
        }
        into.failed.extend(records.into_iter().map(|(ticket, record)| {
            let is_blamed = blamed.is_empty() || blamed.contains(record.topic.as_str());
            let verdict = if is_blamed { Verdict::Returned(reason.clone()) } else { Verdict::Along };
            Failure { ticket, record, verdict }
        }));
    }
}
