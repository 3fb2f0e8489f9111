//! The sandbox's servers are real, survive the tests' failures, and leave nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use walpost::lab::sandbox::{Kafka, KafkaOptions, KafkaSource, Postgres, PostgresOptions, Progress, StopMode};

use crate::harness::{Harness, PATIENCE};

#[tokio::test]
async fn every_harness_has_a_separate_database_and_topics() {
    let harness = Harness::new("own things").await;
    harness.execute("create table things (name text); insert into things values ('one')").await;
    harness.wait_for("select count(*) = 1 from things").await;
    assert_eq!(harness.query_text("select name from things").await.as_deref(), Some("one"));
    assert_eq!(harness.query_text("show wal_level").await.as_deref(), Some("logical"));
    assert_eq!(harness.query_text("select current_database()::text").await.as_deref(), Some(harness.name()));
    assert!(harness.url().ends_with(harness.name()));

    let topic = harness.topic("things");
    create_topic(harness.kafka(), &topic, 3, 1).await;
    for number in 0..10 {
        send(&producer(harness.kafka(), &[]), &topic, &format!("key {number}")).await.expect("a record to arrive");
    }
    let records = harness.consume(&topic, 10).await;
    assert_eq!(records.len(), 10);
    let mut keys: Vec<_> = records.iter().filter_map(|record| record.key_text()).collect();
    keys.sort_unstable();
    assert_eq!(keys.first().copied(), Some("key 0"));
    assert!(records.iter().all(|record| record.value_text() == Some("value") && record.header("kind") == Some("test")));
}

#[tokio::test]
async fn a_slot_does_not_outlive_its_harness() {
    let survivor = Harness::new("survivor").await;
    let harness = Harness::new("slot owner").await;
    let slot = harness.name().to_owned();
    harness.execute(&format!("select pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
    drop(harness);
    let left = survivor.query(&format!("select 1 from pg_replication_slots where slot_name = '{slot}'")).await;
    assert!(left.is_empty());
}

#[tokio::test]
async fn postgres_keeps_its_data_over_every_kind_of_stop() {
    let mut harness = Harness::with_own_servers("ends", PostgresOptions::default(), in_process()).await;
    harness.execute("create table counted (n int)").await;
    let (port, first) = (harness.own_postgres().port(), harness.own_postgres().pid());
    for (round, end) in ["kill", "fast", "immediate"].into_iter().enumerate() {
        harness.execute("insert into counted values (1)").await;
        let postgres = harness.own_postgres();
        match end {
            "kill" => postgres.kill(),
            "fast" => postgres.stop(StopMode::Fast).await.expect("a fast shutdown"),
            _ => postgres.stop(StopMode::Immediate).await.expect("an immediate shutdown"),
        }
        assert_eq!(postgres.pid(), None);
        postgres.start_again().await.expect("a second start");
        assert_eq!(postgres.port(), port);
        assert_ne!(postgres.pid(), first);
        harness.wait_for(&format!("select count(*) = {} from counted", round + 1)).await;
    }
}

#[tokio::test]
async fn kafka_creates_no_topic_and_keeps_acknowledged_records_over_a_kill_and_a_stop() {
    let mut harness = Harness::with_own_servers("ends", PostgresOptions::default(), KafkaOptions::default()).await;
    let kafka = harness.own_kafka();
    assert!(kafka.is_real());
    let (bootstrap, first) = (kafka.bootstrap(), kafka.pid());
    create_topic(&bootstrap, "kept", 1, 1).await;
    let producer = producer(&bootstrap, &[]);
    assert_eq!(send(&producer, "missing", "key").await, Err(RDKafkaErrorCode::UnknownTopicOrPartition));
    send(&producer, "kept", "before").await.expect("a record to arrive");
    kafka.kill().await.expect("a broker to kill");
    kafka.start_again().await.expect("a second start");
    assert_ne!(kafka.pid(), first);
    send(&producer, "kept", "between").await.expect("a record to arrive");
    kafka.stop().await.expect("a broker to stop in order");
    kafka.start_again().await.expect("a third start");
    send(&producer, "kept", "after").await.expect("a record to arrive");
    assert_eq!(kafka.bootstrap(), bootstrap);
    assert_eq!(harness.kafka(), bootstrap);
    let records = harness.consume("kept", 3).await;
    assert_eq!(
        records.iter().filter_map(|record| record.key_text()).collect::<Vec<_>>(),
        ["before", "between", "after"]
    );
}

#[tokio::test]
async fn a_denied_user_can_write_to_every_other_topic() {
    let options = KafkaOptions { users: vec!["relay".to_owned()], ..KafkaOptions::default() };
    let mut kafka = Kafka::start(options, &Progress::silent()).await.expect("a real Kafka");
    let admin: AdminClient<DefaultClientContext> =
        config(&kafka.bootstrap(), &kafka.client_properties("admin")).create().expect("a Kafka client");
    for topic in ["open", "closed"] {
        new_topic(&admin, topic, 1, 1).await;
    }
    kafka.deny_write("relay", "closed").await.expect("an ACL");
    let relay = producer(&kafka.bootstrap(), &kafka.client_properties("relay"));
    send(&relay, "open", "key").await.expect("a record to arrive");
    assert_eq!(send(&relay, "closed", "key").await, Err(RDKafkaErrorCode::TopicAuthorizationFailed));
    let admin = producer(&kafka.bootstrap(), &kafka.client_properties("admin"));
    send(&admin, "closed", "key").await.expect("the superuser's record to arrive");
}

#[tokio::test]
async fn three_brokers_continue_without_one() {
    let options = KafkaOptions { brokers: 3, ..KafkaOptions::default() };
    let mut kafka = Kafka::start(options, &Progress::silent()).await.expect("a real Kafka");
    let bootstrap = kafka.bootstrap();
    create_topic(&bootstrap, "moving", 3, 3).await;
    let producer = producer(&bootstrap, &[]);
    kafka.kill_broker(2).expect("a broker to kill");
    for number in 0..12 {
        send(&producer, "moving", &number.to_string()).await.expect("a record to arrive at another leader");
    }
    kafka.start_broker(2).await.expect("a broker to come back");
    let harness = Harness::new("reader").await;
    assert_eq!(harness.consume_from(&bootstrap, "moving", 12).await.len(), 12);
}

#[tokio::test]
async fn a_dropped_sandbox_leaves_nothing() {
    let traces = {
        let (postgres, kafka) = pair().await;
        let traces = traces(&postgres, &kafka);
        assert!(traces.iter().all(Trace::exists), "{traces:?}");
        traces
    };
    assert!(!traces.iter().any(Trace::exists), "{traces:?}");
}

/// The process to be killed in `a_killed_owner_leaves_nothing`.
#[tokio::test]
#[ignore = "waits to be killed: the test below runs it in a process of its own"]
async fn owner_that_is_killed() {
    let (postgres, kafka) = pair().await;
    for trace in traces(&postgres, &kafka) {
        match trace {
            Trace::Process(pid) => eprintln!("trace process {pid}"),
            Trace::Path(path) => eprintln!("trace path {}", path.display()),
        }
    }
    eprintln!("trace end");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_owner_leaves_nothing() {
    use std::io::{BufRead, BufReader};

    let mut owner = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "sandbox::owner_that_is_killed", "--ignored", "--nocapture"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test's program to run");
    let output = BufReader::new(owner.stderr.take().expect("a pipe"));
    let lines = output.lines().map(|line| line.expect("text")).take_while(|line| line != "trace end");
    let traces: Vec<Trace> = lines.filter_map(|line| Trace::parse(&line)).collect();
    owner.kill().expect("a child to kill");
    owner.wait().expect("a child to end");
    assert_eq!(traces.len(), 4, "{traces:?}");
    let since = Instant::now();
    while traces.iter().any(Trace::exists) {
        assert!(since.elapsed() < PATIENCE, "still running: {traces:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A trace of a running server.
#[derive(Debug)]
enum Trace {
    Process(u32),
    Path(PathBuf),
}

impl Trace {
    fn exists(&self) -> bool {
        match self {
            Self::Process(pid) => is_running(*pid),
            Self::Path(path) => path.exists(),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (kind, value) = line.split_once("trace ")?.1.split_once(' ')?;
        match kind {
            "process" => value.parse().ok().map(Self::Process),
            _ => Some(Self::Path(PathBuf::from(value))),
        }
    }
}

/// A zombie of a killed owner counts as gone: only the init process can reap it.
fn is_running(pid: u32) -> bool {
    let state = if Path::new("/proc/self/stat").exists() {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().unwrap_or_default().to_owned()
    } else {
        let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().expect("ps");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    !state.is_empty() && !state.starts_with('Z')
}

fn traces(postgres: &Postgres, kafka: &Kafka) -> Vec<Trace> {
    let postgres_folder = postgres.log_path().parent().expect("the log is in the workspace");
    let kafka_log = kafka.log_path().expect("a broker in a process of its own");
    let kafka_folder = kafka_log.ancestors().nth(2).expect("broker-1/kafka.log in the workspace");
    vec![
        Trace::Process(postgres.pid().expect("it runs")),
        Trace::Process(kafka.pid().expect("it runs")),
        Trace::Path(postgres_folder.to_path_buf()),
        Trace::Path(kafka_folder.to_path_buf()),
    ]
}

async fn pair() -> (Postgres, Kafka) {
    let progress = Progress::silent();
    let options = KafkaOptions { source: KafkaSource::Java, ..KafkaOptions::default() };
    let (postgres, kafka) =
        tokio::join!(Postgres::start(PostgresOptions::default(), &progress), Kafka::start(options, &progress));
    (postgres.expect("a PostgreSQL"), kafka.expect("a Kafka"))
}

fn in_process() -> KafkaOptions {
    KafkaOptions { source: KafkaSource::InProcess, ..KafkaOptions::default() }
}

fn config(bootstrap: &str, login: &[(String, String)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "200");
    for (name, value) in login {
        config.set(name, value);
    }
    config
}

fn producer(bootstrap: &str, login: &[(String, String)]) -> BaseProducer<Outcome> {
    // A missing topic is otherwise waited for, for half a minute.
    let config = config(bootstrap, login).set("topic.metadata.propagation.max.ms", "500").clone();
    config.create_with_context(Outcome::default()).expect("a Kafka client")
}

/// The outcome of the last record.
#[derive(Default)]
struct Outcome(Mutex<Option<Result<(), RDKafkaErrorCode>>>);

impl ClientContext for Outcome {}

impl ProducerContext for Outcome {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        let outcome = match result {
            Ok(_) => Ok(()),
            Err((KafkaError::MessageProduction(code), _)) => Err(*code),
            Err((other, _)) => panic!("{other}"),
        };
        *self.0.lock().expect("no test panics with this lock") = Some(outcome);
    }
}

/// Sends a record and waits for its outcome.
async fn send(producer: &BaseProducer<Outcome>, topic: &str, key: &str) -> Result<(), RDKafkaErrorCode> {
    let headers = OwnedHeaders::new().insert(Header { key: "kind", value: Some("test") });
    producer.send(BaseRecord::to(topic).key(key).payload("value").headers(headers)).expect("an empty queue");
    let since = Instant::now();
    loop {
        producer.poll(Duration::ZERO);
        if let Some(outcome) = producer.context().0.lock().expect("no test panics with this lock").take() {
            return outcome;
        }
        assert!(since.elapsed() < PATIENCE, "no outcome of a record to {topic}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn create_topic(bootstrap: &str, topic: &str, partitions: i32, replicas: i32) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap, &[]).create().expect("a Kafka client");
    new_topic(&admin, topic, partitions, replicas).await;
}

async fn new_topic(admin: &AdminClient<DefaultClientContext>, topic: &str, partitions: i32, replicas: i32) {
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(replicas));
    let created = admin.create_topics(&[topic], &AdminOptions::new()).await.expect("Kafka answers");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}
