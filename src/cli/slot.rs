//! `walpost slot`: what an operator decides about a slot that can't be trusted any more.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Config, Delivery, process_environment};
use crate::driver::{set_aside, source_options, take_back};
use crate::fault::Fault;
use crate::relay::boundary::Lsn;
use crate::relay::decode::outbox::Outbox;
use crate::relay::decode::role::Role;
use crate::source::{self, Adoption, Listed, Recreated, Scope, Skipping, TableName, Unpublished, Unsent};
use crate::terminal::visible_lines;

/// Give up a slot that can't be trusted any more, or take it as it stands.
#[derive(Args, Clone, Debug)]
pub struct SlotArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SlotCommand,
}

/// What to do with the relay's slot.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum SlotCommand {
    /// Drop the slot; at its next start the relay makes it anew, and first publishes again, from the outbox tables, what may never
    /// have been published. Those records bear the header outbox-recovered, and what was published after all comes twice.
    Recreate(RecreateArgs),
    /// Take the slot as it stands. Events that it has passed over are never published.
    Adopt(AdoptArgs),
    /// Pass over a transaction that Postgres can't send, as the relay's log and /readyz name it. The rows that the outbox tables have of
    /// it become dead letters without their values, and the relay goes on after it.
    Skip(SkipArgs),
}

/// What [`SlotCommand::Skip`] takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct SkipArgs {
    /// The LSN of its commit, such as 16/B374D848. Nothing else is passed over.
    #[arg(long)]
    pub lsn: Lsn,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`SlotCommand::Recreate`] takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct RecreateArgs {
    /// Publish again everything that the outbox tables have.
    #[arg(long)]
    pub all: bool,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`SlotCommand::Adopt`] takes.
#[derive(Args, Clone, Copy, Debug)]
pub struct AdoptArgs {
    /// With exactly-once delivery: forget the position in Kafka too. The relay begins where the slot stands, and what was published past
    /// that comes twice.
    #[arg(long)]
    pub forget_position: bool,

    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Decides, and reports to `out`.
///
/// # Errors
/// A [`Fault`]: while a relay has the slot, nothing is changed.
pub async fn run(args: &SlotArgs, path: Option<&Path>, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let config = Config::load(path, process_environment()).map_err(Fault::from)?;
    let (options, slot) = (source_options(&config), config.postgres.slot.as_str());
    let text = match args.command {
        SlotCommand::Recreate(RecreateArgs { all, json }) => {
            let scope = if all { Scope::Everything } else { Scope::Unpublished };
            let recreated = source::recreate(&options, scope).await.map_err(Fault::from)?;
            if json { recreated_json(slot, &recreated) } else { recreated_text(slot, &recreated) }
        }
        SlotCommand::Skip(SkipArgs { lsn, json }) => {
            let skipping = Skipping::begin(&options, listed(&config), lsn).await.map_err(Fault::from)?;
            let unsent = skipping.unsent.clone();
            let letters = set_aside(&config, &unsent).await?;
            // Everything before it is in Kafka: the relay begins behind it.
            let forgets = config.kafka.delivery == Delivery::ExactlyOnce;
            if forgets {
                take_back(&config, skipping.system_identifier()).await?;
            }
            let stands = skipping.finish(forgets).await.map_err(Fault::from)?;
            if json { skipped_json(slot, &unsent, stands) } else { skipped_text(slot, &unsent, letters, stands) }
        }
        SlotCommand::Adopt(AdoptArgs { forget_position, json }) => {
            let adoption = Adoption::begin(&options).await.map_err(Fault::from)?;
            let forgets = forget_position && config.kafka.delivery == Delivery::ExactlyOnce;
            if forgets {
                take_back(&config, adoption.system_identifier()).await?;
            }
            let stands = adoption.finish(forgets).await.map_err(Fault::from)?;
            if json {
                json!({"slot": slot, "lsn": stands.to_string(), "position_forgotten": forgets}).to_string()
            } else {
                let note = "\nits position in Kafka is kept, and the next start says whether it goes with the slot: see --forget-position";
                let is_kept = !forgets && config.kafka.delivery == Delivery::ExactlyOnce;
                adopted_text(slot, stands, forgets) + if is_kept { note } else { "" }
            }
        }
    };
    writeln!(out, "{}", visible_lines(&text)).context("write the report")
}

/// Where the rows of a transaction are looked for.
fn listed(config: &Config) -> Vec<Listed> {
    let column = |outbox: &Outbox, role| {
        let found = outbox.columns.iter().find(|column| column.role == role);
        found.map(|column| column.name.clone())
    };
    let table = |outbox: &Outbox| Listed {
        table: TableName { schema: outbox.namespace.clone(), name: outbox.table.clone() },
        id: column(outbox, Role::Id),
        created_at: column(outbox, Role::CreatedAt),
    };
    config.outboxes.iter().map(table).collect()
}

fn skipped_text(slot: &str, unsent: &Unsent, letters: usize, stands: Lsn) -> String {
    let Unsent { commit, committed_at, xid, error, sent, rows, unlisted, .. } = unsent;
    let mut text = format!(
        "slot {slot} stands at {stands}, past transaction {xid}, which committed at {committed_at} (LSN {commit})\nPostgres can't send it: {error}\nthe first {sent} of its events were sent before that, and are published unless the relay ended before Kafka had them\n"
    );
    text += &match rows.len() {
        0 => "the outbox tables have no row of it: rows may have been deleted since, or written under savepoints alone"
            .to_owned(),
        count => format!("the outbox tables have {count} rows of it:"),
    };
    for (table, id) in rows {
        text += &format!("\n  {table} {}", id.as_deref().unwrap_or("(no id)"));
    }
    for table in unlisted {
        text += &format!("\n  not all rows of {table} could be listed: look for xmin = {xid}");
    }
    text + &format!("\n{letters} dead letters without values were written; once a row is corrected, emit it again")
}

fn skipped_json(slot: &str, unsent: &Unsent, stands: Lsn) -> String {
    let Unsent { commit, committed_at, xid, error, sqlstate, sent, rows, unlisted } = unsent;
    let row = |(table, id): &(TableName, Option<String>)| json!({"table": table.to_string(), "id": id});
    json!({
        "slot": slot,
        "lsn": stands.to_string(),
        "skipped_lsn": commit.to_string(),
        "committed_at": committed_at.to_string(),
        "xid": xid,
        "error": error,
        "sqlstate": sqlstate,
        "events_sent_before": sent,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "unlisted": unlisted.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
    .to_string()
}

fn recreated_text(slot: &str, Recreated { dropped_at, unpublished }: &Recreated) -> String {
    let dropped = match dropped_at {
        Some(lsn) => format!("slot {slot} stood at {lsn} and is dropped"),
        None => format!("there was no slot {slot}"),
    };
    let again = match (&unpublished.rows, &unpublished.published.xid) {
        (Some(rows), _) if rows.count == 0 => "there is no row to publish again".to_owned(),
        (Some(rows), _) => format!("it first publishes {} rows again, with the header outbox-recovered", rows.count),
        (None, _) => "it first publishes rows again, with the header outbox-recovered".to_owned(),
    };
    let why = if unpublished.published.xid.is_some() {
        unpublished.to_string()
    } else {
        "everything that the outbox tables have is taken".to_owned()
    };
    format!("{dropped}\n{why}\nthe next `walpost run` makes the slot anew: {again}")
}

fn recreated_json(slot: &str, Recreated { dropped_at, unpublished }: &Recreated) -> String {
    let Unpublished { published, rows } = unpublished;
    json!({
        "slot": slot,
        "dropped_at_lsn": dropped_at.map(|lsn| lsn.to_string()),
        "published_before_lsn": published.lsn.map(|lsn| lsn.to_string()),
        "published_before": published.at,
        "rows_to_publish_again": rows.as_ref().map(|rows| rows.count),
        "rows_made_from": rows.as_ref().and_then(|rows| rows.created.as_ref()).map(|created| &created.0),
        "rows_made_to": rows.as_ref().and_then(|rows| rows.created.as_ref()).map(|created| &created.1),
    })
    .to_string()
}

fn adopted_text(slot: &str, stands: Lsn, forgets: bool) -> String {
    let forgotten = if forgets { ", and its position in Kafka is forgotten" } else { "" };
    format!("slot {slot} is taken as it stands{forgotten}: the next `walpost run` goes on at {stands}")
}
