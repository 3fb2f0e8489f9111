//! How the values of a type that is not built in are sent.
//!
//! A type's binary format is produced by its send function, so that tells which format it is: an enum's is
//! `enum_send`, which sends the label; a domain has its base type's; an extension's may be one of Postgres's own, as
//! `citext`'s is `textsend`. A composite, an array, a range, and an extension with its own function have formats that
//! nothing here reads.

use crate::postgres::{ConnectOptions, Connection};
use crate::relay::boundary::ColumnType;
use crate::source::error::SourceError;

/// The OID of the built-in type in whose binary format values of type `t` are sent, whose send function is `p`.
/// Functions in language `internal` (12) are Postgres's own, named by prosrc.
pub(crate) const SENT_AS: &str = "case when p.prolang = 12 then case p.prosrc \
    when 'enum_send' then 25 when 'textsend' then 25 when 'varcharsend' then 25 when 'bpcharsend' then 25 \
    when 'namesend' then 25 when 'charsend' then 25 when 'json_send' then 25 \
    when 'jsonb_send' then 3802 when 'byteasend' then 17 when 'uuid_send' then 2950 \
    when 'int2send' then 21 when 'int4send' then 23 when 'int8send' then 20 \
    when 'boolsend' then 16 when 'oidsend' then 26 when 'float4send' then 700 when 'float8send' then 701 \
    when 'numeric_send' then 1700 when 'date_send' then 1082 when 'time_send' then 1083 when 'timetz_send' then 1266 \
    when 'interval_send' then 1186 when 'inet_send' then 869 when 'cidr_send' then 650 \
    when 'timestamp_send' then 1114 when 'timestamptz_send' then 1184 end end";

/// Looks a type up by its OID; `None` if there is none, or none yet: a transaction's rows can arrive before others
/// see what it has created.
///
/// # Errors
/// Those of the connection.
pub(crate) fn look_up_type(connect: &ConnectOptions, oid: u32) -> Result<Option<ColumnType>, SourceError> {
    let question = "a type";
    let mut control = Connection::open(connect)?;
    let sql = format!(
        "select format_type(t.oid, null), {SENT_AS} from pg_type t left join pg_proc p on p.oid = t.typsend \
         where t.oid = $1::text::oid"
    );
    let rows = control.query(&sql, &[Some(&oid.to_string())])?;
    control.close();
    let Some(row) = rows.first() else { return Ok(None) };
    let name = row.text(0).ok_or(SourceError::Answer { question })?.to_owned();
    let sent_as = row.text(1).map(|oid| oid.parse().map_err(|_| SourceError::Answer { question })).transpose()?;
    Ok(Some(ColumnType { name, sent_as }))
}
