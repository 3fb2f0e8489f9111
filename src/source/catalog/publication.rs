//! The publication of the outbox tables: one catalog query, used at the start, while the relay runs, and by doctor.

use super::streamed::{Catalog, judge};
use crate::postgres::Connection;
use crate::source::boundary::table::OutboxTable;
use crate::source::boundary::table::TableName;
use crate::source::error::SourceError;
use crate::source::server::answer::first;

/// `$1` is the publication, `$2` and `$3` the table. What was added in 15 (row filters, column lists) is read through
/// JSON, because 14 has no such columns. Only the leaves of a partitioned table have rows; children by inheritance
/// belong to tables that are not partitioned.
///
/// A partition takes no rows if Postgres refuses every insert: a foreign table whose wrapper does not insert (8 is the bit of INSERT), and
/// a table with a check that is false. Its bounds prove nothing: a row can be inserted with any `created_at`.
const CATALOG: &str = "
with recursive listed as materialized (
    select t.schemaname, t.tablename, to_jsonb(t) as entry from pg_publication_tables t where t.pubname = $1
), target as materialized (
    select c.oid, c.relname, n.nspname, c.relkind, c.relpersistence
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $2 and c.relname = $3 and c.relkind not in ('i', 'I', 't', 'c')
), child as (
    select i.inhrelid from pg_inherits i join target on i.inhparent = target.oid where target.relkind = 'r'
    union select i.inhrelid from pg_inherits i join child on i.inhparent = child.inhrelid
)
select json_build_object(
    'database', current_database(), 'version', current_setting('server_version_num')::int,
    'publication', (
        select json_build_object('inserts', p.pubinsert, 'via_root', p.pubviaroot, 'entries', p.oid || '/' || coalesce((
            select string_agg(r.oid::text, ',' order by r.oid) from pg_publication_rel r
            where r.prpubid = p.oid and r.prrelid = (select oid from target)), ''))
        from pg_publication p where p.pubname = $1),
    'table', (
        select json_build_object(
            'kind', target.relkind::text, 'persistence', target.relpersistence::text,
            'published', (
                select json_build_object('filter', entry ->> 'rowfilter', 'columns', entry -> 'attnames', 'has_list', exists (
                    select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                    where p.pubname = $1 and r.prrelid = target.oid and to_jsonb(r) ->> 'prattrs' is not null))
                from listed where listed.schemaname = target.nspname and listed.tablename = target.relname),
            'by_partition', exists (
                select from pg_partition_tree(target.oid) part join pg_class l on l.oid = part.relid
                join pg_namespace n on n.oid = l.relnamespace
                join listed on listed.schemaname = n.nspname and listed.tablename = l.relname
                where part.level > 0),
            'columns', (
                select coalesce(json_agg(json_build_object('name', a.attname, 'generated', a.attgenerated::text)), '[]')
                from pg_attribute a where a.attrelid = target.oid and a.attnum > 0 and not a.attisdropped),
            'odd_parts', (
                select coalesce(json_agg(json_build_object('kind', l.relkind::text,
                    'takes_rows', case when l.relkind = 'f' then coalesce((
                        select case when w.fdwhandler <> 0 then pg_relation_is_updatable(l.oid, false) & 8 <> 0 end
                        from pg_foreign_table f join pg_foreign_server s on s.oid = f.ftserver
                        join pg_foreign_data_wrapper w on w.oid = s.srvfdw where f.ftrelid = l.oid), true)
                    else not exists (
                        select from pg_constraint k where k.conrelid = l.oid and k.contype = 'c'
                        and pg_get_expr(k.conbin, k.conrelid) = 'false'
                        and coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)) end,
                    'table', json_build_object('schema', n.nspname, 'name', l.relname)) order by n.nspname, l.relname), '[]')
                from pg_partition_tree(target.oid) part join pg_class l on l.oid = part.relid
                join pg_namespace n on n.oid = l.relnamespace
                where part.level > 0 and (l.relkind = 'f' or l.relkind = 'r' and l.relpersistence <> 'p')),
            'children', (
                select coalesce(json_agg(json_build_object('schema', n.nspname, 'name', l.relname) order by n.nspname, l.relname), '[]')
                from child join pg_class l on l.oid = child.inhrelid join pg_namespace n on n.oid = l.relnamespace))
        from target))::text";

/// How an outbox table is streamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamedTable {
    /// Names of the catalog's entries by which the table is published: taking it out and putting it back makes new ones.
    pub entries: String,
    /// Partitions whose rows are not streamed, and which take no more.
    pub archived: Vec<TableName>,
}

/// Whether a publication streams all of an outbox table's inserts under the table's own name, with every column that is read. `all` are
/// all outbox tables.
///
/// # Errors
/// [`SourceError`], for which [`SourceError::is_publication_mismatch`] is true, and those of the connection.
pub(crate) fn check_publication(
    control: &mut Connection,
    publication: &str,
    table: &OutboxTable,
    all: &[OutboxTable],
) -> Result<StreamedTable, SourceError> {
    let question = "the publication of an outbox table";
    let rows = control.query(CATALOG, &[Some(publication), Some(&table.table.schema), Some(&table.table.name)])?;
    let text = first(&rows, question)?.text(0).unwrap_or_default();
    let catalog: Catalog = serde_json::from_str(text).map_err(|_| SourceError::Answer { question })?;
    let names: Vec<TableName> = all.iter().map(|outbox| outbox.table.clone()).collect();
    judge(&catalog, (publication, table), &names)?;
    let archived = catalog.archived();
    Ok(StreamedTable { entries: catalog.publication.map(|found| found.entries).unwrap_or_default(), archived })
}

/// walpost's own outbox tables that a publication streams and `tables` does not name: their rows would be skipped.
///
/// # Errors
/// Those of the connection.
pub(crate) fn stray_outbox(
    control: &mut Connection,
    publication: &str,
    tables: &[OutboxTable],
) -> Result<Option<TableName>, SourceError> {
    let own = TableName { schema: "outbox".to_owned(), name: "event".to_owned() };
    if tables.iter().any(|outbox| outbox.table == own) {
        return Ok(None);
    }
    let rows = control.query(
        "select true from pg_publication_tables where pubname = $1 and schemaname = $2 and tablename = $3",
        &[Some(publication), Some(&own.schema), Some(&own.name)],
    )?;
    Ok((!rows.is_empty()).then_some(own))
}
