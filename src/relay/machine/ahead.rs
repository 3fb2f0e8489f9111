//! Topics that rows further on in the batch need, so that those that are missing can be created together.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::boundary::{Request, WantedTopic};
use super::Core;
use crate::relay::decode::event;
use crate::relay::decode::pgoutput::{self, Frame, Message};
use crate::relay::limits::{AHEAD_ROWS, AHEAD_TOPICS, AHEAD_WORK};
use crate::relay::publish::check::topic_ahead;

impl Core {
    /// For a question about a topic: further topics that will be asked for, as far as the rest of the batch tells. Rows that are sure to be
    /// refused name none.
    #[must_use]
    pub fn topics_ahead(&self, request: &Request) -> Vec<WantedTopic> {
        let Request::Topic(asked) = request else { return Vec::new() };
        let mut found = Vec::new();
        let mut names = HashSet::from([Arc::clone(&asked.name)]);
        let (mut rest, mut rows, mut work) = (&self.input[..], 0, 0);
        // A replay takes only some of the rows.
        while self.replaying.is_none() && found.len() < AHEAD_TOPICS && rows < AHEAD_ROWS && work < AHEAD_WORK {
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
            let (metadata, destinations) = (&self.publisher.metadata, &self.publisher.destinations);
            if refusal.is_none()
                && let Some((name, settings, named_by)) = topic_ahead(metadata, destinations, &event, &mut work)
                && !names.contains(name)
            {
                let name: Arc<str> = name.into();
                names.insert(Arc::clone(&name));
                found.push(WantedTopic { name, settings, named_by });
            }
        }
        found
    }
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
