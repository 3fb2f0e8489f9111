//! Checks Postgres. Read-only: every statement is a select, in read-only sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::judge;
use super::report::{Finding, failure, ok};
use super::secrets::secret_readers;
use super::slot_facts::{as_noted, begun, pace};
use super::{ask_stream, clock};
use crate::config::Config;
use crate::contracts;
use crate::exit::CommandError;
use crate::migrations::{self, AppliedSteps};
use crate::postgres::{Connection, Error};
use crate::relay::boundary::{Lsn, TopicSettings};
use crate::relay::resume::{self, Begun, Gap, LeaseAcquisition, NotedState, ResumePlan, Slot, StartFacts};
use crate::source::{
    OutboxTable, Server, SlotState, SourceError, System, Unpublished, check_layout, check_publication, inspect_slot,
    order_without_time, prepared_transactions, read_noted, read_start, stray_outbox,
};
use crate::terminal::counted;

/// Most topics of schema versions to check.
const TOPICS: usize = 1_000;

/// What is noted about the slot, and the stored position among it.
type NotedPosition = Option<(NotedState, Option<Lsn>)>;
/// Topics of registered schema versions, each with its settings.
pub(crate) type Wanted = BTreeMap<String, TopicSettings>;

/// Runs all checks; returns also the topics of registered schema versions, and how a start would begin unless a relay runs.
pub(crate) async fn ask(config: &Config) -> (Vec<Finding>, Wanted, Option<Begun>) {
    let config = config.clone();
    tokio::task::spawn_blocking(move || {
        let mut asking = Asking { findings: Vec::new(), wanted: Wanted::new(), begun: None };
        // What fails for missing privileges already has a finding that says how to grant them.
        if let Err(error) = asking.ask(&config)
            && !(judge::is_denied(&error) && judge::lacks_rights(&asking.findings))
        {
            asking.fail("postgres", error);
        }
        (asking.findings, asking.wanted, asking.begun)
    })
    .await
    .expect("asking Postgres does not panic")
}

struct Asking {
    findings: Vec<Finding>,
    wanted: Wanted,
    begun: Option<Begun>,
}

impl Asking {
    fn fail(&mut self, check: &'static str, error: SourceError) {
        self.findings.push(failure(check, CommandError::from(error).report()));
    }

    /// Adds a finding: ok, or the error that the relay would report at start.
    fn judge(&mut self, check: &'static str, result: Result<String, SourceError>) -> bool {
        match result {
            Ok(what) => {
                self.findings.push(ok(check, what));
                true
            }
            Err(error) => {
                self.fail(check, error);
                false
            }
        }
    }

    /// # Errors
    /// The connection failed.
    fn ask(&mut self, config: &Config) -> Result<(), SourceError> {
        let connect = config.postgres.connect.clone().or_application_name("walpost doctor");
        let (mut control, server) = Server::open_any(&connect)?;
        control.configure("set default_transaction_read_only = on; set statement_timeout = '30s'")?;
        let encrypted = if control.is_encrypted() { ", encrypted" } else { "" };
        let at = format!("{} as {}, database {}{encrypted}", control.endpoint(), server.role, server.database);
        self.findings.push(ok("postgres", at));
        self.findings.push(judge::version(server.version));
        if server.is_standby() {
            self.fail("primary", SourceError::Standby);
            return Ok(());
        }
        self.findings.push(ok("primary", "the server is not a standby"));
        self.judge("wal_level", server.check_wal_level().map(|()| server.wal_level().to_owned()));
        let slot = config.postgres.slot.as_str();
        let found = inspect_slot(&mut control, server.version, slot)?;
        self.capacity(&mut control, found.as_ref())?;
        let system = self.replication(&mut control, config, &server);
        self.settings(&mut control)?;
        self.findings.extend(clock::compare(&mut control)?);
        let has_schema = self.migrations(&mut control)?;
        if has_schema {
            self.rights(&mut control, &server)?;
        }
        self.tables(&mut control, config, &server, found.is_some())?;
        if has_schema {
            self.partitions(&mut control)?;
            self.topics(&mut control)?;
        }
        self.findings.extend(ask_stream::ask(&mut control, &server, slot, has_schema)?);
        let noted = if has_schema { self.state(&mut control, &server, slot)? } else { None };
        self.slot(&mut control, slot, found, &server, noted, system)
    }

    fn capacity(&mut self, control: &mut Connection, slot: Option<&SlotState>) -> Result<(), SourceError> {
        let rows = control.simple_query(
            "select (select count(*) from pg_replication_slots), current_setting('max_replication_slots'), \
             (select count(*) from pg_stat_replication), current_setting('max_wal_senders')",
        )?;
        let number = |column| rows.first().and_then(|row| row.text(column)?.parse().ok()).unwrap_or(0);
        self.findings.push(judge::slots(number(0), number(1), slot.is_some()));
        let has_sender = slot.is_some_and(|slot| slot.active_pid.is_some());
        self.findings.push(judge::senders(number(2), number(3), has_sender));
        Ok(())
    }

    /// Opens a replication connection: who may is up to the server (the REPLICATION attribute, membership in a role of a
    /// managed service) and to pg_hba.conf. Returns the server's identity.
    fn replication(&mut self, control: &mut Connection, config: &Config, server: &Server) -> Option<resume::Server> {
        let system = server.identify(&config.postgres.connect, control);
        let facts = system.as_ref().ok().map(System::facts);
        let system = system.map(|system| system.identifier);
        match system {
            // Exhausted walsenders have their own finding.
            Err(SourceError::SendersUsedUp { .. }) => {}
            system => {
                let role = &server.role;
                self.judge("replication", system.map(|id| format!("role {role} can replicate; cluster {id}")));
            }
        }
        facts
    }

    /// Reads what a start reads from schema outbox; returns what is noted about the slot.
    fn state(&mut self, control: &mut Connection, server: &Server, slot: &str) -> Result<NotedPosition, SourceError> {
        // Missing migrations and privileges have their own findings, if the role can see them.
        if let Err(error) = read_start(control, server, slot)
            && !judge::lacks_rights(&self.findings)
        {
            self.fail("rights", error);
        }
        read_noted(control, server, slot)
    }

    fn settings(&mut self, control: &mut Connection) -> Result<(), SourceError> {
        let rows = control.simple_query(
            "select name, setting from pg_settings where name in ('max_slot_wal_keep_size', 'idle_replication_slot_timeout')",
        )?;
        let number = |name: &str| {
            let row = rows.iter().find(|row| row.text(0) == Some(name));
            row.and_then(|row| row.text(1)?.parse::<i64>().ok())
        };
        self.findings.extend(number("max_slot_wal_keep_size").map(judge::keep_size));
        self.findings.extend(number("idle_replication_slot_timeout").map(judge::idle_timeout));
        Ok(())
    }

    /// Whether schema outbox exists.
    fn migrations(&mut self, control: &mut Connection) -> Result<bool, SourceError> {
        let applied = migrations::read_applied(control)?;
        self.findings.push(judge::migrations(&applied, &migrations::known()));
        Ok(applied != AppliedSteps::Nothing)
    }

    /// Checks the privileges that `walpost migrate --relay-role` grants.
    fn rights(&mut self, control: &mut Connection, server: &Server) -> Result<(), SourceError> {
        let rows = control.simple_query(
            "select coalesce(bool_and(case when c.relname in ('relay', 'lease') then has_table_privilege(c.oid, 'select') \
                    and has_table_privilege(c.oid, 'insert') and has_table_privilege(c.oid, 'update') \
                    else has_table_privilege(c.oid, 'select') end), false) \
                and has_schema_privilege(n.oid, 'usage') \
                and (select coalesce(bool_and(has_function_privilege(p.oid, 'execute')), false) from pg_proc p \
                     where p.pronamespace = n.oid and p.proname = 'maintain') \
             from pg_namespace n join pg_class c on c.relnamespace = n.oid \
                and c.relname in ('relay', 'schema_version', 'event', 'secret', 'lease') where n.nspname = 'outbox' group by n.oid",
        )?;
        let role = server.role.clone();
        let has_all = rows.first().is_some_and(|row| row.is_true(0));
        let result = if has_all {
            Ok(format!("role {role} has all privileges it needs in schema outbox"))
        } else {
            Err(SourceError::NoPrivilege { role, doing: "use all of schema outbox that the relay needs" })
        };
        self.judge("rights", result);
        self.findings.extend(secret_readers(control)?.as_deref().map(judge::secret_readers));
        Ok(())
    }

    fn tables(
        &mut self,
        control: &mut Connection,
        config: &Config,
        server: &Server,
        has_slot: bool,
    ) -> Result<(), SourceError> {
        let publication = &config.postgres.publication;
        let (mut hidden, mut is_fit) = (Vec::new(), true);
        let outboxes: Vec<_> = config.outboxes.iter().map(OutboxTable::of).collect();
        for outbox in &outboxes {
            let table = &outbox.table;
            let checked = check_publication(control, publication, outbox, &outboxes);
            let archived = checked.as_ref().map(|streamed| streamed.archived.clone()).unwrap_or_default();
            is_fit &= self.judge("publication", checked.map(|_| format!("{publication} has table {table}")));
            self.findings.extend(archived.iter().map(|part| judge::archived(table, part)));
            if let Err(error) = check_layout(control, publication, outbox) {
                self.fail("columns", error);
            }
            if !has_slot && let Some(stand_in) = order_without_time(control, publication, outbox)? {
                self.findings.push(judge::order(table, stand_in));
            }
            let rows = control.query(
                "select row_security_active(c.oid), has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') \
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2",
                &[Some(&table.schema), Some(&table.name)],
            )?;
            let Some(row) = rows.first() else { continue };
            if !row.is_true(1) && table.schema != "outbox" {
                let grant = format!(
                    "role {} can't read {table}, and the first start reads it: run `grant select on {table} to {}`",
                    server.role,
                    crate::postgres::quote_identifier(&server.role)
                );
                self.findings.push(failure("rights", grant));
            }
            hidden.extend(row.is_true(0).then(|| table.to_string()));
        }
        let stray = stray_outbox(control, publication, &outboxes)?;
        self.findings.extend(stray.map(|stray| judge::stray_outbox(publication, &stray)));
        if is_fit {
            let sql = "select pubupdate or pubdelete or pubtruncate from pg_publication where pubname = $1";
            let rows = control.query(sql, &[Some(publication)])?;
            let changes = rows.first().is_some_and(|row| row.is_true(0));
            self.findings.push(judge::replica_identity(publication, changes));
        }
        self.findings.push(judge::row_security(&server.role, &hidden, has_slot));
        Ok(())
    }

    fn partitions(&mut self, control: &mut Connection) -> Result<(), SourceError> {
        // Same as outbox.event_partitions, which the relay's role may not call.
        control.configure("set timezone = 'UTC'; set datestyle = 'ISO, YMD'")?;
        let rows = control.simple_query(
            "select coalesce(floor(extract(epoch from max(substring(pg_get_expr(c.relpartbound, c.oid) \
                    from 'TO \\(''([^'']+)''\\)')::timestamptz) - now()) / 86400), 0)::bigint \
             from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class r on r.oid = i.inhparent \
             join pg_namespace n on n.oid = r.relnamespace where n.nspname = 'outbox' and r.relname = 'event'",
        )?;
        let days = rows.first().and_then(|row| row.text(0)?.parse().ok()).unwrap_or(0);
        self.findings.push(judge::partitions(days));
        Ok(())
    }

    fn topics(&mut self, control: &mut Connection) -> Result<(), SourceError> {
        let sql = format!(
            "select topic, topic_config::text from outbox.schema_version where topic is not null and status <> 'retired' \
             order by ordinal desc limit {TOPICS}"
        );
        let rows = match control.simple_query(&sql) {
            Ok(rows) => rows,
            // The finding on privileges reports it.
            Err(Error::Server(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for row in &rows {
            let settings = row.text(1).and_then(|config| contracts::topic_settings(config).ok());
            let topic = row.text(0).unwrap_or_default().to_owned();
            self.wanted.entry(topic).or_insert_with(|| settings.unwrap_or_default());
        }
        let topics: BTreeSet<&String> = self.wanted.keys().collect();
        let text = match topics.len() {
            0 => "no schema version is registered yet: `walpost contract apply`, or outbox.register_schema_version"
                .to_owned(),
            count => format!("{} registered, with {}", rows.len(), counted(count as u64, "topic")),
        };
        self.findings.push(ok("schema_versions", text));
        Ok(())
    }

    fn slot(
        &mut self,
        control: &mut Connection,
        name: &str,
        found: Option<SlotState>,
        server: &Server,
        noted: NotedPosition,
        system: Option<resume::Server>,
    ) -> Result<(), SourceError> {
        if let Some(found) = found.as_ref().filter(|found| found.is_being_created()) {
            let finding = judge::slot_in_creation(name, found.active_pid, prepared_transactions(control)?.as_deref());
            self.findings.push(finding);
            return Ok(());
        }
        let slot = match found.as_ref().map_or(Ok(Slot::Missing), |found| found.facts(name, &server.database)) {
            Ok(slot) => slot,
            Err(unfit) => {
                self.fail("slot", unfit);
                return Ok(());
            }
        };
        let (noted, position) = noted.unzip();
        let is_identified = system.is_some();
        // A relay that runs is not asked what it has.
        let known = StartFacts {
            server: system.unwrap_or_else(|| as_noted(noted.as_ref())),
            noted,
            slot,
            resume: None,
            last: None,
            acquisition: LeaseAcquisition::New,
        };
        let is_active = found.as_ref().is_some_and(|found| found.active_pid.is_some());
        let plan = match resume::plan(&known) {
            Err(Gap::SlotAdvanced { .. }) if is_active => None,
            Err(gap) => {
                self.fail("slot", SourceError::of(gap, name, Unpublished::default));
                return Ok(());
            }
            Ok(plan) => Some(plan),
        };
        // A relay that runs may store a later position at any moment.
        self.begun =
            plan.filter(|_| is_identified && !is_active).map(|plan| begun(plan, known.server, position.flatten()));
        let found = match (found, plan) {
            (None, _) => {
                self.findings.push(judge::slot_missing(name, prepared_transactions(control)?.as_deref()));
                return Ok(());
            }
            (Some(_), Some(ResumePlan::MakeAnew { .. })) => {
                let text = format!("{name} was lost before the initial backfill finished: the next start recreates it");
                self.findings.push(ok("slot", text));
                return Ok(());
            }
            (Some(found), _) => found,
        };
        let user = match found.active_pid {
            None => None,
            Some(pid) => {
                let sql = "select application_name from pg_stat_activity where pid = $1::text::int";
                let rows = control.query(sql, &[Some(&pid.to_string())])?;
                rows.first().and_then(|row| row.text(0)).filter(|name| !name.is_empty()).map(str::to_owned)
            }
        };
        let pace = pace(control, name, &found, server.version)?;
        self.findings.extend(judge::slot(name, &found, user.as_deref(), pace, server.version));
        Ok(())
    }
}
