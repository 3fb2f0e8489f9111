//! `walpost bookmark`: positions with a name, to be replayed from.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{PostgresConfig, process_environment};
use crate::fault::Fault;
use crate::ops::positions::BookmarkError;
use crate::ops::positions::bookmark::{self, Bookmark, Place};
use crate::ops::positions::{identify, moment, open};
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::source::Server;
use crate::terminal::grouped;

/// The log's filter unless the user has one.
pub const LOG_FILTER: &str = "error";

/// Named positions, to be replayed from: each is a replication slot that keeps the server's log.
#[derive(Args, Clone, Debug)]
pub struct BookmarkArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BookmarkCommand,
}

/// What to do with bookmarks.
#[derive(Clone, Debug, Subcommand)]
pub enum BookmarkCommand {
    /// Make one: where the log ends now, or at a position or a time that a slot still holds.
    Create(CreateArgs),
    /// List them: position, log that each keeps, age.
    List(ListArgs),
    /// Drop one, and let the log go that it keeps.
    Drop(DropArgs),
}

/// What [`BookmarkCommand::Create`] takes.
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Its name: a-z, 0-9 and _.
    pub name: String,
    /// At this LSN.
    #[arg(long, value_name = "LSN", conflicts_with = "since")]
    pub at_lsn: Option<Lsn>,
    /// At or just before this time, such as 2026-11-21T10:00:00Z, or 15m, 2h or 7d for so long ago; by the index of relay.rewind.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`BookmarkCommand::List`] takes.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// What [`BookmarkCommand::Drop`] takes.
#[derive(Args, Clone, Debug)]
pub struct DropArgs {
    /// Its name.
    pub name: String,
    /// Report in one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Does it and reports to `out`. `path` is the configuration file, if one was named.
///
/// # Errors
/// A [`Fault`] or a [`BookmarkError`], which know their exit codes.
pub async fn run(args: &BookmarkArgs, path: Option<&Path>, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let config = PostgresConfig::load(path, process_environment()).map_err(Fault::from)?;
    let command = args.command.clone();
    let done = tokio::task::spawn_blocking(move || execute(&command, &config)).await?;
    let shown = done.map_err(|error| match error {
        // What is the server's is told with what to do about it.
        BookmarkError::Source(error) => anyhow::Error::from(Fault::from(error)),
        other => other.into(),
    })?;
    out.write_all(shown.as_bytes()).and_then(|()| out.flush()).context("write the report")
}

fn execute(command: &BookmarkCommand, config: &PostgresConfig) -> Result<String, BookmarkError> {
    let (mut control, server) = open(&config.connect)?;
    let slot = config.slot.as_str();
    let shown = match command {
        BookmarkCommand::Create(args) => {
            let made = create(&mut control, &server, config, args)?;
            if args.json { json(&Shown::of(&made)) } else { created(&made) }
        }
        BookmarkCommand::List(args) => {
            let all = bookmark::list(&mut control, &server, slot)?;
            if args.json { json(&all.iter().map(Shown::of).collect::<Vec<_>>()) } else { table(&all) }
        }
        BookmarkCommand::Drop(args) => {
            let gone = bookmark::remove(&mut control, &server, slot, &args.name)?;
            let bytes = grouped(gone.retained_wal_bytes);
            let text =
                format!("dropped bookmark {} (slot {}), which kept {bytes} bytes of log\n", gone.name, gone.slot);
            if args.json { json(&Shown::of(&gone)) } else { text }
        }
    };
    control.close();
    Ok(shown)
}

fn create(
    control: &mut Connection,
    server: &Server,
    config: &PostgresConfig,
    args: &CreateArgs,
) -> Result<Bookmark, BookmarkError> {
    let slot = config.slot.as_str();
    bookmark::slot_name(slot, &args.name)?;
    let place = match (args.at_lsn, &args.since) {
        (Some(lsn), _) => Place::At(lsn),
        (None, Some(text)) => Place::Since(moment::parse(control, text)?),
        (None, None) => Place::Now,
    };
    let system = identify(&config.connect, control, server)?;
    bookmark::create(control, server, &system.identifier, slot, &args.name, &place)
}

#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    slot: &'a str,
    position: Option<String>,
    time: Option<String>,
    created_at: String,
    age_seconds: u64,
    retained_wal_bytes: u64,
    wal_status: &'a str,
}

impl<'a> Shown<'a> {
    fn of(bookmark: &'a Bookmark) -> Self {
        Self {
            name: &bookmark.name,
            slot: &bookmark.slot,
            position: bookmark.position.map(|lsn| lsn.to_string()),
            time: bookmark.at.map(|at| at.to_string()),
            created_at: bookmark.created_at.to_string(),
            age_seconds: bookmark.age_seconds,
            retained_wal_bytes: bookmark.retained_wal_bytes,
            wal_status: &bookmark.wal_status,
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values") + "\n"
}

fn created(made: &Bookmark) -> String {
    let Bookmark { name, slot, retained_wal_bytes, .. } = made;
    let position = made.position.map(|lsn| lsn.to_string()).unwrap_or_default();
    format!(
        "bookmark {name} at {position} (slot {slot})\n\
         warning: from now on Postgres keeps all its log from there on, so far {} bytes; when it is of no more use: \
         walpost bookmark drop {name}\n",
        grouped(*retained_wal_bytes)
    )
}

fn table(all: &[Bookmark]) -> String {
    if all.is_empty() {
        return "there are no bookmarks\n".to_owned();
    }
    let width = all.iter().map(|bookmark| bookmark.name.len()).max().unwrap_or(0).max(4);
    let mut text = format!("{:<width$}  {:<18} {:>20}  {:<10} age\n", "name", "position", "log kept, in bytes", "log");
    for bookmark in all {
        let position = bookmark.position.map_or_else(|| "lost".to_owned(), |lsn| lsn.to_string());
        let (kept, status) = (grouped(bookmark.retained_wal_bytes), &bookmark.wal_status);
        let age = age(bookmark.age_seconds);
        text += &format!("{:<width$}  {position:<18} {kept:>20}  {status:<10} {age}\n", bookmark.name);
    }
    for Bookmark { name, wal_status, .. } in all.iter().filter(|bookmark| bookmark.wal_status != "reserved") {
        text += &match wal_status.as_str() {
            "lost" | "gone" => {
                format!("warning: bookmark {name} holds nothing any more: walpost bookmark drop {name}\n")
            }
            _ => format!(
                "warning: bookmark {name} keeps more log than max_wal_size; max_slot_wal_keep_size may take it: \
                 walpost bookmark drop {name}\n"
            ),
        };
    }
    text
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::boundary::Timestamp;

    #[test]
    fn a_bookmark_that_holds_nothing_or_too_much_is_told_with_the_command_that_mends_it() {
        let bookmark = |name: &str, status: &str| Bookmark {
            name: name.to_owned(),
            slot: format!("walpost_bm_{name}"),
            position: (status != "lost").then_some(Lsn(0xFF)),
            at: None,
            created_at: Timestamp(0),
            age_seconds: 7_200,
            retained_wal_bytes: 1_234_567,
            wal_status: status.to_owned(),
        };
        let text = table(&[bookmark("deploy", "reserved"), bookmark("old", "lost"), bookmark("big", "extended")]);
        expect_test::expect![[r#"
            name    position             log kept, in bytes  log        age
            deploy  0/FF                          1,234,567  reserved   2 h
            old     lost                          1,234,567  lost       2 h
            big     0/FF                          1,234,567  extended   2 h
            warning: bookmark old holds nothing any more: walpost bookmark drop old
            warning: bookmark big keeps more log than max_wal_size; max_slot_wal_keep_size may take it: walpost bookmark drop big
        "#]]
        .assert_eq(&text);
        assert_eq!([0, 119, 7_199, 172_800].map(age), ["0 s", "119 s", "119 min", "2 d"]);
    }
}
