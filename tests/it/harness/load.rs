//! Writers that emit numbered events in transactions of many sizes, some of which roll back, whatever happens to the
//! server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Client;
use walpost::random::Random;

use super::{Harness, POLL, try_connect};

/// Keys of one writer. No two writers share a key, so that a key's numbers increase in commit order.
const KEYS: u64 = 12;
/// Rows of a large transaction.
const LARGE: u64 = 500;

/// A load on the outbox. It ends with [`Load::stop`].
///
/// Each event's payload is `{"n": <number>}`, and numbers increase per key. What was committed is what `outbox.event`
/// has: only the server knows the outcome of a commit whose answer was lost.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<u64>>,
}

impl Load {
    /// Starts `writers` that pause for `pause` after each transaction. The schema must be registered.
    pub(crate) fn start(harness: &Harness, schema: &str, writers: usize, pause: Duration, seed: &mut Random) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |number| {
            let writer = Writer {
                url: harness.url().to_owned(),
                schema: schema.to_owned(),
                number,
                next: 0,
                seeded: seed.fork(),
                stop: Arc::clone(&stop),
            };
            tokio::spawn(writer.run(pause))
        };
        let writers = (0..writers).map(start).collect();
        Self { stop, writers }
    }

    /// Stops the writers; returns how many transactions they have tried.
    pub(crate) async fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut transactions = 0;
        for writer in self.writers {
            transactions += writer.await.expect("a writer does not panic");
        }
        transactions
    }
}

struct Writer {
    url: String,
    schema: String,
    number: usize,
    next: u64,
    seeded: Random,
    stop: Arc<AtomicBool>,
}

impl Writer {
    async fn run(mut self, pause: Duration) -> u64 {
        let mut transactions = 0;
        let mut session = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(client) = session.take().or(try_connect(&self.url).await.ok()) else {
                tokio::time::sleep(POLL).await;
                continue;
            };
            transactions += 1;
            if self.transaction(&client).await.is_ok() {
                session = Some(client);
            }
            tokio::time::sleep(pause).await;
        }
        transactions
    }

    /// One transaction. The numbers of a failed one are not reused: it may have been committed.
    async fn transaction(&mut self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let rows = if self.seeded.below(40) == 0 { LARGE } else { 1 + self.seeded.below(20) };
        let first = self.next;
        self.next += rows;
        let emit = format!(
            "select outbox.emit('{}', 'w{}-' || (n % {KEYS}), json_build_object('n', n)) from generate_series({first}, {}) n",
            self.schema,
            self.number,
            first + rows - 1,
        );
        let statements = match self.seeded.below(10) {
            0 => format!("begin; {emit}; rollback"),
            1 => format!("begin; savepoint a; {emit}; rollback to a; commit"),
            // Without a transaction to end, a single-statement transaction.
            2 => emit,
            _ => format!("begin; {emit}; commit"),
        };
        client.batch_execute(&statements).await
    }
}
