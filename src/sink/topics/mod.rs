//! Topics: whether they exist, how large a record they accept, and creating them.

mod ahead;
mod described;
mod budget;
mod creation;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::client::authorized::{WRITE, operations};
use super::client::connection::Connection;
use super::client::options::{ProducerOptions, TopicFacts, TopicRules, admin_config, message_max_bytes};
use super::client::reachability::why_unreachable;
use super::refusals::Judgement;
use crate::relay::boundary::{NamedBy, Refusal, RefusalCode, Topic, TopicSettings, WantedTopic};
use crate::relay::route::topic_name;
use crate::sink::error::SinkError;
use crate::sink::limits::{LEADERS_TICKS, LEADERS_TIMEOUT, REQUEST_TIMEOUT};
use ahead::FoundAhead;
use budget::Budget;
use described::Described;

type Admin = AdminClient<DefaultClientContext>;

/// Looks up and creates topics.
pub struct Topics {
    admin: Mutex<Arc<Admin>>,
    admin_config: ClientConfig,
    rules: TopicRules,
    connection: Arc<Connection>,
    fallback_bytes: usize,
    warned: AtomicBool,
    /// Topics that were created, or tried, along with another.
    along: Mutex<HashSet<Arc<str>>>,
    /// For topics that rows name.
    budget: Mutex<Budget>,
    /// The names of all topics, and when they were read; only while the budget is exhausted.
    listed: Mutex<Option<(Instant, Arc<HashSet<String>>)>>,
    found_ahead: FoundAhead,
    /// Whether the brokers support CreateTopics and DescribeConfigs.
    has_admin_api: bool,
}

/// A topic could not be looked up; a retry may succeed.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// Kafka did not answer.
    #[error("could not look up topic \"{topic}\" in Kafka")]
    Unreachable {
        /// The topic's name.
        topic: String,
        /// What the client says.
        #[source]
        source: KafkaError,
    },
    /// The topic exists, but not every partition has a leader.
    #[error("topic \"{topic}\" has partitions without a leader")]
    NoLeader {
        /// The topic's name.
        topic: String,
    },
    /// Kafka did not report what this client may do with a topic that refused it before.
    #[error("Kafka did not report whether this client may write to topic \"{topic}\", which it denied before")]
    NoRights {
        /// The topic's name.
        topic: String,
    },
    /// Kafka answered with a transient error.
    #[error("could not {action} topic \"{topic}\"{}", advice(*code))]
    Failed {
        /// What was tried.
        action: &'static str,
        /// The topic's name.
        topic: String,
        /// Kafka's error.
        #[source]
        code: Code,
    },
}

/// What to do about it, in parentheses.
fn advice(code: Code) -> &'static str {
    match code {
        Code::InvalidReplicationFactor => {
            " (its replication factor exceeds the number of brokers: create the topic with fewer replicas, or add brokers)"
        }
        _ => "",
    }
}

/// What the metadata says about a topic.
enum Presence {
    /// Every partition has a leader.
    Ready {
        partitions: usize,
    },
    Leaderless,
    Missing,
}

impl Topics {
    /// Starts the admin client; `rules` learn the topics' limits. Does not wait for a broker.
    ///
    /// # Errors
    /// [`SinkError::Create`].
    pub fn new(options: &ProducerOptions, rules: TopicRules, connection: Arc<Connection>) -> Result<Self, SinkError> {
        let admin_config = admin_config(options);
        let admin = AdminClient::from_config(&admin_config).map_err(SinkError::Create)?;
        let fallback_bytes = message_max_bytes(options);
        Ok(Self {
            admin: Mutex::new(Arc::new(admin)),
            admin_config,
            rules,
            connection,
            fallback_bytes,
            warned: AtomicBool::new(false),
            along: Mutex::default(),
            budget: Mutex::new(Budget::new(usize::MAX, Instant::now())),
            listed: Mutex::default(),
            found_ahead: FoundAhead::default(),
            has_admin_api: true,
        })
    }

    /// For brokers without CreateTopics and DescribeConfigs, such as librdkafka's mock cluster: topics are awaited,
    /// and accept whatever the client may send.
    #[must_use]
    pub fn without_admin_api(self) -> Self {
        Self { has_admin_api: false, ..self }
    }

    /// Creates at most this many topics in 24 hours because rows name them.
    #[must_use]
    pub fn with_budget(self, most: usize) -> Self {
        Self { budget: Mutex::new(Budget::new(most, Instant::now())), ..self }
    }

    /// Ensures that records can go to a topic; creates it with `settings` if it is missing and `create` allows it.
    ///
    /// A refusal is [`RefusalCode::UnknownTopic`] if the topic is missing and can't be created (not allowed here, not
    /// allowed by Kafka, settings that Kafka rejects) or if Kafka rejects its name, and
    /// [`RefusalCode::NotAuthorized`] if the client may not see it.
    ///
    /// # Errors
    /// [`TopicsError`]: an outage. Retry. Too few brokers for the replication factor is one: it passes with a rolling
    /// restart.
    pub async fn ensure(
        &self,
        name: &str,
        settings: &TopicSettings,
        create: bool,
    ) -> Result<Result<Topic, Refusal>, TopicsError> {
        let (name, settings) = (Arc::from(name), settings.clone());
        self.ensure_among(&WantedTopic { name, settings, named_by: NamedBy::Owner }, create, &[]).await
    }

    /// As [`Self::ensure`]. Those `ahead` are looked up with it and, if it has to be created, created with it if they
    /// are missing; the outcome for those is reported when they are asked for.
    ///
    /// # Errors
    /// As [`Self::ensure`].
    pub async fn ensure_among(
        &self,
        wanted: &WantedTopic,
        create: bool,
        ahead: &[WantedTopic],
    ) -> Result<Result<Topic, Refusal>, TopicsError> {
        let name = &*wanted.name;
        if let Err(error) = topic_name::check(name) {
            return Ok(Err(Refusal { code: RefusalCode::UnknownTopic, detail: error.to_string() }));
        }
        let facts = match self.take_found(name) {
            Some(facts) => facts,
            None => match self.look_up(wanted, create, ahead).await? {
                Ok(facts) => facts,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        if let Some(refusal) = self.denial(name).await? {
            return Ok(Err(refusal));
        }
        self.rules.learn(name, facts);
        Ok(Ok(Topic { max_message_bytes: facts.max_message_bytes }))
    }

    async fn look_up(
        &self,
        wanted: &WantedTopic,
        create: bool,
        ahead: &[WantedTopic],
    ) -> Result<Result<TopicFacts, Refusal>, TopicsError> {
        let name = &*wanted.name;
        if create && self.is_beyond_budget(wanted).await? {
            return Ok(Err(self.refuse_beyond_budget(name)));
        }
        let partitions = match self.appear(wanted, create, ahead).await? {
            Ok(partitions) => u32::try_from(partitions).unwrap_or(u32::MAX),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let ((), described) = tokio::join!(self.find_ahead(ahead), self.describe(name));
        Ok(Ok(described?.facts(partitions)))
    }

    /// Whether Kafka allows this client to write to these topics; a topic that it says nothing about is left out.
    pub(super) async fn may_write(&self, names: Vec<String>) -> BTreeMap<String, bool> {
        if !self.has_admin_api {
            return BTreeMap::new();
        }
        let admin = self.admin();
        let ask = move || operations(&admin, &names, REQUEST_TIMEOUT);
        let allowed = tokio::task::spawn_blocking(ask).await.expect("describing topics does not panic");
        allowed.into_iter().map(|(name, operations)| (name, operations.contains(&WRITE))).collect()
    }

    /// For a topic that has refused records: why it would refuse more of them, if Kafka says so.
    ///
    /// # Errors
    /// [`TopicsError::NoRights`] if Kafka said so before and says nothing now. If asked again, the topic is tried.
    async fn denial(&self, name: &str) -> Result<Option<Refusal>, TopicsError> {
        if !self.rules.refusals().is_suspect(name) {
            return Ok(None);
        }
        let may_write = self.may_write(vec![name.to_owned()]).await.remove(name);
        match self.rules.refusals().judge(name, may_write) {
            Judgement::Denied => {
                let detail = "kafka does not allow this client to write to the topic".to_owned();
                Ok(Some(Refusal { code: RefusalCode::NotAuthorized, detail }))
            }
            Judgement::Withdrawn => Err(TopicsError::NoRights { topic: name.to_owned() }),
            Judgement::Open => Ok(None),
        }
    }

    /// What was learned of a topic when it was last [ensured](Self::ensure).
    #[must_use]
    pub fn facts(&self, name: &str) -> Option<TopicFacts> {
        self.rules.facts(name)
    }

    /// Whether a broker answers within `timeout`.
    pub async fn reach(&self, timeout: Duration) -> bool {
        let admin = self.admin();
        let ask = move || admin.inner().fetch_cluster_id(timeout).is_some();
        let reached = tokio::task::spawn_blocking(ask).await.expect("asking for the cluster's id does not panic");
        if reached {
            self.connection.note_answer();
        } else {
            // A producer, if there is one, knows the reason already.
            if self.connection.last_failure().is_none()
                && let Some(failure) = why_unreachable(&self.admin_config).await
            {
                self.connection.keep_failure(failure);
            }
            self.replace_admin();
        }
        reached
    }

    /// Returns the number of partitions once each has a leader, having created the topic if necessary.
    async fn appear(
        &self,
        wanted: &WantedTopic,
        create: bool,
        ahead: &[WantedTopic],
    ) -> Result<Result<usize, Refusal>, TopicsError> {
        let name = &*wanted.name;
        let deadline = Instant::now() + LEADERS_TIMEOUT;
        let mut created = false;
        let [mut tick, last_tick] = LEADERS_TICKS;
        loop {
            match self.presence(name).await? {
                Ok(Presence::Ready { partitions }) => return Ok(Ok(partitions)),
                Ok(Presence::Missing) if !create => {
                    return Ok(Err(unknown(name, "does not exist, and create_topics is false")));
                }
                Ok(Presence::Missing) if !created && self.has_admin_api => {
                    if let Err(refusal) = self.create(wanted, ahead).await? {
                        return Ok(Err(refusal));
                    }
                    created = true;
                }
                Ok(Presence::Missing | Presence::Leaderless) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            if Instant::now() >= deadline {
                return Err(TopicsError::NoLeader { topic: name.to_owned() });
            }
            tokio::time::sleep(tick).await;
            tick = (tick * 2).min(last_tick);
        }
    }

    async fn presence(&self, name: &str) -> Result<Result<Presence, Refusal>, TopicsError> {
        let (admin, asked) = (self.admin(), name.to_owned());
        let fetch = move || admin.inner().fetch_metadata(Some(&asked), REQUEST_TIMEOUT);
        let fetched = tokio::task::spawn_blocking(fetch).await.expect("fetching metadata does not panic");
        let metadata = self.answered(name, fetched)?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Ok(Ok(Presence::Missing));
        };
        let led = !topic.partitions().is_empty() && topic.partitions().iter().all(|partition| partition.leader() >= 0);
        match topic.error().map(Code::from) {
            None | Some(Code::NoError) if led => Ok(Ok(Presence::Ready { partitions: topic.partitions().len() })),
            None | Some(Code::NoError | Code::LeaderNotAvailable) => Ok(Ok(Presence::Leaderless)),
            Some(Code::UnknownTopicOrPartition) => Ok(Ok(Presence::Missing)),
            Some(Code::TopicAuthorizationFailed) => {
                let detail = format!("this client is not authorized to describe topic {name}");
                Ok(Err(Refusal { code: RefusalCode::NotAuthorized, detail }))
            }
            Some(Code::InvalidTopic) => Ok(Err(unknown(name, "has a name that Kafka does not accept"))),
            Some(code) => Err(TopicsError::Failed { action: "look up", topic: name.to_owned(), code }),
        }
    }

    async fn describe(&self, name: &str) -> Result<Described, TopicsError> {
        if !self.has_admin_api {
            return Ok(Described { max_message_bytes: self.fallback_bytes, is_compacted: None });
        }
        let described = self.admin().describe_configs([&ResourceSpecifier::Topic(name)], &admin_options()).await;
        let result = self.answered(name, described)?.into_iter().next().unwrap_or(Err(Code::Unknown));
        let failed = |code| TopicsError::Failed { action: "describe", topic: name.to_owned(), code };
        self.described(name, result).map_err(failed)
    }

    /// Records that Kafka has answered, or returns that it has not.
    fn answered<T>(&self, topic: &str, result: Result<T, KafkaError>) -> Result<T, TopicsError> {
        let value = result.map_err(|source| {
            self.replace_admin();
            TopicsError::Unreachable { topic: topic.to_owned(), source }
        })?;
        self.connection.note_answer();
        Ok(value)
    }

    fn admin(&self) -> Arc<Admin> {
        Arc::clone(&self.admin.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts a new admin client for the next request: one to which Kafka has listed no brokers reaches none any more
    /// ([`super::client::context`] has a producer recover).
    fn replace_admin(&self) {
        let Ok(fresh) = Admin::from_config(&self.admin_config) else { return };
        let old = std::mem::replace(&mut *self.admin.lock().unwrap_or_else(PoisonError::into_inner), Arc::new(fresh));
        // Its end waits for its threads.
        drop(tokio::task::spawn_blocking(move || drop(old)));
    }
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT)).operation_timeout(Some(REQUEST_TIMEOUT))
}

fn unknown(name: &str, what: &str) -> Refusal {
    Refusal { code: RefusalCode::UnknownTopic, detail: format!("the topic {name} {what}") }
}
