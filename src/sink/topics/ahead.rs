//! Topics that are about to be asked for: looked up together with the one that is.
//!
//! Nothing is published while a topic is looked up, which takes two round trips. For a thousand topics one after
//! another that is seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::admin::ResourceSpecifier;
use tokio::time::Instant;

use super::{Topics, admin_options};
use crate::relay::boundary::WantedTopic;
use crate::relay::route::topic_name::is_legal;
use crate::sink::client::authorized::led_partitions;
use crate::sink::client::options::TopicFacts;
use crate::sink::limits::{FOUND_AHEAD_FOR, REQUEST_TIMEOUT};

/// What was found of topics that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct FoundAhead(Mutex<HashMap<Arc<str>, (Instant, TopicFacts)>>);

impl FoundAhead {
    fn put(&self, found: impl Iterator<Item = (Arc<str>, TopicFacts)>) {
        let now = Instant::now();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (at, _)| now.duration_since(*at) < FOUND_AHEAD_FOR);
        kept.extend(found.map(|(name, facts)| (name, (now, facts))));
    }

    /// Each is used once: whoever asks for a topic again has a reason to doubt what is known.
    fn take(&self, name: &str) -> Option<TopicFacts> {
        let (at, facts) = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name)?;
        (at.elapsed() < FOUND_AHEAD_FOR).then_some(facts)
    }
}

impl Topics {
    /// Whether the next question about this topic is answered without asking Kafka.
    pub(crate) fn is_found_ahead(&self, name: &str) -> bool {
        let kept = self.found_ahead.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(name).is_some_and(|(at, _)| at.elapsed() < FOUND_AHEAD_FOR)
    }

    /// What was found of a topic when another was asked for.
    pub(super) fn take_found(&self, name: &str) -> Option<TopicFacts> {
        self.found_ahead.take(name)
    }

    /// Looks up those of these topics that exist. What Kafka doesn't answer is asked for again topic by topic.
    pub(super) async fn find_ahead(&self, ahead: &[WantedTopic]) {
        let names: Vec<String> =
            ahead.iter().filter(|topic| is_legal(&topic.name)).map(|topic| topic.name.to_string()).collect();
        if names.is_empty() || !self.has_admin_api {
            return;
        }
        let admin = self.admin();
        let ask = move || led_partitions(&admin, &names, REQUEST_TIMEOUT);
        let led = tokio::task::spawn_blocking(ask).await.expect("describing topics does not panic");
        let resources: Vec<_> = led.keys().map(|name| ResourceSpecifier::Topic(name)).collect();
        if resources.is_empty() {
            return;
        }
        let Ok(answers) = self.admin().describe_configs(&resources, &admin_options()).await else { return };
        let facts = answers.into_iter().zip(&led).filter_map(|(answer, (name, partitions))| {
            let described = self.described(name, answer).ok()?;
            let partitions = u32::try_from(*partitions).unwrap_or(u32::MAX);
            Some((Arc::from(name.as_str()), described.facts(partitions)))
        });
        self.found_ahead.put(facts);
    }
}
