//! The source against a real server.

mod accidents;
mod confirming;
mod epochs;
mod decoded;
mod encodings;
mod streaming;

use std::sync::{Arc, Mutex};

use super::{Lease, OutboxTable, Source, SourceError, SourceOptions};
use crate::postgres::scratch::Scratch;
use crate::postgres::{ConnectOptions, Connection};
use crate::relay::boundary::Lsn;
use crate::relay::confirm::Resume;
use crate::relay::decode::outbox::{Column, Outbox as Configured, Routing, TemplatePart};
use crate::relay::decode::role::Role;

/// A database of the test's own, with the relay's state table, an outbox table and its publication.
struct Outbox {
    server: &'static Scratch,
    options: SourceOptions,
}

const TABLES: &str = "create schema outbox;
    create table outbox.relay (slot text primary key, system_identifier text not null,
        backfill text not null check (backfill in ('pending', 'done')), position pg_lsn,
        updated_at timestamptz not null default now(), timeline integer, confirm_limit pg_lsn, published_lsn pg_lsn,
        published_at timestamptz, published_xid xid8, recover_from xid8,
        position_signed boolean not null default false, signed_position pg_lsn,
        position_epoch uuid, epoch_position pg_lsn, position_key bigint);
    create table outbox.lease (slot text primary key, lock_key bigint not null);
    create table outbox.secret (id bigint, purpose text, inner_pad bytea, outer_pad bytea, valid_from timestamptz);
    create function outbox.settle_unsigned_messages(slot text) returns pg_lsn language sql as 'select ''0/0''::pg_lsn';
    create table outbox.event (id bigint generated always as identity, payload text, acl aclitem,
        created_at timestamptz not null default now());
    create publication outbox for table outbox.event with (publish = 'insert', publish_via_partition_root = true)";

impl Outbox {
    fn new(server: &'static Scratch, name: &str) -> Self {
        let connect = server.database(name);
        let outbox = Self { server, options: options(connect, name) };
        outbox.sql(TABLES);
        outbox
    }

    fn sql(&self, sql: &str) -> Vec<String> {
        let mut connection = Connection::open(&self.options.connect).expect("a connection");
        let rows = connection.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close();
        rows.iter().map(|row| row.text(0).unwrap_or("null").to_owned()).collect()
    }

    fn value(&self, sql: &str) -> String {
        self.sql(sql).into_iter().next().unwrap_or_else(|| panic!("{sql} gave no row"))
    }

    fn slot(&self, column: &str) -> String {
        self.value(&format!("select {column} from pg_replication_slots where slot_name = '{}'", self.options.slot))
    }

    fn slot_count(&self) -> usize {
        self.sql(&format!("select 1 from pg_replication_slots where slot_name = '{}'", self.options.slot)).len()
    }

    fn confirmed_flush(&self) -> Lsn {
        self.slot("confirmed_flush_lsn").parse().expect("an LSN")
    }

    /// Writes rows with these texts, in one transaction.
    fn insert(&self, payloads: &[&str]) {
        let values: Vec<String> = payloads.iter().map(|payload| format!("('{payload}')")).collect();
        self.sql(&format!("insert into outbox.event (payload) values {}", values.join(", ")));
    }

    async fn connect(&self) -> Source {
        self.try_connect().await.unwrap_or_else(|error| panic!("no stream: {error} ({error:?})"))
    }

    async fn try_connect(&self) -> Result<Source, SourceError> {
        connect(&self.options, None).await
    }

    /// As another process that wants the same slot.
    async fn rival(&self) -> Result<Source, SourceError> {
        let lease = Arc::new(Lease::new(self.options.connect.clone(), self.options.slot.clone()));
        super::connect(&self.options, &lease, None).await
    }

    async fn error(&self) -> SourceError {
        match self.try_connect().await {
            Ok(_) => panic!("a stream in place of an error"),
            Err(error) => error,
        }
    }
}

impl Drop for Outbox {
    /// Returns the slot to the tests that share the server.
    fn drop(&mut self) {
        let sql = format!(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where database = '{0}' and active",
            self.options.connect.database()
        );
        if !std::thread::panicking() {
            self.server.sql(&sql);
        }
    }
}

/// This process's lease on a slot, kept for as long as a test may need it.
fn lease_of(options: &SourceOptions) -> Arc<Lease> {
    static LEASES: Mutex<Vec<(SourceOptions, Arc<Lease>)>> = Mutex::new(Vec::new());
    let mut leases = LEASES.lock().expect("no test panics here");
    let is_of = |of: &SourceOptions| of.connect == options.connect && of.slot == options.slot;
    if let Some((_, lease)) = leases.iter().find(|(of, _)| is_of(of)) {
        return Arc::clone(lease);
    }
    let lease = Arc::new(Lease::new(options.connect.clone(), options.slot.clone()));
    leases.push((options.clone(), Arc::clone(&lease)));
    lease
}

async fn connect(options: &SourceOptions, resume: Option<Resume>) -> Result<Source, SourceError> {
    let lease = lease_of(options);
    let outcome = super::connect(options, &lease, resume).await;
    if outcome.is_err() {
        lease.release();
    }
    outcome
}

fn options(connect: ConnectOptions, slot: &str) -> SourceOptions {
    SourceOptions {
        connect,
        slot: slot.to_owned(),
        publication: "outbox".to_owned(),
        tables: vec![outbox_table()],
        status_interval: super::STATUS_INTERVAL,
        record_bytes: super::RECORD_BYTES,
    }
}

fn outbox_table() -> OutboxTable {
    let column = |role, name: &str, needed| Column { role, name: name.to_owned(), needed };
    let mut outbox = Configured::walpost("outbox", "event");
    outbox.columns = vec![
        column(Role::Id, "id", true),
        column(Role::Payload, "payload", true),
        column(Role::CreatedAt, "created_at", false),
    ];
    outbox.routing = Routing::Template(vec![TemplatePart::Literal("events".to_owned())]);
    OutboxTable::of(&outbox)
}
