//! A broker that answers the few requests that a producer sends, with faults that real brokers cannot be made to have at a given
//! moment.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) const TOPIC: &str = "t";
const NOT_LEADER: i16 = 6;
const LEADER_NOT_AVAILABLE: i16 = 5;
const UNSUPPORTED_VERSION: i16 = 35;
/// The requests that it answers, with their first and last version.
const VERSIONS: [(i16, i16, i16); 7] = [
    (PRODUCE, 3, 7),
    (METADATA, 0, 4),
    (COORDINATOR, 0, 1),
    (API_VERSIONS, 0, 0),
    (PRODUCER_ID, 0, 0),
    (ADD_PARTITIONS, 0, 0),
    (END_TRANSACTION, 0, 0),
];
const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
const COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const PRODUCER_ID: i16 = 22;
const ADD_PARTITIONS: i16 = 24;
const END_TRANSACTION: i16 = 26;
/// No partition.
const NONE: i32 = -1;

#[derive(Debug)]
pub(super) struct Broker {
    port: u16,
    partitions: i32,
    /// Whether it refuses the next record and then lists no brokers.
    pub(super) is_deposed: AtomicBool,
    /// Whether the next answer lists no brokers.
    pub(super) lists_none: AtomicBool,
    pub(super) listed_none: AtomicUsize,
    /// The partition whose next batch it refuses, once it has the one after that.
    refuses_one_of: AtomicI32,
    /// Batches that it has taken.
    pub(super) taken: AtomicUsize,
    /// The partitions of all batches that it got, in their order.
    pub(super) got: Mutex<Vec<i32>>,
    /// How many batches it gets before it answers the first.
    pub(super) answers_from: AtomicUsize,
}

impl Broker {
    /// With one topic of so many partitions.
    pub(super) async fn start(partitions: i32) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let broker = Arc::new(Self {
            port: listener.local_addr().expect("an address").port(),
            partitions,
            is_deposed: AtomicBool::default(),
            lists_none: AtomicBool::default(),
            listed_none: AtomicUsize::default(),
            refuses_one_of: AtomicI32::new(NONE),
            taken: AtomicUsize::default(),
            got: Mutex::default(),
            answers_from: AtomicUsize::default(),
        });
        let serving = Arc::clone(&broker);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream));
            }
        });
        broker
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Of the next two batches of a partition, the first fails and the second is taken, as by a broker that becomes the leader in
    /// between and does not know the producer.
    pub(super) fn refuse_one_of_two(&self, partition: i32) {
        self.refuses_one_of.store(partition, Ordering::SeqCst);
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let (mut answers, mut is_held) = (Vec::new(), false);
        while let Ok(length) = stream.read_i32().await {
            let mut request = vec![0; usize::try_from(length).expect("a length")];
            if stream.read_exact(&mut request).await.is_err() {
                return;
            }
            let [kind, version] = [0, 2].map(|at| i16::from_be_bytes([request[at], request[at + 1]]));
            let mut answer = request[4..8].to_vec();
            match kind {
                PRODUCE => {
                    let partition = partition_of(&request);
                    let refused =
                        self.refuses_one_of.compare_exchange(partition, NONE, Ordering::SeqCst, Ordering::SeqCst);
                    self.produce(&mut answer, partition, refused.is_ok());
                    let got = {
                        let mut got = self.got.lock().expect("no test panics with it");
                        got.push(partition);
                        got.len()
                    };
                    is_held = refused.is_ok() || got < self.answers_from.load(Ordering::SeqCst);
                }
                METADATA => self.metadata(&mut answer),
                COORDINATOR => self.coordinator(&mut answer),
                API_VERSIONS => versions(&mut answer, if version > 0 { UNSUPPORTED_VERSION } else { 0 }),
                PRODUCER_ID => answer.extend([[0; 6].as_slice(), &1_i64.to_be_bytes(), &[0; 2]].concat()),
                ADD_PARTITIONS => self.add_partitions(&mut answer),
                END_TRANSACTION => answer.extend([0; 6]),
                other => panic!("a request of kind {other}"),
            }
            let length = i32::try_from(answer.len()).expect("a short answer");
            answers.extend([&length.to_be_bytes(), answer.as_slice()].concat());
            if !is_held && stream.write_all(&std::mem::take(&mut answers)).await.is_err() {
                return;
            }
        }
    }

    fn produce(&self, answer: &mut Vec<u8>, partition: i32, is_refused: bool) {
        let error = if self.is_deposed.swap(false, Ordering::SeqCst) {
            self.lists_none.store(true, Ordering::SeqCst);
            NOT_LEADER
        } else if is_refused {
            NOT_LEADER
        } else {
            self.taken.fetch_add(1, Ordering::SeqCst);
            0
        };
        answer.extend(1_i32.to_be_bytes());
        text(answer, TOPIC);
        answer.extend([1_i32.to_be_bytes(), partition.to_be_bytes()].concat());
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
            self.node(answer);
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
        answer.extend(self.partitions.to_be_bytes());
        for partition in 0..self.partitions {
            answer.extend(error.to_be_bytes());
            answer.extend([partition.to_be_bytes(), leader.to_be_bytes()].concat());
            for _replicas_and_in_sync in 0..2 {
                answer.extend([1_i32.to_be_bytes(), 1_i32.to_be_bytes()].concat());
            }
        }
    }

    fn node(&self, answer: &mut Vec<u8>) {
        answer.extend(1_i32.to_be_bytes());
        text(answer, "127.0.0.1");
        answer.extend(i32::from(self.port).to_be_bytes());
    }

    fn coordinator(&self, answer: &mut Vec<u8>) {
        // Throttling, error, its text.
        answer.extend([0; 6]);
        answer.extend((-1_i16).to_be_bytes());
        self.node(answer);
    }

    fn add_partitions(&self, answer: &mut Vec<u8>) {
        answer.extend([0_i32.to_be_bytes(), 1_i32.to_be_bytes()].concat());
        text(answer, TOPIC);
        answer.extend(self.partitions.to_be_bytes());
        for partition in 0..self.partitions {
            answer.extend(partition.to_be_bytes());
            answer.extend(0_i16.to_be_bytes());
        }
    }
}

/// The partition of a request to produce.
fn partition_of(request: &[u8]) -> i32 {
    let after_text = |at: usize| {
        let length = i16::from_be_bytes([request[at], request[at + 1]]);
        at + 2 + usize::try_from(length).unwrap_or_default()
    };
    // The client's name, the transactional id, acks, the time-out, the number of topics, the topic, the number of its partitions.
    let at = after_text(after_text(after_text(8)) + 2 + 4 + 4) + 4;
    i32::from_be_bytes(request[at..at + 4].try_into().expect("four bytes"))
}

fn versions(answer: &mut Vec<u8>, error: i16) {
    answer.extend(error.to_be_bytes());
    answer.extend(i32::try_from(VERSIONS.len()).expect("a few").to_be_bytes());
    for (kind, first, last) in VERSIONS {
        answer.extend([kind, first, last].map(i16::to_be_bytes).concat());
    }
}

fn text(answer: &mut Vec<u8>, text: &str) {
    answer.extend(i16::try_from(text.len()).expect("a short text").to_be_bytes());
    answer.extend(text.as_bytes());
}
