//! `walpost slot`: an operator's decisions about a slot that the relay refuses to stream from.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Config, Delivery, process_environment};
use crate::driver::{SkippedInKafka, source_options, write_skipped};
use crate::exit::{CommandError, Context};
use crate::relay::boundary::Lsn;
use crate::relay::decode::outbox::Outbox;
use crate::relay::decode::role::Role;
use crate::source::{
    self, Adoption, ListedTable, Recreated, Scope, TableName, TransactionSkip, Unpublished, UnsendableTransaction,
};
use crate::terminal::{counted, visible_lines};

/// Recreate, adopt or advance a slot that the relay refuses to stream from.
#[derive(Args, Clone, Debug)]
pub struct SlotArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: SlotCommand,
}

/// Subcommands of `walpost slot`.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum SlotCommand {
    /// Drop the slot. The next start creates a new one and first publishes from the outbox tables what may be missing from
    /// Kafka, with the header outbox-recovered; some of it may be duplicates.
    Recreate(RecreateArgs),
    /// Accept the slot at its current position. Events that it has skipped are never published.
    Adopt(AdoptArgs),
    /// Skip a transaction that Postgres can't send; the relay's log and /readyz name it. Its rows in the outbox tables become
    /// dead letters without values, and the relay continues after it. If the command fails, run it again.
    Skip(SkipArgs),
}

/// Arguments of [`SlotCommand::Skip`].
#[derive(Args, Clone, Copy, Debug)]
pub struct SkipArgs {
    /// The LSN of its commit record, such as 16/B374D848. No other transaction is skipped.
    #[arg(long)]
    pub lsn: Lsn,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`SlotCommand::Recreate`].
#[derive(Args, Clone, Copy, Debug)]
pub struct RecreateArgs {
    /// Publish again everything in the outbox tables.
    #[arg(long)]
    pub all: bool,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`SlotCommand::Adopt`].
#[derive(Args, Clone, Copy, Debug)]
pub struct AdoptArgs {
    /// With exactly-once delivery: also forget the position stored in Kafka. The relay starts at the slot's confirmed_flush_lsn,
    /// and events published after that are duplicated.
    #[arg(long)]
    pub forget_position: bool,

    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand and reports to `out`.
///
/// # Errors
/// The configuration or the slot was refused. While a relay holds the slot, nothing is changed.
pub(super) async fn run(
    args: &SlotArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let config = Config::load(path, process_environment())?;
    let (options, slot) = (source_options(&config), config.postgres.slot.as_str());
    let text = match args.command {
        SlotCommand::Recreate(RecreateArgs { all, json }) => {
            let scope = if all { Scope::Everything } else { Scope::Unpublished };
            let recreated = source::recreate(&options, scope).await?;
            if json { recreated_json(slot, &recreated) } else { recreated_text(slot, &recreated) }
        }
        SlotCommand::Skip(SkipArgs { lsn, json }) => {
            let skipping = TransactionSkip::begin(&options, listed(&config), lsn).await?;
            let unsendable = skipping.unsendable.clone();
            let SkippedInKafka { dead_letters, stored } = write_skipped(&config, &skipping.before, &unsendable).await?;
            let stands = skipping.finish(stored).await?;
            if json {
                skipped_json(slot, &unsendable, stands)
            } else {
                skipped_text(slot, &unsendable, dead_letters, stands)
            }
        }
        SlotCommand::Adopt(AdoptArgs { forget_position, json }) => {
            let adoption = Adoption::begin(&options).await?;
            let forgets = forget_position && config.kafka.delivery == Delivery::ExactlyOnce;
            if forgets {
                crate::driver::forget_position(&config, adoption.system_identifier()).await?;
            }
            let stands = adoption.finish(forgets).await?;
            if json {
                json!({"slot": slot, "lsn": stands.to_string(), "position_forgotten": forgets}).to_string()
            } else {
                let note = "\nthe position stored in Kafka is kept; the next start checks that it matches the slot (see --forget-position)";
                let is_kept = !forgets && config.kafka.delivery == Delivery::ExactlyOnce;
                adopted_text(slot, stands, forgets) + if is_kept { note } else { "" }
            }
        }
    };
    writeln!(out, "{}", visible_lines(&text)).context("write the report")
}

/// The outbox tables to search for the transaction's rows.
fn listed(config: &Config) -> Vec<ListedTable> {
    let column = |outbox: &Outbox, role| {
        let found = outbox.columns.iter().find(|column| column.role == role);
        found.map(|column| column.name.clone())
    };
    let table = |outbox: &Outbox| ListedTable {
        table: TableName { schema: outbox.namespace.clone(), name: outbox.table.clone() },
        id: column(outbox, Role::Id),
        created_at: column(outbox, Role::CreatedAt),
    };
    config.outboxes.iter().map(table).collect()
}

fn skipped_text(slot: &str, unsendable: &UnsendableTransaction, dead_letters: Option<usize>, stands: Lsn) -> String {
    let UnsendableTransaction { commit, committed_at, xid, error, sent, rows, unlisted, .. } = unsendable;
    let mut text = format!(
        "slot {slot} was advanced to {stands}, past transaction {xid}, committed at {committed_at} (LSN {commit})\nPostgres can't send it: {error}\nits first {sent} events were sent before the error, and are published unless the relay stopped before Kafka acknowledged them\n"
    );
    text += &match rows.len() {
        0 => "none of its rows are in the outbox tables: they were deleted, or all were inserted under savepoints"
            .to_owned(),
        count => format!("its rows in the outbox tables ({count}):"),
    };
    for (table, id) in rows {
        text += &format!("\n  {table} {}", id.as_deref().unwrap_or("(no id)"));
    }
    for table in unlisted {
        text += &format!("\n  table {table} could not be listed in full: look for rows with xmin = {xid}");
    }
    text += &match dead_letters {
        Some(count) => format!("\nwrote {} without values", counted(count as u64, "dead letter")),
        None => "\nits dead letters were written by an earlier run".to_owned(),
    };
    text + "; correct each row and emit it again"
}

fn skipped_json(slot: &str, unsendable: &UnsendableTransaction, stands: Lsn) -> String {
    let UnsendableTransaction { commit, committed_at, xid, error, sqlstate, sent, rows, unlisted } = unsendable;
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
        Some(lsn) => format!("dropped slot {slot}, which was at {lsn}"),
        None => format!("slot {slot} did not exist"),
    };
    let again = match (&unpublished.rows, &unpublished.published.xid) {
        (Some(rows), _) if rows.count == 0 => "there are no rows to publish again".to_owned(),
        (Some(rows), _) => {
            format!("it first publishes {} again, with the header outbox-recovered", counted(rows.count, "row"))
        }
        (None, _) => "it first publishes rows again, with the header outbox-recovered".to_owned(),
    };
    let why = if unpublished.published.xid.is_some() {
        unpublished.to_string()
    } else {
        "all rows of the outbox tables are published again".to_owned()
    };
    format!("{dropped}\n{why}\nthe next `walpost run` creates the slot: {again}")
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
    let forgotten = if forgets { " and the position stored in Kafka forgotten" } else { "" };
    format!("slot {slot} adopted{forgotten}; the next `walpost run` continues at {stands}")
}
