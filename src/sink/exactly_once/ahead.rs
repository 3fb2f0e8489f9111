//! Records of the next transaction, which arrive while one is being committed.
//!
//! Nothing can be sent to Kafka between the position of one transaction and the beginning of the next. If nothing
//! were taken either, Postgres and the relay would stand still meanwhile, which under load is a large part of the time.

use tokio::time::Instant;

use super::{Phase, TransactionalSink};
use crate::relay::boundary::{Record, Ticket};
use crate::relay::publish::encode::size;
use crate::sink::client::options::message_max_bytes;
use crate::sink::client::partition_load::Route;
use crate::sink::delivery_loop::send_taken;
use crate::sink::error::SendError;

impl TransactionalSink {
    /// Whether a record is taken for the next transaction.
    pub(super) fn gathers_ahead(&self) -> bool {
        // A record that must be sent alone is not.
        let may_wait = self.isolation.is_idle() && !self.is_closing;
        // Kafka may still be busy with the last transaction.
        let is_resting = || self.rest_until.is_some_and(|until| Instant::now() < until);
        let is_ending = match self.phase {
            Phase::Sealing => true,
            Phase::Idle => is_resting(),
            _ => self.is_committing,
        };
        may_wait && (is_ending || !self.ahead.is_empty())
    }

    /// Takes a record for the next transaction.
    pub(super) fn gather(&mut self, ticket: Ticket, record: &Record<'_>) -> Result<(), SendError> {
        // What librdkafka would not take is refused when nothing is under way.
        if size(record) > message_max_bytes(&self.factory.producers.options) {
            return Err(SendError::Full);
        }
        self.ahead.push(ticket, record);
        Ok(())
    }

    /// Hands the gathered records over, as far as the transaction takes them.
    pub(super) fn send_gathered(&mut self) {
        if self.is_closing {
            return;
        }
        while !self.ahead.is_empty() && !self.open.is_full() && self.begin() {
            let Self { ahead, client: Some(client), open, routes, room, factory, .. } = self else { return };
            let rules = &factory.producers.rules;
            let is_sent = ahead.show(0, |ticket, record| {
                let index = routes.find(record.topic, record.key, || rules.partitions(record.topic)).index;
                if !send_taken(client, room, ticket, record, Route { index, warm: None }) {
                    return false;
                }
                open.note_load(client.partition_load().touched(), client.is_far_behind());
                open.keep(ticket, record, Instant::now());
                true
            });
            if !is_sent {
                return;
            }
            ahead.forget_first();
            if self.client.as_ref().is_some_and(|client| client.inbox().is_broken()) {
                return;
            }
        }
    }
}
