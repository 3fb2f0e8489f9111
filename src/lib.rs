//! walpost: a transactional outbox relay for PostgreSQL and Apache Kafka.
//!
//! A service writes its business rows and its outbox rows in one transaction. walpost tails the logical replication stream
//! of the outbox table and publishes each row to the Kafka topic that the row's schema version names: in commit order,
//! without loss. This page is the architecture; the README and `docs/` are for those who want to run it.
//!
//! # The flow
//!
//! ```text
//! service tx --insert--> outbox.event --WAL--> slot --CopyBoth--> source: one thread owns the socket
//!                                                                   | Batch (undecoded pgoutput)
//!                                                                   v
//!    +------------------------------ relay: the pure core -------------------------------+
//!    | decode -> event -> catalogue (schema version, topic) -> check -> encode -> record |
//!    |                                        refused -> dead-letter record              |
//!    | ledger: what each commit is still owed  ---> flush LSN                            |
//!    +-----------------------------------------------------------------------------------+
//!             ^ acknowledged tickets, failures             | record + ticket
//!             +------------- sink: Kafka producer <--------+
//!                                                 flush LSN -> standby status update -> slot
//! ```
//!
//! # Code map, in the order data moves
//!
//! | module | what it is |
//! |---|---|
//! | [`cli`] | the commands, a file or a folder each |
//! | [`config`] | reads `walpost.toml` and the environment into types; reports all mistakes at once |
//! | [`walpost_producer`] | a crate of its own, for services: `emit` for sqlx and tokio-postgres transactions |
//! | [`walpost_producer::schema`] | a JSON Schema, compiled once, that checks each payload; pure |
//! | [`migrations`] | schema `outbox`: tables, functions, publication, grants |
//! | [`postgres`] | a small blocking Postgres client: TLS, SCRAM with channel binding, CopyBoth |
//! | [`source`] | edge 1: the slot, the rows from before it, and the thread that owns the replication socket |
//! | [`relay`] | the pure core: no input or output, no clock, no async |
//! | [`sink`] | edge 2: the Kafka producer, its transactions, and the topics |
//! | [`contracts`] | edge 3: schema versions in the database, and the contract files that define them |
//! | [`positions`] | positions to replay from: bookmarks, the rewind window, and the index from times to positions |
//! | [`driver`] | the relay's loop: the one `select!` that carries values between the edges and the core |
//! | [`ops`] | operator tools beside the relay: `doctor`, `replay`, `dead_letters` |
//! | [`fault`] | errors that end the process, with their exit codes |
//! | [`telemetry`], [`http`] | log, metrics, status; `/metrics`, `/healthz`, `/readyz`, `/status` |
//! | [`signals`] | signals that end a command |
//! | [`terminal`] | output for people: numbers, colours, progress on stderr |
//! | [`lab`] | temporary servers, the demo and the benchmarks; only with the feature `lab` |
//!
//! # Invariants, and where each is tested
//!
//! 1. **No loss.** `confirmed_flush_lsn` never passes the end of a commit that still has a row that Kafka has not
//!    acknowledged (`acks=all`) as a record or as a dead letter. The [ledger](relay::delivery::ledger) moves the flush LSN over the
//!    settled front only, and asserts that a ticket is settled once; the [gate](relay::confirm) lets an LSN pass that is settled,
//!    stored and noted; the [stream](source::Stream) asserts again that what is confirmed never goes back. `tests/sim`,
//!    `tests/it/chaos`.
//! 2. **Order.** One task offers records, the producer is idempotent, a record that finds no room is offered again before
//!    any other, and what Kafka gives back goes out again, in order, before anything newer
//!    ([returns](relay::delivery::retry_queue)). `tests/sim`, `tests/it/sink`.
//! 3. **Duplicates** only after a crash or an unfinished stop of the relay, with the exceptions in `docs/guarantees.md`. After a lost connection the core passes over every event up to the
//!    last [position](relay::boundary::Position) that it took. `tests/sim`, `tests/it/lifecycle`. With exactly-once delivery never:
//!    the position is in the transaction that makes it true ([`sink::TransactionalSink`]), and the slot is not confirmed past
//!    it. `tests/sim`, `tests/it/exactly_once`, `tests/it/chaos`.
//! 4. **Bounded memory.** Records and bytes in flight have a limit; at it the core asks for no input, the channel from the
//!    source fills, the thread stops reading, and Postgres holds the backlog. `tests/it/lifecycle/transactions.rs`.
//! 5. **Alive while waiting.** The thread that owns the socket reports on its own clock, also while the channel is full.
//!    `source/tests/streaming.rs`, `tests/it/lifecycle/transactions.rs`.
//! 6. **Idle slots move.** With nothing owed and no transaction open, the LSN of a keepalive is confirmed.
//!    `tests/it/lifecycle/slot.rs`.
//! 7. **A bad row harms only itself.** It becomes a dead letter or stops the relay, and is never skipped. A payload that breaks its
//!    contract is one, unless the contract wants it published with a note. `tests/sim`, `tests/it/refusals`.
//! 8. **Never silently past a gap.** A slot that is gone, recreated, invalidated, advanced by something else, or of another
//!    cluster is an error that says what can be missing ([`SourceError`](source::SourceError)); as is one that does not go
//!    with the position in Kafka ([`PositionError`](sink::PositionError)). The slot is never confirmed past what is
//!    [noted](source::Note) in `outbox.relay`, so that a start can tell: [`relay::resume`] decides. `tests/sim`, `tests/it/slot`.
//!
//! What must never be: input or output, a clock, randomness or async in [`relay`]; a second owner of the replication
//! socket; a second way for a record to Kafka than the core's `offer`; a branch on an error's text.
//!
//! # Where a row can be lost
//!
//! Each file that advances or drops a slot, reports an LSN, notes what a later start believes, skips an event, drops a partition or
//! settles a ticket. `tests/tidy` fails where a file does one of these and this table does not say so.
//!
//! | file | what it does | why no row is lost |
//! |---|---|---|
//! | `src/relay/publish/publisher.rs` | settles a ticket | the ledger asserts that it is open, and settles it once |
//! | `src/relay/machine.rs` | skips an event, settles a ticket | skipped is what was taken before, by its position behind a [guard](relay::resume::Guard), and messages that `outbox.emit_message` did not write |
//! | `src/sink/client/context.rs`, `src/sink/client/producer_client.rs` | settles a ticket | librdkafka's delivery report with `acks=all` |
//! | `src/sink/at_least_once.rs`, `src/sink/exactly_once/mod.rs` | settles a ticket | hands on those reports; in transactions once the commit is answered |
//! | `src/driver/reporting.rs` | settles a ticket | hands what the sink has answered to the core |
//! | `src/driver/link.rs` | reports an LSN, advances a slot | only what the [gate](relay::confirm::Gate) lets pass |
//! | `src/source/stream/reader.rs` | reports an LSN | asserts that it never goes back |
//! | `src/source/slot/advance.rs` | advances a slot, notes what a start believes | at a stop without a stream, under the lease, on the [same server](relay::resume::same_server), noted first |
//! | `src/source/state/note.rs` | notes what a start believes | what the gate wants noted; a position that is noted never goes back |
//! | `src/source/slot/lease.rs`, `src/source/state/relay_state.rs` | notes what a start believes | the gate wants it noted that the backfill is published once it is in Kafka |
//! | `src/source/stream/begin.rs` | drops a slot, notes what a start believes | what [`relay::resume::plan`] says: lost before anything was confirmed; the limit is where the slot stands |
//! | `src/source/slot/inspect.rs` | drops a slot | for its callers |
//! | `src/source/slot/slot_admin.rs` | drops a slot, notes what a start believes | an operator's `slot recreate`, which has the rows published again, and `slot adopt`, which gives up what is missing |
//! | `src/source/stream/skip.rs` | advances a slot, reports an LSN, notes what a start believes | an operator's `slot skip` of one transaction that Postgres can't send, after all before it are published; it reports 0/0 |
//! | `src/source/slot/slot_copy.rs` | advances a slot, drops a slot | copies, bookmarks and the rewind window; no relay streams from them |
//! | `src/positions/bookmark.rs`, `src/positions/window.rs` | advances a slot, drops a slot | their own slots; no relay streams from them |
//! | `src/driver/maintenance.rs` | drops a partition | only while the slot streams and is [past its backfill](relay::confirm::Gate::is_past_backfill) |
//! | `migrations/0005_maintain.sql`, `migrations/0014_locks.sql` | drops a partition | whole days older than the retention, and none while a first backfill is pending in `outbox.relay` |
//! | `src/sink/memory.rs`, `src/ops/replay/rehearsal.rs`, `src/lab/bench/null.rs` | settles a ticket, drops a slot | no Kafka: tests, a rehearsal, a benchmark |
//! | `src/lab/bench/backlog.rs`, `src/lab/bench/recvlogical.rs`, `src/lab/bench/relay.rs`, `src/lab/bench/throughput.rs` | drops a slot | the benchmark's own |
//! | `src/lab/bench/emit.rs` | drops a partition | in the benchmark's own database |
//!
//! # Positions
//!
//! An event's position is the LSN of its transaction's *commit record* and its place in the transaction. It is the LSN that
//! pgoutput's Begin carries: the end of the commit record is not known before Commit, and the first rows of a transaction of
//! a million must be on their way long before that. It orders all events of a slot all the same, and is the same each time
//! an event is sent. What is confirmed to the slot is the commit's end.
//!
//! A slot can stream every transaction whose commit record starts at or behind its `confirmed_flush_lsn`, and so can a copy of it: a
//! replay streams from a temporary copy of whichever slot still holds its position ([`source::held`]), and touches no relay's.
//!
//! # One relay at a time
//!
//! A slot is had by whoever holds its [lease](source::Lease): an advisory lock in a session that beats every second. Others stand by.
//! The lease's session is also the only way for a note, so a relay that has lost it confirms nothing that is not noted.
//!
//! # What is public
//!
//! Services depend on [`walpost_producer`]. This crate is the command `walpost`; its modules are public for the binary, the tests and
//! the benchmarks, and may change in any release.

pub mod cli;
pub mod config;
pub mod migrations;
pub mod postgres;
pub mod source;
pub mod relay;
pub mod sink;
pub mod contracts;
pub mod positions;
pub mod driver;
pub mod ops;
pub mod fault;
pub mod telemetry;
pub mod http;
pub mod signals;
pub mod terminal;
#[cfg(feature = "lab")]
pub mod lab;
