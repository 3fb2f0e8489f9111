-- As in 0005_maintain.sql, but without a backslash: with standard_conforming_strings off, as some old applications set it for a role or
-- a database, Postgres drops it from the pattern, no bound was found, and every day seemed to have its partition.
create or replace function outbox.event_partitions() returns table (name text, lower timestamptz, upper timestamptz)
language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
    select c.relname::text,
           coalesce(substring(b.bound from 'FROM [(]''([^'']+)''[)]')::timestamptz, '-infinity'),
           coalesce(substring(b.bound from 'TO [(]''([^'']+)''[)]')::timestamptz, 'infinity')
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'outbox'
    cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as bound) b
    where i.inhparent = 'outbox.event'::regclass and b.bound <> 'DEFAULT'
    order by 2
$$;
