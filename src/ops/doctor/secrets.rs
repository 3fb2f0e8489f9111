//! Finds roles that can read the signing keys of messages and positions.

use crate::postgres::Connection;
use crate::source::SourceError;

/// Roles that can read the signing keys, other than the owner, relays and the current role.
pub(super) fn secret_readers(control: &mut Connection) -> Result<Option<String>, SourceError> {
    let rows = control.simple_query(
        "select string_agg(distinct case g.grantee when 0 then 'public' else g.grantee::regrole::text end, ', ') \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace, lateral ( \
             select a.grantee from aclexplode(c.relacl) a where a.privilege_type = 'SELECT' \
             union select b.grantee from pg_attribute t, aclexplode(t.attacl) b \
                   where t.attrelid = c.oid and b.privilege_type = 'SELECT') g \
         where n.nspname = 'outbox' and c.relname = 'secret' and g.grantee <> c.relowner \
           and g.grantee <> (select oid from pg_roles where rolname = current_user) \
           and not (g.grantee <> 0 and has_table_privilege(g.grantee, 'outbox.relay', 'update'))",
    )?;
    Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
}
