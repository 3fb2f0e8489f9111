-- Headers of up to 1 MiB, two who register the same version at once, and replica identities of older partitions.

-- 0010_unsendable.sql, with headers of up to 1 MiB of text in the place of 64 KiB: as much as a record may be by Kafka's default. What is
-- larger than its topic takes becomes a dead letter, where 0010 failed the writer's transaction. What Postgres has to make to measure it
-- stays the same, and so does what it refuses to make. Rows that were fit before are fit now.
create or replace function outbox.can_be_sent(
    schema_name text, schema_version text, topic text, key text, payload json, headers jsonb
) returns boolean language plpgsql immutable as $$
begin
    return (headers is null or pg_catalog.octet_length(headers::pg_catalog.text) operator(pg_catalog.<=) 1048576)
        and (payload is null or pg_catalog.pg_column_size(payload) operator(pg_catalog.<=) 2097152
            or pg_catalog.octet_length(payload::pg_catalog.text) operator(pg_catalog.<=) 67108864)
        and pg_catalog.octet_length(schema_name) operator(pg_catalog.+) pg_catalog.octet_length(schema_version)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(topic), 0)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(key), 0) operator(pg_catalog.<=) 1048576;
end $$;

-- The name is what a writer is told. The partitions' constraints go with the table's.
do $$
declare
    old constant name := 'headers_to_64_kb_payload_to_64_mb_names_to_1_mb';
    new constant name := 'headers_to_1_mb_payload_to_64_mb_names_to_1_mb';
    has_new boolean := exists (select from pg_catalog.pg_constraint
                               where conrelid = 'outbox.event'::regclass and conname = new);
begin
    if exists (select from pg_catalog.pg_constraint where conrelid = 'outbox.event'::regclass and conname = old) then
        if has_new then
            -- 0010 was applied by hand once more.
            execute pg_catalog.format('alter table outbox.event drop constraint %I', old);
        else
            execute pg_catalog.format('alter table outbox.event rename constraint %I to %I', old, new);
        end if;
    end if;
end $$;

-- 0014_locks.sql, without a lock of its own: the insert waits for whoever registers meanwhile (the table's trigger), and finds what he has
-- registered. So the caller needs no right to lock, whether he was granted this function before 0014 or after it.
create or replace function outbox.register_schema_version(
    name          text,
    version       text,
    topic         text,
    format        text  default 'json',
    schema        json  default null,
    compatibility text  default 'none',
    owner         text  default null,
    description   text  default null,
    sla           jsonb default null,
    lineage       jsonb default null,
    topic_config  jsonb default null,
    on_violation  text  default null
) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    -- How much of a value an error shows: a schema can be long.
    shown constant integer := 300;
    wanted jsonb := jsonb_build_object('topic', topic, 'format', format, 'schema', schema::jsonb,
        'compatibility', compatibility, 'owner', owner, 'description', description, 'sla', sla, 'lineage', lineage,
        'topic_config', topic_config, 'on_violation', on_violation);
    present jsonb;
    difference text;
begin
    select to_jsonb(s) into present from outbox.schema_version s where s.name = name and s.version = version;
    if not found then
        insert into outbox.schema_version
            (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config,
             on_violation)
        values (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config,
                on_violation)
        on conflict on constraint schema_version_pkey do nothing;
        if found then
            return true;
        end if;
        select to_jsonb(s) into present from outbox.schema_version s where s.name = name and s.version = version;
    end if;
    -- A column that is null in SQL and one that holds JSON's null are the same here: both promise nothing.
    select string_agg(format('%s: %s, not %s', w.key, left((present -> w.key)::text, shown),
                             left(w.value::text, shown)), '; ' order by w.key)
    into difference from jsonb_each(wanted) w where w.value is distinct from present -> w.key;
    if difference is not null then
        raise exception using errcode = 'WP003',
            message = format('schema version %s/%s is registered with another definition: %s', name, version, difference),
            detail = 'Each difference names the column, what is registered and what was given.',
            hint = 'A registered version never changes. Register the new definition under a new version.';
    end if;
    return false;
end $$;

-- Partitions that were made before 0014 have no replica identity: beside a publication of their updates and deletes, Postgres refuses
-- those. Who deletes old events by hand would be told so.
do $$
declare
    part record;
begin
    for part in
        select c.oid::regclass as name
        from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'outbox.event'::regclass and c.relkind = 'r'
          and (c.relreplident = 'n' or c.relreplident = 'd' and not exists (
                  select from pg_catalog.pg_index x where x.indrelid = c.oid and x.indisprimary))
    loop
        execute pg_catalog.format('alter table %s replica identity full', part.name);
    end loop;
end $$;
