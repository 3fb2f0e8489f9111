//! The keys in `outbox.secret`, which tell our messages and positions from others.

use crate::postgres::{Connection, Error, Row};
use crate::relay::boundary::{Lsn, MacKey, MessageKeys, PositionKey, PositionKeys, Timestamp};
use crate::source::error::SourceError;
use crate::source::server::answer::first;
use crate::source::server::identity::Server;
use crate::source::server::refusal;

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// For `outbox.emit_message`.
    pub messages: MessageKeys,
    /// For positions in Kafka.
    pub positions: PositionKeys,
}

/// Reads them for a slot's relay, which has a row in `outbox.relay` if it has streamed before.
pub(crate) fn read(control: &mut Connection, server: &Server, slot: &str) -> Result<Secrets, SourceError> {
    let answers =
        ask(control, slot).map_err(|error| match refusal::explain_statement(error, server, "read outbox.secret") {
            // The other migrations are there, or there would be no outbox.relay.
            SourceError::MigrationsMissing { database } => SourceError::MigrationsOutdated { database },
            other => other,
        })?;
    answers.secrets()
}

/// Reads the message keys again. Everything committed before the call is signed by one of them, or unsigned.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn read_message_keys(connection: &mut Connection, slot: &str) -> Result<MessageKeys, SourceError> {
    Ok(ask(connection, slot)?.secrets()?.messages)
}

/// Checks that the keys can be read, and the function called that a start calls.
pub(super) fn check(connection: &mut Connection, server: &Server) -> Result<(), SourceError> {
    let explain = |error| refusal::explain_statement(error, server, "read outbox.secret");
    keys(&connection.simple_query(KEYS).map_err(explain)?)?;
    let rows = connection.simple_query(
        "select has_function_privilege(p.oid, 'execute') from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
         where n.nspname = 'outbox' and p.proname = 'settle_unsigned_messages'",
    )?;
    match rows.first() {
        None => Err(SourceError::MigrationsOutdated { database: server.database.clone() }),
        Some(row) if row.is_true(0) => Ok(()),
        Some(_) => {
            Err(SourceError::NoPrivilege { role: server.role.clone(), doing: "call outbox.settle_unsigned_messages" })
        }
    }
}

/// Settles from which LSN messages need a signature, if possible now; returns whether it is settled.
pub(crate) fn settle_unsigned(connection: &mut Connection, slot: &str) -> Result<bool, Error> {
    let rows = connection.write("select outbox.settle_unsigned_messages($1)", &[Some(slot)])?;
    Ok(rows.first().is_some_and(|row| row.text(0).is_some()))
}

/// Reads the keys for positions again, newest first.
pub(crate) fn read_position_keys(connection: &mut Connection) -> Result<Vec<PositionKey>, SourceError> {
    Ok(keys(&connection.simple_query(KEYS)?)?.positions)
}

/// All keys, newest first.
const KEYS: &str = "select purpose, encode(inner_pad, 'hex'), encode(outer_pad, 'hex'), id \
                    from outbox.secret order by valid_from desc, id desc";

/// What the database says.
struct Answers {
    moment: Vec<Row>,
    keys: Vec<Row>,
}

fn ask(connection: &mut Connection, slot: &str) -> Result<Answers, Error> {
    // The keys are read last: a message from before this moment is signed by one of them.
    let moment = connection.write(
        "select outbox.settle_unsigned_messages($1)::text, pg_current_wal_insert_lsn()::text, \
         (extract(epoch from clock_timestamp()) * 1000000)::bigint::text, \
         exists (select from outbox.relay where slot = $1 and position_signed \
                 and (position > signed_position) is not true), \
         (select position_epoch::text from outbox.relay where slot = $1), \
         exists (select from outbox.relay where slot = $1 \
                 and (position is null or position <= epoch_position))",
        &[Some(slot)],
    )?;
    let keys = connection.simple_query(KEYS)?;
    Ok(Answers { moment, keys })
}

impl Answers {
    fn secrets(&self) -> Result<Secrets, SourceError> {
        let unexpected = || SourceError::Answer { question: QUESTION };
        let row = first(&self.moment, QUESTION)?;
        let lsn = |column| row.text(column).and_then(|text| text.parse::<Lsn>().ok());
        let read_at = row.text(2).and_then(|text| text.parse().ok()).map(Timestamp).ok_or_else(unexpected)?;
        let (unsigned_before, read_lsn) = (lsn(0), lsn(1).ok_or_else(unexpected)?);
        let Keys { messages, positions } = keys(&self.keys)?;
        Ok(Secrets {
            messages: MessageKeys { keys: messages, unsigned_before, read_at, read_lsn },
            positions: PositionKeys {
                keys: positions,
                must_be_signed: row.is_true(3),
                epoch: row.text(4).and_then(|text| text.parse().ok()),
                must_have_epoch: row.is_true(5),
            },
        })
    }
}

const QUESTION: &str = "the rows in outbox.secret";

/// By purpose.
#[derive(Default)]
struct Keys {
    messages: Vec<MacKey>,
    positions: Vec<PositionKey>,
}

fn keys(rows: &[Row]) -> Result<Keys, SourceError> {
    let unexpected = || SourceError::Answer { question: QUESTION };
    let mut keys = Keys::default();
    for row in rows {
        let pad = |column| row.hex(column).unwrap_or_default();
        let key = MacKey::new(&pad(1), &pad(2)).ok_or_else(unexpected)?;
        match row.text(0) {
            Some("message") => keys.messages.push(key),
            Some("position") => {
                let id = row.text(3).and_then(|text| text.parse().ok()).ok_or_else(unexpected)?;
                keys.positions.push(PositionKey { id, key });
            }
            // From a newer walpost.
            _ => {}
        }
    }
    Ok(keys)
}
