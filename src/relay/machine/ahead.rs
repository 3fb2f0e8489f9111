//! Topics and schema versions that later rows of the batch need, so that one request can look them up, or create the
//! topics.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::boundary::{Refusal, Request, SchemaVersionId, WantedTopic};
use super::Core;
use crate::relay::decode::event::{self, Event};
use crate::relay::decode::pgoutput::{self, Frame, Message};
use crate::relay::limits::{AHEAD_NAME_BYTES, AHEAD_ROWS, AHEAD_TOPICS, AHEAD_VERSIONS, AHEAD_WORK};
use crate::relay::publish::check::topic_ahead;

impl Core {
    /// For a request about a topic: other topics that the rest of the batch needs. Rows that are sure to be refused need
    /// none.
    #[must_use]
    pub fn topics_ahead(&self, request: &Request) -> Vec<WantedTopic> {
        let Request::Topic(asked) = request else { return Vec::new() };
        let mut found = Vec::new();
        let mut names = HashSet::from([Arc::clone(&asked.name)]);
        let mut work = 0;
        self.each_event_ahead(|event, refusal| {
            let (metadata, destinations) = (&self.publisher.metadata, &self.publisher.destinations);
            if refusal.is_none()
                && let Some((name, settings, named_by)) = topic_ahead(metadata, destinations, event, &mut work)
                && !names.contains(name)
            {
                let name: Arc<str> = name.into();
                names.insert(Arc::clone(&name));
                found.push(WantedTopic { name, settings, named_by });
            }
            found.len() < AHEAD_TOPICS && work < AHEAD_WORK
        });
        found
    }

    /// For a request about a schema version: other versions that the rest of the batch needs.
    #[must_use]
    pub fn versions_ahead(&self, request: &Request) -> Vec<SchemaVersionId> {
        let Request::SchemaVersion(asked) = request else { return Vec::new() };
        let mut found = Vec::new();
        let mut seen = HashSet::from([asked.clone()]);
        self.each_event_ahead(|event, refusal| {
            if let (None, Some((name, version))) = (refusal, &event.schema)
                && event.has_contract
                && name.len() + version.len() <= AHEAD_NAME_BYTES
                && self.publisher.metadata.known_contract(name, version).is_none()
            {
                let id = SchemaVersionId { name: (&**name).into(), version: (&**version).into() };
                if seen.insert(id.clone()) {
                    found.push(id);
                }
            }
            found.len() < AHEAD_VERSIONS
        });
        found
    }

    /// Shows the events of the rest of the batch, until `visit` has seen enough.
    fn each_event_ahead(&self, mut visit: impl FnMut(&Event<'_>, Option<Refusal>) -> bool) {
        let (mut rest, mut rows) = (&self.input[..], 0);
        // A replay takes only some of the rows.
        while self.replaying.is_none() && rows < AHEAD_ROWS {
            let Ok((frame, length)) = pgoutput::next_frame(rest) else { break };
            rest = &rest[length..];
            let Frame::XLogData(bytes) = frame else { continue };
            let (relation, row) = match pgoutput::decode(bytes) {
                Ok(Message::Insert { relation, row }) => (relation, row),
                // What follows may be of another layout.
                Ok(Message::Relation(_)) | Err(_) => break,
                Ok(_) => continue,
            };
            rows += 1;
            let Some(Some(layout)) = self.layouts.get(&relation) else { continue };
            let (event, refusal) = event::from_row(&row, layout);
            if !visit(&event, refusal) {
                break;
            }
        }
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
