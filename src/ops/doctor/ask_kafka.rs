//! Checks Kafka. Read-only: whether a topic could be created is asked with a validate-only request.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaErrorCode as Code;

use super::ask_postgres::Wanted;
use super::creation::{Creation, Use};
use super::report::{Finding, failure, ok};
use super::topics::{self, ExistingTopic, Operation, Retention, TopicState};
use crate::config::{Config, Delivery};
use crate::driver::{producer_options, transactions};
use crate::fault::{Fault, chain};
use crate::relay::boundary::TopicSettings;
use crate::relay::resume::{self, Begun};
use crate::relay::route::destination::dead_letter_settings;
use crate::sink::{
    Brokers, Connection, FIRST_ANSWER, KafkaSink, POSITIONS_TOPIC, PositionEntry, PositionError, ProducerOptions,
    SinkError, TopicRules, Topics, look_at_position, operations,
};

/// Interval between looks at the brokers.
const TICK: Duration = Duration::from_millis(100);
/// Timeout of one request.
const ANSWER: Duration = Duration::from_secs(10);

type Admin = AdminClient<DefaultClientContext>;

/// Runs all checks. `wanted` are the topics of registered schema versions; `begun` is how a start would begin.
pub(crate) async fn ask(config: &Config, wanted: Wanted, begun: Option<Begun>) -> Vec<Finding> {
    let servers = config.kafka.bootstrap_servers.clone();
    let dead_letters = config.relay.dead_letter_topic.as_str().to_owned();
    let mut findings = match reach(config).await {
        Ok(findings) => findings,
        Err(failures) => return failures,
    };
    let admin = match client(config).create::<Admin>() {
        Ok(admin) => Arc::new(admin),
        Err(error) => return vec![failure("kafka", chain(&SinkError::Create(error)))],
    };
    findings.push(topics::compression(config.kafka.compression));
    let destinations = config.relay.destinations();
    let (wanted, forbidden): (Wanted, Wanted) =
        wanted.into_iter().partition(|(topic, _)| destinations.check(topic).is_ok());
    findings
        .extend(forbidden.keys().filter_map(|topic| Some(topics::forbidden(topic, destinations.check(topic).err()?))));
    let mut all: Vec<(String, Use, TopicSettings)> =
        wanted.into_iter().map(|(name, settings)| (name, Use::Events, settings)).collect();
    all.push((dead_letters.clone(), Use::DeadLetters, dead_letter_settings()));
    if config.kafka.delivery == Delivery::ExactlyOnce {
        let settings = TopicSettings { partitions: Some(1), ..TopicSettings::default() };
        all.push((POSITIONS_TOPIC.to_owned(), Use::Positions, settings));
    }
    let names: Vec<String> = all.iter().map(|(name, ..)| name.clone()).collect();
    let mut allowed = {
        let (admin, names) = (Arc::clone(&admin), names.clone());
        let ask = move || operations(&*admin, &names, ANSWER);
        tokio::task::spawn_blocking(ask).await.expect("describing topics does not panic")
    };
    let (mut events, mut of_dead_letters) = (Vec::new(), None);
    for (name, of, settings) in all {
        let mut state = state(&admin, &name, &settings, config.relay.create_topics).await;
        if let TopicState::Present(topic) = &mut state {
            let operations = |numbers: BTreeSet<u32>| numbers.into_iter().filter_map(Operation::of).collect();
            topic.allowed = allowed.remove(&name).map(operations);
            match (of, topic.max_message_bytes) {
                (Use::Events, Some(limit)) => events.push((name.clone(), limit)),
                (Use::DeadLetters, limit) => of_dead_letters = limit,
                _ => {}
            }
        }
        findings.push(topics::topic(&name, of, &state, &servers));
        if of == Use::Positions
            && let Some(begun) = &begun
        {
            findings.extend(position(config, begun, &state).await);
        }
    }
    let client = config.kafka.properties.get("message.max.bytes").and_then(|value| value.parse().ok());
    findings.push(topics::message_size(&events, of_dead_letters, client, &servers, &dead_letters));
    findings
}

/// Compares the position in Kafka with what the database says of it, as a start does.
async fn position(config: &Config, begun: &Begun, state: &TopicState) -> Option<Finding> {
    let (options, key) = (producer_options(config), transactions(config).position_key());
    let entry = match state {
        TopicState::Missing { .. } => PositionEntry::Nothing,
        TopicState::Present(_) => match look_at_position(&options, &key, ANSWER).await {
            Ok(entry) => entry?,
            Err(error) => return Some(failure("position", chain(&error))),
        },
        TopicState::Hidden | TopicState::Unanswered(_) => return None,
    };
    Some(match resume::skip_to(&entry.facts(), begun) {
        Ok(Some(stored)) => ok("position", format!("{} stored under key {key}", stored.position)),
        Ok(None) => ok("position", format!("none is needed under key {key}")),
        Err(gap) => {
            let slot = config.postgres.slot.as_str();
            failure("position", Fault::from(PositionError::of(gap, slot, begun.start, &key)).to_string())
        }
    })
}

/// Connects as the relay does at its start, with the same clients, and then to every broker of the cluster.
///
/// # Errors
/// Failures that leave nothing else to check.
async fn reach(config: &Config) -> Result<Vec<Finding>, Vec<Finding>> {
    let servers = config.kafka.bootstrap_servers.clone();
    let kafka = Arc::<Connection>::default();
    let options = ProducerOptions { client_id: "walpost-doctor".to_owned(), ..producer_options(config) };
    let rules = TopicRules::default();
    let unfit = |error: SinkError| vec![failure("kafka", chain(&error))];
    let topics = Topics::new(&options, rules.clone(), Arc::clone(&kafka)).map_err(unfit)?;
    let sink = KafkaSink::new(options, rules, Arc::clone(&kafka)).map_err(unfit)?;
    let is_reached = topics.reach(FIRST_ANSWER).await;
    let since = Instant::now();
    let mut brokers = Brokers::default();
    while is_reached && since.elapsed() < FIRST_ANSWER && (brokers.up.is_empty() || !brokers.down.is_empty()) {
        tokio::time::sleep(TICK).await;
        brokers = kafka.brokers();
    }
    let reason = kafka.last_failure();
    // librdkafka waits for its threads to end.
    drop(tokio::task::spawn_blocking(move || drop((sink, topics))));
    if !is_reached {
        let fault = Fault::KafkaUnreachable { servers, within: FIRST_ANSWER, reason };
        return Err(vec![failure("kafka", fault.to_string())]);
    }
    let unreachable = (!brokers.down.is_empty()).then(|| failure("brokers", kafka.why_unreachable(&brokers.down)));
    if let Some(unreachable) = unreachable.clone().filter(|_| brokers.up.is_empty()) {
        return Err(vec![unreachable]);
    }
    let plural = if brokers.up.len() == 1 { "broker" } else { "brokers" };
    let mut findings = vec![ok("kafka", format!("{servers}: {} {plural}", brokers.up.len()))];
    findings.extend(unreachable);
    Ok(findings)
}

fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (name, value) in config.kafka.properties.iter() {
        client.set(name, value);
    }
    client.set("bootstrap.servers", &config.kafka.bootstrap_servers).set("client.id", "walpost-doctor");
    // Looking up a topic must not create it.
    client.set("allow.auto.create.topics", "false").set_log_level(RDKafkaLogLevel::Emerg);
    client
}

async fn state(admin: &Arc<Admin>, name: &str, settings: &TopicSettings, may_create: bool) -> TopicState {
    let fetched = {
        let (admin, name) = (Arc::clone(admin), name.to_owned());
        let fetch = move || admin.inner().fetch_metadata(Some(&name), ANSWER);
        tokio::task::spawn_blocking(fetch).await.expect("fetching metadata does not panic")
    };
    let metadata = match fetched {
        Ok(metadata) => metadata,
        Err(error) => return TopicState::Unanswered(error.to_string()),
    };
    let found = metadata.topics().iter().find(|topic| topic.name() == name);
    match found.and_then(|topic| topic.error()).map(Code::from) {
        Some(Code::TopicAuthorizationFailed) => TopicState::Hidden,
        Some(Code::UnknownTopicOrPartition) => missing(admin, name, settings, may_create).await,
        None | Some(Code::NoError | Code::LeaderNotAvailable) => match present(&metadata, name) {
            Some(topic) => described(admin, name, topic).await,
            None => missing(admin, name, settings, may_create).await,
        },
        Some(code) => TopicState::Unanswered(code.to_string()),
    }
}

fn present(metadata: &Metadata, name: &str) -> Option<ExistingTopic> {
    let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
    Some(ExistingTopic {
        partitions: topic.partitions().len(),
        leaderless: topic.partitions().iter().filter(|partition| partition.leader() < 0).count(),
        replicas: topic.partitions().iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
        max_message_bytes: None,
        min_insync_replicas: None,
        is_compacted: None,
        retention: Retention::default(),
        allowed: None,
    })
}

async fn described(admin: &Admin, name: &str, mut topic: ExistingTopic) -> TopicState {
    let described = admin.describe_configs([&ResourceSpecifier::Topic(name)], &options()).await;
    let resource = match described.map(|results| results.into_iter().next()) {
        Ok(Some(Ok(resource))) => resource,
        // The relay works without it, too.
        Ok(_) => return TopicState::Present(topic),
        Err(error) => return TopicState::Unanswered(error.to_string()),
    };
    let value = |key| resource.get(key).and_then(|entry| entry.value.as_deref());
    topic.max_message_bytes = value("max.message.bytes").and_then(|value| value.parse().ok());
    topic.min_insync_replicas = value("min.insync.replicas").and_then(|value| value.parse().ok());
    let limit = |key| value(key).and_then(|value| value.parse().ok()).filter(|limit: &i64| *limit >= 0);
    topic.retention = Retention { millis: limit("retention.ms"), bytes: limit("retention.bytes") };
    topic.is_compacted =
        value("cleanup.policy").map(|policies| policies.split(',').any(|policy| policy.trim() == "compact"));
    TopicState::Present(topic)
}

async fn missing(admin: &Admin, name: &str, settings: &TopicSettings, may_create: bool) -> TopicState {
    if !may_create {
        return TopicState::Missing { creation: Creation::SwitchedOff };
    }
    let replication = TopicReplication::Fixed(i32::from(settings.replication_factor.unwrap_or(-1)));
    let topic = NewTopic::new(name, settings.partitions.unwrap_or(-1), replication);
    let topic = settings.config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let refused = |code, reason: String| Creation::Refused { code, reason, settings: settings.clone() };
    let creation = match admin.create_topics([&topic], &options().validate_only(true)).await {
        Err(error) => refused(None, error.to_string()),
        Ok(results) => match results.into_iter().next() {
            Some(Ok(_) | Err((_, Code::TopicAlreadyExists))) => Creation::Allowed,
            Some(Err((_, code))) => refused(Some(code), code.to_string()),
            None => refused(None, "no answer".to_owned()),
        },
    };
    TopicState::Missing { creation }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER)).operation_timeout(Some(ANSWER))
}
