//! A broker that for a moment lists no brokers at all, as Kafka's do while they are fenced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use walpost::relay::boundary::TopicSettings;
use walpost::sink::{TopicRules, Topics};

use super::{PATIENCE, feed, numbered, options, sink};

const TOPIC: &str = "t";
const NOT_LEADER: i16 = 6;
const LEADER_NOT_AVAILABLE: i16 = 5;
const UNSUPPORTED_VERSION: i16 = 35;
/// The requests that it answers, with their first and last version.
const VERSIONS: [(i16, i16, i16); 4] = [(PRODUCE, 3, 7), (METADATA, 0, 4), (API_VERSIONS, 0, 0), (PRODUCER_ID, 0, 0)];
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const PRODUCER_ID: i16 = 22;

/// Answers the few requests that a producer sends; real brokers cannot be made to do this at a given moment.
#[derive(Debug, Default)]
struct Broker {
    port: u16,
    /// Whether it refuses the next record, which makes the client look for the leader.
    is_deposed: AtomicBool,
    /// Whether the next answer lists no brokers.
    lists_none: AtomicBool,
    listed_none: AtomicUsize,
}

impl Broker {
    async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let broker = Arc::new(Self { port, ..Self::default() });
        let serving = Arc::clone(&broker);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        broker
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Ok(length) = stream.read_i32().await {
            let mut request = vec![0; usize::try_from(length).expect("a length")];
            if stream.read_exact(&mut request).await.is_err() {
                return;
            }
            let [kind, version] = [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
            let mut answer = request[4..8].to_vec();
            match kind {
                PRODUCE => self.produce(&mut answer),
                METADATA => self.metadata(&mut answer),
                API_VERSIONS => versions(&mut answer, if version > 0 { UNSUPPORTED_VERSION } else { 0 }),
                PRODUCER_ID => answer.extend([[0; 6].as_slice(), &1_i64.to_be_bytes(), &[0; 2]].concat()),
                other => panic!("a request of kind {other}"),
            }
            let length = i32::try_from(answer.len()).expect("a short answer");
            if stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await.is_err() {
                return;
            }
        }
    }

    fn produce(&self, answer: &mut Vec<u8>) {
        let error = if self.is_deposed.swap(false, Ordering::SeqCst) {
            self.lists_none.store(true, Ordering::SeqCst);
            NOT_LEADER
        } else {
            0
        };
        answer.extend(1_i32.to_be_bytes());
        text(answer, TOPIC);
        answer.extend([1_i32.to_be_bytes(), 0_i32.to_be_bytes()].concat());
        answer.extend(error.to_be_bytes());
        // Base offset, append time, start of the log, throttling.
        answer.extend([0_i64.to_be_bytes(), (-1_i64).to_be_bytes(), 0_i64.to_be_bytes()].concat());
        answer.extend(0_i32.to_be_bytes());
    }

    fn metadata(&self, answer: &mut Vec<u8>) {
        let lists_none = self.lists_none.swap(false, Ordering::SeqCst);
        self.listed_none.fetch_add(usize::from(lists_none), Ordering::SeqCst);
        answer.extend(0_i32.to_be_bytes());
        answer.extend(i32::from(!lists_none).to_be_bytes());
        if !lists_none {
            answer.extend(1_i32.to_be_bytes());
            text(answer, "127.0.0.1");
            answer.extend(i32::from(self.port).to_be_bytes());
            answer.extend((-1_i16).to_be_bytes());
        }
        // No cluster's name; the controller.
        answer.extend((-1_i16).to_be_bytes());
        answer.extend(1_i32.to_be_bytes());
        let (error, leader) = if lists_none { (LEADER_NOT_AVAILABLE, -1_i32) } else { (0, 1) };
        answer.extend(1_i32.to_be_bytes());
        answer.extend(0_i16.to_be_bytes());
        text(answer, TOPIC);
        answer.push(0);
        answer.extend(1_i32.to_be_bytes());
        answer.extend(error.to_be_bytes());
        answer.extend([0_i32.to_be_bytes(), leader.to_be_bytes()].concat());
        for _replicas_and_in_sync in 0..2 {
            answer.extend([1_i32.to_be_bytes(), 1_i32.to_be_bytes()].concat());
        }
    }
}

fn versions(answer: &mut Vec<u8>, error: i16) {
    answer.extend(error.to_be_bytes());
    answer.extend(4_i32.to_be_bytes());
    for (kind, first, last) in VERSIONS {
        answer.extend([kind, first, last].map(i16::to_be_bytes).concat());
    }
}

fn text(answer: &mut Vec<u8>, text: &str) {
    answer.extend(i16::try_from(text.len()).expect("a short text").to_be_bytes());
    answer.extend(text.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_producer_recovers_when_kafka_listed_no_brokers() {
    let broker = Broker::start().await;
    let mut sink = sink(&format!("127.0.0.1:{}", broker.port), &[], &TopicRules::default());
    for round in 1..=10 {
        let run = feed(&mut sink, numbered(TOPIC, 1, 10)).await;
        assert_eq!((run.acked, run.returned), (1, 0), "round {round}");
        broker.is_deposed.store(true, Ordering::SeqCst);
        let run = feed(&mut sink, numbered(TOPIC, 1, 10)).await;
        assert_eq!((run.acked, run.returned), (1, 0), "round {round}");
        assert_eq!(broker.listed_none.load(Ordering::SeqCst), round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_topics_are_looked_up_again_after_kafka_listed_no_brokers() {
    let broker = Broker::start().await;
    let options = options(&format!("127.0.0.1:{}", broker.port), &[]);
    let topics = Topics::new(&options, TopicRules::default(), Arc::default()).expect("a client").without_admin_api();
    for round in 1..=3 {
        broker.lists_none.store(true, Ordering::SeqCst);
        let is_found = async { while topics.ensure(TOPIC, &TopicSettings::default(), false).await.is_err() {} };
        tokio::time::timeout(PATIENCE, is_found).await.expect("Kafka answers");
        assert_eq!(broker.listed_none.load(Ordering::SeqCst), round);
    }
}
