//! The minimal privileges to emit events, and to run the relay.

use crate::exit::{self, EndsCommand};
use crate::postgres::{Connection, Error, quote_literal};

/// What a service needs: to emit, and to insert without `outbox.emit`, with `returning id, created_at`, as ORMs ask for what the database
/// has filled in. Nothing else can be read.
const WRITER: &str = "\
grant usage on schema outbox to {role};
grant insert, select (id, created_at) on outbox.event to {role};
grant execute on function
    outbox.emit(text, text, json, text, jsonb, text), outbox.emit(text, text, text, text, jsonb, text),
    outbox.emit(text, text, jsonb, text, jsonb, text), outbox.emit_bytes(text, text, bytea, text, jsonb, text),
    outbox.emit_message(text, text, json, text, jsonb, text),
    outbox.emit_message(text, text, text, text, jsonb, text), outbox.emit_message(text, text, jsonb, text, jsonb, text)
    to {role};
";

/// What the relay needs besides LOGIN and REPLICATION: contracts, the events from before its slot, its own state, positions to go back to,
/// partitions.
const RELAY: &str = "\
grant usage on schema outbox to {role};
grant select on outbox.schema_version, outbox.event, outbox.secret to {role};
grant select, insert, update on outbox.relay, outbox.lease to {role};
grant select, insert, delete on outbox.moment, outbox.bookmark to {role};
grant execute on function outbox.maintain(interval, integer), outbox.settle_unsigned_messages(text) to {role};
";

/// For `walpost doctor`: whether the schema is current. Who applies the migrations with another tool has no such table.
const RELAY_BOOKKEEPING: &str = "\
do {tag} begin
    if exists (select from pg_catalog.pg_tables where schemaname = 'outbox' and tablename = '_migrations') then
        execute format('grant select (version, success, checksum) on outbox._migrations to %I', {literal});
    end if;
end {tag};
";

/// Who is to be given rights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// The role that services write events with.
    pub writer: Option<String>,
    /// The role that the relay connects with.
    pub relay: Option<String>,
}

/// Role attributes that are missing and that only an administrator can set, and the SQL that sets them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role {role} lacks {lacks}; to add it: {fix}")]
pub struct Advice {
    /// The role's name.
    pub role: String,
    /// The attributes that it lacks.
    pub lacks: &'static str,
    /// The statement.
    pub fix: String,
}

/// Granting failed; nothing was granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// There is no such role.
    #[error("role \"{role}\" does not exist: run `{fix}`")]
    NoSuchRole {
        /// The role's name.
        role: String,
        /// The statement that makes it.
        fix: String,
    },
    /// PostgreSQL refused.
    #[error("grant privileges in schema outbox")]
    Database(#[from] Error),
}

impl EndsCommand for GrantError {
    fn exit_code(&self) -> u8 {
        exit::FAILED
    }
}

#[must_use]
pub fn grants_sql(roles: &Roles) -> String {
    let of = |role: &Option<String>, grants: &str| role.as_deref().map(|role| fill(grants, role)).unwrap_or_default();
    of(&roles.writer, WRITER) + &of(&roles.relay, RELAY) + &of(&roles.relay, RELAY_BOOKKEEPING)
}

/// Puts the role in the places that are meant for it, in one pass: its name may look like such a place, or like the end of the block.
fn fill(grants: &str, role: &str) -> String {
    let tag = (0..).map(|number| format!("$grant{number}$")).find(|tag| !role.contains(tag.as_str()));
    let tag = tag.expect("a name has an end");
    let mut filled = String::new();
    let mut rest = grants;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}').expect("a place ends");
        filled.push_str(before);
        filled.push_str(&match place {
            "role" => quoted(role),
            "literal" => quote_literal(role),
            "tag" => tag.clone(),
            other => unreachable!("{other} is no place"),
        });
        rest = after;
    }
    filled + rest
}

/// Gives the roles their rights, all or none, and says what the relay's role still lacks. Safe to repeat.
///
/// # Errors
/// When a role does not exist, or the connection's own role may not grant.
pub fn grant(connection: &mut Connection, roles: &Roles) -> Result<Vec<Advice>, GrantError> {
    let mut advice = Vec::new();
    if let Some(role) = &roles.writer {
        find(connection, role, "login")?;
    }
    if let Some(role) = &roles.relay {
        let found = find(connection, role, "login replication")?;
        let lacks = match (found.login, found.replication) {
            (true, true) => None,
            (true, false) => Some("REPLICATION"),
            (false, true) => Some("LOGIN"),
            (false, false) => Some("LOGIN and REPLICATION"),
        };
        if let Some(lacks) = lacks {
            let fix = format!("alter role {} login replication;", quoted(role));
            advice.push(Advice { role: role.clone(), lacks, fix });
        }
    }
    // Several statements in one message are one transaction.
    connection.simple_query(&grants_sql(roles))?;
    Ok(advice)
}

/// What matters of a role.
struct Found {
    login: bool,
    /// A superuser may replicate without the attribute.
    replication: bool,
}

fn find(connection: &mut Connection, role: &str, attributes: &str) -> Result<Found, GrantError> {
    let sql = "select rolcanlogin, rolreplication or rolsuper from pg_catalog.pg_roles where rolname = $1";
    let rows = connection.query(sql, &[Some(role)])?;
    let row = rows.first().ok_or_else(|| GrantError::NoSuchRole {
        role: role.to_owned(),
        fix: format!("create role {} {attributes}", quoted(role)),
    })?;
    Ok(Found { login: row.is_true(0), replication: row.is_true(1) })
}

/// An identifier as SQL: capitals, dashes, quotes and keywords stay what they are.
fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_of_any_name_is_quoted() {
        let roles = Roles { writer: Some("Order \"Service\"; drop".to_owned()), relay: None };
        let sql = grants_sql(&roles);
        assert!(sql.contains("to \"Order \"\"Service\"\"; drop\";"), "{sql}");
        assert!(!sql.contains("{role}") && !sql.contains("outbox.relay"), "{sql}");
    }

    #[test]
    fn a_role_may_be_named_like_a_placeholder_or_the_end_of_the_block() {
        let sql = |relay: &str| grants_sql(&Roles { writer: None, relay: Some(relay.to_owned()) });
        assert!(sql("it's").contains("to %I', 'it''s')"), "{}", sql("it's"));
        let placed = sql("{literal}{role}");
        assert!(placed.contains("to \"{literal}{role}\";") && placed.contains("'{literal}{role}'"), "{placed}");
        let ending = sql("a$grant0$b");
        assert!(ending.contains("do $grant1$ begin") && ending.contains("end $grant1$;"), "{ending}");
    }

    #[test]
    fn no_role_no_grant() {
        assert_eq!(grants_sql(&Roles::default()), "");
    }
}
