//! End to end, against a real PostgreSQL and a real Apache Kafka. Where they come from: see `harness`.
//!
//! # Cases
//!
//! What a relay of this kind must pass. A test named `case_07_…`, here or beside the code, is of case 7; most cases have several, each
//! of a part. `tests/tidy` fails for a number without a test and for a test without a line here.
//!
//! ## Routing and the record
//!
//! 1. The schema version decides on topic and format; two schemas that share a version number share neither.
//! 2. Key, value and headers arrive byte for byte; null, JSON's `null` and empty are three payloads.
//! 3. A record's timestamp is the time of its commit, the same for all rows of a transaction.
//! 4. What is inserted and committed is published, and nothing else: no update, delete, truncate or rollback, to a savepoint or whole.
//! 5. Columns that come, go and change while the relay runs are followed; a needed one that is gone is an error that names it.
//! 6. Names may have capitals, dashes, quotes, keywords and letters beyond ASCII, wherever the two systems take them.
//! 7. Rows of every partition of a table are one stream, also while partitions are attached and detached.
//! 8. With the Debezium preset topic, key, value and `id` header are those that Debezium's outbox event router gives.
//! 9. A key has the partition that Kafka's Java client gives it.
//!
//! ## Position, acknowledgement, restart
//!
//! 10. In whatever order Kafka acknowledges, the flush LSN waits for the oldest record and never moves back.
//! 11. A relay killed at random points under load loses and reorders nothing; with exactly-once delivery it repeats nothing either.
//! 12. A relay that is told to stop has its records acknowledged, confirms them and exits with 0 in time; what it can't, it says.
//! 13. A transaction that is open across restarts of the relay arrives whole and once.
//! 14. Transactions come in the order of their commits, not of their inserts.
//! 15. Rows that share one LSN all arrive in order; a stop or a kill among them leaves no gap.
//! 16. A very large transaction passes in flat memory, and status updates go on while Kafka does not answer.
//! 17. After a lost walsender, a restart of Postgres or a silent connection the relay goes on, and loses and repeats nothing.
//! 18. Kafka may be away for long, move a leader, lack replicas or lose a topic: no gap, the order kept, and the relay lives.
//! 19. A relay whose transactional id another has taken ends, says so, and writes nothing more.
//!
//! ## The slot
//!
//! 20. In a busy database with an idle outbox the slot moves on; with a row in flight it does not.
//! 21. A slot that is missing at the first start is made, and rows from before it are published, each once.
//! 22. A slot that is gone, invalidated, another's or moved by another hand: exit 69, what may be missing, how to go on; no silent gap.
//! 23. A second relay stands by and takes over when the first is gone; a stale walsender does not hold the slot for ever.
//! 24. What can't work in servers, roles, publication or configuration is told in a line, with the command that mends it if one does.
//! 25. At a promoted standby the relay goes on without loss, and doctor tells of a slot that a standby would not have.
//!
//! ## Bad rows
//!
//! 26. A row that can't be published as it is becomes a dead letter with its code; all others arrive, in order.
//! 27. While the dead-letter topic can't be written, the relay waits, says so, and confirms nothing past the row.
//! 28. A relay that is to halt exits with 65 before the row, names it with the reason, and goes on from there once it is mended.
//! 29. A dead letter that is redriven goes to the topic it was meant for, once, with its id and position.
//!
//! ## Untrusted input
//!
//! 30. Decoders take any bytes and give a value or an error with its place, and never panic; `tests/fuzz` looks further.
//! 31. JSON and configuration nested 10,000 deep, and messages that are no events, are refused or passed on, and overflow no stack.
//!
//! ## Found by trying it with what others wrote
//!
//! A number is added here with its first test; the numbers ascend.
//!
//! 32. What the publication does not stream of an outbox table's rows and columns ends the start and the running relay, and doctor tells it.
//! 33. A row that Postgres can't convert or send is set aside alone, in any encoding; an error that repeats at one LSN is no lost connection.
//! 34. A record whose time its topic refuses becomes a dead letter that is accepted, whatever its time; redrive gives the time back.
//! 35. Over a path so slow that a transaction times out, exactly-once delivery gets through in smaller ones.
//! 36. A slot with two_phase is refused by name, and prepared transactions that hold up the first start are named. A read-only database, any
//!     standby as a synchronous one, another tool's publication of all tables, what else keeps partitions from being made: none is silence.
//! 37. Keys, headers and topics are made of every scalar type; columns that are missing or unreadable are told at the start and by doctor.
//! 38. A check that would take for ever makes a dead letter; rows larger than memory and text that grows when it is read harm only themselves.
//! 39. Nothing goes to an internal topic of Kafka's or of walpost's, whoever names it. A position in Kafka that the relay has not written, or
//!     an old one of its own, is refused and named; another relay's dead letters stay that relay's.
//! 40. A role without grants can neither have anything published nor hold up a relay: messages bear a proof, locks are the relay's own. A
//!     writer's headers never pass for the relay's. A flood of names that nobody has
//!     registered costs few connections and few lines of log. A
//!     version registered in its event's transaction is known, however long that waits for a synchronous standby.
//! 41. Half requests, slow clients and endless bodies at the HTTP server leave the relay its descriptors and its health its answer.
//! 42. The official CloudEvents SDKs, kafkajs, sarama, Kafka's own client, confluent-kafka and kcat read every record of every preset.
//! 45. A false Postgres gets no password that the URL does not allow, and no more time than `connect_timeout`, whatever the command.

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
