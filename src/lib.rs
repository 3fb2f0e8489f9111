//! walpost: a transactional outbox relay for PostgreSQL and Apache Kafka.
//!
//! A service writes its business rows and its outbox rows in one transaction. walpost tails the logical replication stream
//! of the outbox table and publishes each row to the Kafka topic that the row's schema version names, in commit order and
//! without loss. This page is the architecture; the README and `docs/` explain how to run it.
//!
//! # The flow
//!
//! ```text
//! service tx --insert--> outbox.event --WAL--> slot --CopyBoth--> source: one thread owns the socket
//!                                                                   | Batch (undecoded pgoutput)
//!                                                                   v
//!    +------------------------------ relay: the pure core -------------------------------+
//!    | decode -> event -> metadata (schema version, topic) -> check -> encode -> record  |
//!    |                                        refused -> dead-letter record              |
//!    | ledger: what each commit still waits for ---> flush LSN                           |
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
//! | [`walpost_producer`] | the crate for services: `emit` in sqlx and tokio-postgres transactions |
//! | [`walpost_producer::schema`] | a JSON Schema, compiled once, that checks each payload; pure |
//! | [`migrations`] | schema `outbox`: tables, functions, publication, grants |
//! | [`postgres`] | a small blocking Postgres client: TLS, SCRAM with channel binding, CopyBoth |
//! | [`source`] | edge 1: the slot, the backfill of older rows, and the thread that owns the replication socket |
//! | [`relay`] | the pure core: no I/O, no clock, no async |
//! | [`sink`] | edge 2: the Kafka producer, its transactions, and the topics |
//! | [`contracts`] | edge 3: schema versions in the database, and the contract files that define them |
//! | `positions` | positions to replay from: bookmarks, the rewind window, and the index from times to positions |
//! | `driver` | the relay's loop: the one `select!` that carries values between the edges and the core |
//! | `ops` | operator tools: `doctor`, `replay`, `dead_letters` |
//! | `fault` | errors that end the relay |
//! | `exit` | the exit codes, and the trait by which each error states its own |
//! | [`telemetry`], [`http`] | log, metrics, status; `/metrics`, `/healthz`, `/readyz`, `/status` |
//! | `signals` | signals that end a command |
//! | [`random`] | seeded pseudo-random numbers, for simulations, tests and the demo |
//! | `terminal` | human-readable output: numbers, colours, progress on stderr |
//! | [`lab`] | temporary servers, the demo and the benchmarks; only with the feature `lab` |
//!
//! # Invariants, and where each is tested
//!
//! 1. **No loss.** `confirmed_flush_lsn` never passes the end of a commit that has a row that Kafka has not acknowledged
//!    (`acks=all`), as a record or as a dead letter. The [ledger](relay::delivery::ledger) advances the flush LSN over settled
//!    commits only and asserts that a ticket is settled once; the [gate](relay::confirm) passes an LSN once everything before it is
//!    settled, stored and noted; the stream asserts again that the confirmed LSN never moves back. `tests/sim`,
//!    `tests/it/chaos`.
//! 2. **Order.** One task enqueues records, the producer is idempotent, a record that finds the queue full is offered again before
//!    any other, and records that Kafka returns are sent again, in order, before anything newer
//!    ([retry queue](relay::delivery::retry_queue)). `tests/sim`, `tests/it/sink`.
//! 3. **Duplicates** only after a crash or an unfinished stop of the relay, with the exceptions in `docs/guarantees.md`. After a lost
//!    connection the core skips every event up to the last [position](relay::boundary::Position) that it accepted. `tests/sim`,
//!    `tests/it/lifecycle`. With exactly-once delivery, never: the position is written in the transaction of its records
//!    ([`sink::TransactionalSink`]), and the slot is not confirmed past it. `tests/sim`, `tests/it/exactly_once`, `tests/it/chaos`.
//! 4. **Bounded memory.** Records and bytes in flight are limited. At the limit the core asks for no input, the channel from the
//!    source fills, the thread stops reading, and Postgres holds the backlog. `tests/it/lifecycle/transactions.rs`.
//! 5. **Alive while waiting.** The thread that owns the socket sends status updates on its own clock, even while the channel is
//!    full. `source/tests/streaming.rs`, `tests/it/lifecycle/transactions.rs`.
//! 6. **Idle slots advance.** With nothing in flight and no transaction open, the LSN of a keepalive is confirmed.
//!    `tests/it/lifecycle/slot.rs`.
//! 7. **A bad row harms only itself.** It becomes a dead letter or stops the relay; it is never skipped. So does a payload that
//!    violates its contract, unless the contract asks to publish it with a header. `tests/sim`, `tests/it/refusals`.
//! 8. **No silent gaps.** A slot that is missing, recreated, invalidated, advanced by something else, or of another cluster is an
//!    error that states what may be missing ([`SourceError`](source::SourceError)); so is a slot that contradicts the position in
//!    Kafka ([`PositionError`](sink::PositionError)). The slot is never confirmed past what is [noted](source::Note) in
//!    `outbox.relay`, so that the next start can detect this: [`relay::resume`] decides. `tests/sim`, `tests/it/slot`.
//!
//! There is no I/O, clock, randomness or async in [`relay`]; no second owner of the replication socket; no path for a record to Kafka
//! other than the core's `offer`; and no branch on the text of an error.
//!
//! # Where a row can be lost
//!
//! Every file that advances or drops a slot, reports an LSN, writes relay state (which the next start trusts), skips an event, drops a
//! partition or settles a ticket. `tests/tidy` fails if a file does one of these and this table does not list it.
//!
//! | file | what it does | why no row is lost |
//! |---|---|---|
//! | `src/relay/publish/publisher.rs` | settles a ticket | the ledger asserts that the ticket is open, and settles it once |
//! | `src/relay/machine/mod.rs` | skips an event, settles a ticket | skips only events that it accepted before, by their position behind a [guard](relay::resume::Guard), messages that `outbox.emit_message` did not write, and rows of tables that no `[[outbox]]` names, which are counted and reported |
//! | `src/sink/client/context.rs`, `src/sink/client/producer_client.rs` | settles a ticket | on librdkafka's delivery report with `acks=all`; one that a later record's only implies counts only where the partition knows the producer |
//! | `src/sink/at_least_once.rs`, `src/sink/exactly_once/mod.rs` | settles a ticket | forwards those reports; with transactions, once the commit has succeeded |
//! | `src/sink/exactly_once/sink.rs` | decides on a stored position | stores what the driver's checkpoint says, in the transaction of the records before it |
//! | `src/sink/exactly_once/skip.rs` | decides on a stored position | an operator's `slot skip`, with the dead letters of what is skipped in the same transaction |
//! | `src/sink/exactly_once/positions.rs` | decides on a stored position | takes the last one under the relay's key, if a key of this database signed it and it is not a copy |
//! | `src/sink/client/topic_reader.rs` | decides on a stored position | reads to the end that the partition had at the call, whatever a new leader says of it at first |
//! | `src/driver/reporting.rs` | settles a ticket | forwards the sink's acknowledgements to the core |
//! | `src/driver/link.rs` | reports an LSN, advances a slot | only up to the LSN that the [gate](relay::confirm::Gate) passes |
//! | `src/source/stream/reader.rs` | reports an LSN | asserts that it never moves back |
//! | `src/source/slot/advance.rs` | advances a slot, writes relay state | at a stop without a stream, under the lease, on the [same server](relay::resume::same_server), after noting it |
//! | `src/source/state/note.rs` | writes relay state | writes what the gate asks for; a noted position never moves back |
//! | `src/source/slot/lease.rs`, `src/source/state/relay_state.rs` | writes relay state | the gate asks to note the backfill as published once it is in Kafka |
//! | `src/source/stream/begin.rs` | drops a slot, writes relay state | as [`relay::resume::plan`] decides: a slot that was lost before anything was confirmed; the limit is the slot's confirmed LSN |
//! | `src/source/slot/inspect.rs` | drops a slot | on behalf of its callers |
//! | `src/source/slot/slot_admin.rs` | drops a slot, writes relay state | an operator's `slot recreate`, which publishes the rows again, and `slot adopt`, which accepts the gap |
//! | `src/source/stream/skip.rs` | advances a slot, reports an LSN, writes relay state | an operator's `slot skip` of one transaction that Postgres can't send, after everything before it is published; it reports 0/0 |
//! | `src/source/slot/slot_copy.rs` | advances a slot, drops a slot | copies, bookmarks and the rewind window; no relay streams from these slots |
//! | `src/positions/bookmark.rs`, `src/positions/window.rs` | advances a slot, drops a slot | bookmarks and the rewind window; no relay streams from these slots |
//! | `src/driver/maintenance.rs` | drops a partition | only while the slot streams and is [past its backfill](relay::confirm::Gate::is_past_backfill) |
//! | `migrations/0005_maintain.sql`, `migrations/0014_locks.sql` | drops a partition | whole days older than the retention, and none while a first backfill is pending in `outbox.relay` |
//! | `src/sink/memory.rs`, `src/sink/accepted.rs`, `src/lab/bench/null.rs`, `src/lab/bench/producer.rs` | settles a ticket, drops a slot | no Kafka: tests, a rehearsal, a benchmark |
//! | `src/lab/bench/backlog.rs`, `src/lab/bench/recvlogical.rs`, `src/lab/bench/relay.rs`, `src/lab/bench/throughput.rs` | drops a slot | the benchmark's slots |
//! | `src/lab/bench/emit.rs` | drops a partition | in the benchmark's database |
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | position | an event's place in the stream: the LSN of its transaction's commit record, and its ordinal in the transaction |
//! | ticket | the number under which the core hands a record to the sink, and under which the sink answers |
//! | [ledger](relay::delivery::ledger) | the open tickets in stream order: how far everything is acknowledged |
//! | [gate](relay::confirm::Gate) | decides how far the slot may be confirmed |
//! | [note](source::Note) | what the relay records in `outbox.relay` about its slot; the next start compares it with the slot |
//! | [guard](relay::resume::Guard) | the position up to which events of a resumed stream are skipped, and the check that the event at it comes again |
//! | [lease](source::Lease) | the right of one relay to a slot |
//! | skip | of an event: it is not published again, because it is in Kafka already; of a transaction: `walpost slot skip` moves the slot past one that is unsendable, and writes dead letters in its place |
//! | unsendable | of a transaction: Postgres fails to decode it for the slot, so nothing after it can be streamed |
//! | backfill | the rows that are older than the slot, read from the tables at a first start |
//! | [in-flight window](relay::delivery::window) | how much may be handed to the sink and unanswered |
//! | warm-up | a producer's first record to a partition goes alone; with transactions there is none |
//! | rewind window | what the second slot of `[relay] rewind` holds: any position in it can be replayed |
//! | bookmark | a named slot copy at one position, to replay from |
//! | mark | the record in `walpost.redriven` that says that a dead letter was redriven or discarded |
//!
//! # Positions
//!
//! An event's position is the LSN of its transaction's *commit record* and its ordinal in the transaction. pgoutput's Begin carries
//! this LSN. The end of the commit record is known only at Commit, and the first rows of a transaction of a million are published
//! long before that. Positions order all events of a slot, and are the same each time an event is sent. The LSN that is confirmed to
//! the slot is the end of the commit.
//!
//! A slot can stream every transaction whose commit record starts at or after its `confirmed_flush_lsn`, and so can a copy of it. A
//! replay streams from a temporary copy of any slot that still holds its position (`source::held`), and never uses a relay's slot.
//!
//! # One relay at a time
//!
//! Whoever holds a slot's [lease](source::Lease) owns the slot. The lease is an advisory lock in a session that sends a heartbeat
//! every second; other relays stand by. Notes go through that session only, so a relay that has lost its lease confirms nothing that
//! is not noted.
//!
//! # What is public
//!
//! Services depend on [`walpost_producer`]. This crate is the command `walpost`; a module is public if the binary, the tests or
//! the benchmarks need it, and may change in any release.

pub mod cli;
pub mod config;
pub mod migrations;
pub mod postgres;
pub mod source;
pub mod relay;
pub mod sink;
pub mod contracts;
mod positions;
mod driver;
mod ops;
mod fault;
mod exit;
pub mod telemetry;
pub mod http;
mod signals;
pub mod random;
mod terminal;
#[cfg(feature = "lab")]
pub mod lab;
