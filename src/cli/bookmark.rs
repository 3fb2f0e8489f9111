//! `walpost bookmark`: named positions to replay from.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::write;
use crate::config::{PostgresConfig, process_environment};
use crate::exit::CommandError;
use crate::positions::BookmarkError;
use crate::positions::bookmark::{self, Bookmark, BookmarkStart};
use crate::positions::moment;
use crate::postgres::Connection;
use crate::relay::boundary::Lsn;
use crate::source::Server;
use crate::terminal::grouped;

/// Default log filter.
pub(super) const LOG_FILTER: &str = "error";

/// Manage named positions to replay from. Each is a replication slot and retains WAL.
#[derive(Args, Clone, Debug)]
pub struct BookmarkArgs {
    /// The subcommand.
    #[command(subcommand)]
    pub command: BookmarkCommand,
}

/// Subcommands of `walpost bookmark`.
#[derive(Clone, Debug, Subcommand)]
pub enum BookmarkCommand {
    /// Create a bookmark at the current end of the WAL, or at a position or time that a slot still holds.
    Create(CreateArgs),
    /// List bookmarks with their position, retained WAL and age.
    List(ListArgs),
    /// Drop a bookmark and release the WAL it retains.
    Drop(DropArgs),
}

/// Arguments of [`BookmarkCommand::Create`].
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// The bookmark's name: a-z, 0-9 and _.
    pub name: String,
    /// Create it at this LSN.
    #[arg(long, value_name = "LSN", conflicts_with = "since")]
    pub at_lsn: Option<Lsn>,
    /// Create it at or just before this time: 2026-11-21T10:00:00Z, or an age such as 15m, 2h or 7d. Needs `rewind` under `[relay]`.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`BookmarkCommand::List`].
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of [`BookmarkCommand::Drop`].
#[derive(Args, Clone, Debug)]
pub struct DropArgs {
    /// The bookmark's name.
    pub name: String,
    /// Print the report as one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand and reports to `out`. `path` is the configuration file given with `--config`.
///
/// # Errors
/// The configuration is refused, or a [`BookmarkError`].
pub(super) async fn run(
    args: &BookmarkArgs,
    path: Option<&Path>,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let config = PostgresConfig::load(path, process_environment())?;
    let command = args.command.clone();
    let shown = tokio::task::spawn_blocking(move || execute(&command, &config)).await??;
    write(out, &shown)
}

fn execute(command: &BookmarkCommand, config: &PostgresConfig) -> Result<String, BookmarkError> {
    let (mut control, server) = Server::open(&config.connect)?;
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
            let text = format!("dropped bookmark {} (slot {}), releasing {bytes} bytes of WAL\n", gone.name, gone.slot);
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
        (Some(lsn), _) => BookmarkStart::At(lsn),
        (None, Some(text)) => BookmarkStart::Since(moment::parse(control, text)?),
        (None, None) => BookmarkStart::Now,
    };
    let system = server.identify(&config.connect, control)?;
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
         warning: Postgres now retains all WAL from there on, {} bytes so far; once you no longer need it: \
         walpost bookmark drop {name}\n",
        grouped(*retained_wal_bytes)
    )
}

fn table(all: &[Bookmark]) -> String {
    if all.is_empty() {
        return "no bookmarks\n".to_owned();
    }
    let width = all.iter().map(|bookmark| bookmark.name.len()).max().unwrap_or(0).max(4);
    let mut text =
        format!("{:<width$}  {:<18} {:>20}  {:<10} age\n", "name", "position", "retained WAL, bytes", "status");
    for bookmark in all {
        let position = bookmark.position.map_or_else(|| "lost".to_owned(), |lsn| lsn.to_string());
        let (kept, status) = (grouped(bookmark.retained_wal_bytes), &bookmark.wal_status);
        let age = age(bookmark.age_seconds);
        text += &format!("{:<width$}  {position:<18} {kept:>20}  {status:<10} {age}\n", bookmark.name);
    }
    for Bookmark { name, wal_status, .. } in all.iter().filter(|bookmark| bookmark.wal_status != "reserved") {
        text += &match wal_status.as_str() {
            "lost" | "gone" => {
                format!("warning: bookmark {name} has lost its WAL and is of no use: walpost bookmark drop {name}\n")
            }
            _ => format!(
                "warning: bookmark {name} retains more than max_wal_size and may be invalidated (max_slot_wal_keep_size): \
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
    fn warnings_about_lost_and_large_bookmarks_name_the_drop_command() {
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
            name    position            retained WAL, bytes  status     age
            deploy  0/FF                          1,234,567  reserved   2 h
            old     lost                          1,234,567  lost       2 h
            big     0/FF                          1,234,567  extended   2 h
            warning: bookmark old has lost its WAL and is of no use: walpost bookmark drop old
            warning: bookmark big retains more than max_wal_size and may be invalidated (max_slot_wal_keep_size): walpost bookmark drop big
        "#]]
        .assert_eq(&text);
        assert_eq!([0, 119, 7_199, 172_800].map(age), ["0 s", "119 s", "119 min", "2 d"]);
    }
}
