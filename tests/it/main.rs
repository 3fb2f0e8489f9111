//! End-to-end tests against a real PostgreSQL and a real Apache Kafka; `harness` starts or finds them.
//!
//! # Cases
//!
//! What a transactional outbox relay must handle. A test named `case_07_…`, here or next to the code, covers case 7 or a part of it.
//! `tests/tidy` fails for a case without a test, and for a test whose case is not listed here.
//!
//! ## Routing and records
//!
//! 1. The schema version determines topic and format; two schemas with the same version number share neither.
//! 2. Key, value and headers arrive byte for byte; null, JSON `null` and empty are three different payloads.
//! 3. A record's timestamp is the commit time, the same for all rows of a transaction.
//! 4. Committed inserts are published, and nothing else: no update, delete, truncate, rollback or rollback to a savepoint.
//! 5. Columns that are added, dropped or changed while the relay runs are followed; a missing required column is an error that names it.
//! 6. Names may contain capitals, dashes, quotes, keywords and non-ASCII letters, wherever both systems accept them.
//! 7. Rows of all partitions of a table are one stream, even while partitions are attached and detached.
//! 8. The Debezium preset produces the topic, key, value and `id` header of Debezium's outbox event router.
//! 9. A key maps to the same partition as with Kafka's Java client.
//!
//! ## Position, acknowledgement, restart
//!
//! 10. The flush LSN waits for the oldest record and never moves back, in whatever order Kafka acknowledges.
//! 11. A relay killed at random points under load loses and reorders nothing; with exactly-once delivery it duplicates nothing either.
//! 12. A relay that is asked to stop waits for its acknowledgements, confirms them and exits with 0 in time, or reports what it could not.
//! 13. A transaction that is open across restarts of the relay arrives whole and once.
//! 14. Transactions arrive in the order of their commits, not of their inserts.
//! 15. Rows that share one LSN all arrive in order; a stop or a kill between them leaves no gap.
//! 16. A very large transaction passes in constant memory, and status updates continue while Kafka does not answer.
//! 17. After a lost walsender, a restart of Postgres or a silent connection the relay continues without loss or duplicates.
//! 18. Kafka may be down for long, move a leader, lack replicas or lose a topic: no gap, order preserved, and the relay keeps running.
//! 19. A relay that is fenced exits, states the reason, and writes nothing more.
//!
//! ## The slot
//!
//! 20. In a busy database with an idle outbox the slot advances; with a row in flight it does not.
//! 21. A slot that is missing at the first start is created, and rows from before it are published, each once.
//! 22. A slot that is missing, invalidated, foreign or moved by something else: exit 69, what may be missing, the fix; no silent gap.
//! 23. A second relay stands by and takes over when the first is gone; a stale walsender does not block the slot forever.
//! 24. Servers, roles, publications and configuration that can't work are reported in one line, with the command that fixes them, if any.
//! 25. On a promoted standby the relay continues without loss, and doctor reports a slot that would not be synchronized.
//!
//! ## Bad rows
//!
//! 26. A row that can't be published becomes a dead letter with its code; all others arrive, in order.
//! 27. While the dead-letter topic is not writable, the relay waits, reports it, and confirms nothing past the row.
//! 28. A relay configured to halt exits with 65 before the row, names it with the reason, and continues from there after the fix.
//! 29. A redriven dead letter goes to its original topic, once, with its id and position.
//!
//! ## Untrusted input
//!
//! 30. Decoders accept any bytes and return a value or an error with its offset, and never panic; `tests/fuzz` explores further.
//! 31. JSON and configuration nested 10,000 deep, and messages that are not events, are refused or passed through without a stack overflow.
//!
//! ## Found with other people's software
//!
//! A case is added here with its first test; the numbers ascend.
//!
//! 32. If the publication omits rows or columns of an outbox table, the relay refuses to start or exits, and doctor reports it.
//! 33. A row that Postgres can't convert or send affects only itself, in any encoding; a repeated error at one LSN is reported.
//! 34. A record whose timestamp its topic rejects becomes a dead letter that Kafka accepts, whatever the time; redrive restores the time.
//! 35. Over a path so slow that transactions time out, exactly-once delivery gets through in smaller ones.
//! 36. A slot with two_phase is refused by name, and prepared transactions that block the first start are named. A read-only database,
//!     synchronous replication to any standby, a foreign publication for all tables, a failing `outbox.maintain`: handled or reported.
//! 37. Keys, headers and topics can be of every scalar type; missing or unreadable columns are reported at the start and by doctor.
//! 38. A check that would take too long makes a dead letter; a row larger than memory, or text that grows when read, affects only itself.
//! 39. Nothing is published to an internal topic of Kafka or walpost, whoever names it. A position in Kafka that the relay did not
//!     write, or an old one of its own, is refused and reported; dead letters of another relay are left to that relay.
//! 40. A role without grants can neither publish anything nor block a relay: messages are signed, and locks belong to the relay. A
//!     writer's headers never pass for the relay's. A flood of unregistered names costs few connections and few log lines. A version that
//!     is registered in its event's transaction is found, however long the commit waits for a synchronous standby.
//! 41. Partial requests, slow clients and endless bodies at the HTTP server exhaust no descriptors and delay no health check.
//! 42. The official CloudEvents SDKs, kafkajs, sarama, Kafka's own client, confluent-kafka and kcat read every record of every preset.
//! 43. A new version is compatible only if its consumers accept everything that the old one allows, whatever keywords of draft 2020-12
//!     and references the schemas use; what can't be proved is refused. Numbers are compared and divided exactly.
//! 44. A contract file is read by its own version of the standard: 3.0, 3.1 or 3.2. If nothing follows from it, `plan` says why.
//! 45. An impostor of Postgres gets no password that the URL forbids, and no more time than `connect_timeout`, for any command.
//! 46. Through a connection pooler no command changes a session that other clients get; those that need one of their own refuse.
//! 47. During an outage of either side, and on a standby relay, metrics, status and log report what is known and nothing else.
//! 48. Exit code 69 says whether a retry may help: a hint on stderr, `retry` in a log in JSON.
//! 49. A check asks whoever decides: which role may replicate (managed services differ), whether an idle slot moves, what a slot's
//!     creation waits for, whether the brokers' advertised addresses can be reached, and which login methods this build has.
//! 50. TLS as libpq: where nothing is verified every kind of certificate works, and `prefer` falls back to no encryption.

mod bench;
mod chaos;
mod clients;
mod contracts;
mod dead_letters;
mod demo;
mod documentation;
mod doctor;
mod exactly_once;
mod examples;
mod first;
mod harness;
mod http;
mod lifecycle;
mod refusals;
mod replay;
mod routing;
mod sandbox;
mod service_levels;
mod setup;
mod sink;
mod slot;
mod sql;
