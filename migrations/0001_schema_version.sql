-- Schema versions: what a producer promises about its events, one immutable row a version.
--
-- Errors of our own have SQLSTATEs of class WP, so that a client need not read the text:
--   WP001  the schema or the version is not registered, or the schema has no active version
--   WP002  the schema version is retired: nothing new may be emitted with it
--          Both name them in fields of the error as well: the data type is the schema's name, the constraint its version.
--   WP003  another definition is registered under this name and version already
--   WP004  a registered schema version can't be changed, deleted or truncated
-- An argument of the wrong shape is 22023 (invalid_parameter_value), as everywhere in PostgreSQL.

create schema if not exists outbox;

create table if not exists outbox.schema_version (
    -- What the event is, such as order.placed. Records bear it as ce_type.
    name          text not null check (name <> ''),
    -- The contract's version as its owner writes it: "2", "2.1.0", "2026-11". Text, because nothing is computed from it.
    version       text not null check (version <> ''),
    -- Which registration of this name it is, from 1. The order of versions is that of their registration, never that of
    -- their text: "10" follows "9".
    ordinal       integer not null,
    -- Where its events go; null leaves that to the event. Kafka's own rule for a legal name.
    topic         text check (topic ~ '^[a-zA-Z0-9._-]{1,249}$' and topic not in ('.', '..')),
    format        text not null default 'json' check (format in ('json', 'avro', 'protobuf', 'text', 'bytes')),
    -- json, not jsonb: it is shown to people as its author wrote it.
    schema        json,
    compatibility text not null default 'none' check (compatibility in (
        'none', 'backward', 'backward_transitive', 'forward', 'forward_transitive', 'full', 'full_transitive')),
    owner         text,
    description   text,
    -- The promised service level, such as {"freshness_seconds": 5}.
    sla           jsonb,
    -- What the events are made from.
    lineage       jsonb,
    -- How the topic is made if it is missing. Every key may be left out, which leaves it to the broker:
    --   {"partitions": 6, "replication_factor": 3, "config": {"cleanup.policy": "compact"}}
    -- The values in config are strings, as in Kafka's own tools. Other keys are refused.
    topic_config  jsonb,
    -- SHA-256 over everything above but ordinal, in hexadecimal: equal digests are equal promises.
    digest        text not null,
    -- active: may be emitted; the last active one is what an emit without a version takes.
    -- deprecated: may be emitted by those who name it. retired: no more emits; events that exist are still published.
    status        text not null default 'active' check (status in ('active', 'deprecated', 'retired')),
    registered_at timestamptz not null,
    primary key (name, version),
    unique (name, ordinal)
);

-- Refuses a topic_config that the relay could not read.
create or replace function outbox.check_topic_config(topic_config jsonb) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    item record;
    problem text;
begin
    if topic_config is null then
        return;
    end if;
    if jsonb_typeof(topic_config) <> 'object' then
        raise exception using errcode = '22023', message = format('topic_config is not a JSON object: %s', topic_config);
    end if;
    for item in select e.key, e.value from jsonb_each(topic_config) e loop
        problem := case
            when item.key in ('partitions', 'replication_factor') then
                -- The bounds are those of Kafka's protocol: a partition is an int32, a replication factor an int16.
                case when jsonb_typeof(item.value) <> 'number' or item.value::text !~ '^[1-9][0-9]{0,9}$'
                       or item.value::text::bigint > case item.key when 'partitions' then 2147483647 else 32767 end
                     then 'is not a whole number from 1' end
            when item.key = 'config' then
                case when jsonb_typeof(item.value) <> 'object' then 'is not a JSON object'
                     when jsonb_path_exists(item.value, '$.* ? (@.type() != "string")')
                     then 'has a value that is not a string' end
            else 'is none of partitions, replication_factor, config'
        end;
        if problem is not null then
            raise exception using errcode = '22023',
                message = format('topic_config: "%s" %s (%s)', item.key, problem, item.value);
        end if;
    end loop;
end $$;

-- Which version an event gets, if it may be emitted: the named one unless it is retired, or, if none is named, the last
-- registered active one. Null for what it does not know.
--
-- A copy of schema_version in the form of a function: outbox.emit needs this with each event, and PostgreSQL inlines a CASE
-- into the expression that uses it, while a query has to start and end an execution; 0003_emit.sql has the figures. It is written
-- anew in the transaction that registers a version or changes a status, and that discards the plans that hold the old
-- one. It holds the newest versions, so many that comparing with each is still cheaper than a query; who gets null asks the table.
create or replace function outbox.rebuild_emittable_version() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    held constant integer := 200;
    latest text;
    named text;
begin
    select string_agg(format('when $1 operator(pg_catalog.=) %L then %L', s.name, s.version), ' ') into latest
    from (select s.name, s.version from outbox.schema_version s
          where s.status = 'active' and not exists (select from outbox.schema_version later
              where later.name = s.name and later.status = 'active' and later.ordinal > s.ordinal)
          order by s.registered_at desc limit held) s;
    select string_agg(format('when $1 operator(pg_catalog.=) %L and $2 operator(pg_catalog.=) %L then %2$L',
                             s.name, s.version), ' ') into named
    from (select s.name, s.version from outbox.schema_version s
          where s.status <> 'retired' order by s.registered_at desc limit held) s;
    execute format('create or replace function outbox.emittable_version(schema_name text, version text) returns text '
        'language sql stable as %L', format('select case when $2 is null then %s else %s end',
            coalesce('case ' || latest || ' end', 'null'), coalesce('case ' || named || ' end', 'null')));
end $$;

-- One transaction at a time registers versions or changes them, so that their order is that of the commits. For each
-- statement: a trigger for each row runs when its row is locked already, and two of those could wait for each other.
create or replace function outbox.lock_schema_versions() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- With an older snapshot than the lock's, outbox.emittable_version would be written without the versions of others.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using errcode = '25001', message = 'schema versions are registered at isolation level read committed',
            hint = 'begin isolation level read committed';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('outbox.schema_version', 0));
    return null;
end $$;

-- Fills what the database decides about a new version, and keeps a registered one as it is.
create or replace function outbox.keep_schema_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op in ('DELETE', 'TRUNCATE') then
        raise exception using errcode = 'WP004',
            message = 'a registered schema version is never removed: events may still name it',
            hint = 'Retire it: update outbox.schema_version set status = ''retired'' where name = ... and version = ...';
    end if;
    if tg_op = 'INSERT' then
        perform outbox.check_topic_config(new.topic_config);
        new.ordinal := 1 + coalesce((select max(s.ordinal) from outbox.schema_version s where s.name = new.name), 0);
        new.registered_at := clock_timestamp();
        new.digest := encode(sha256(convert_to(jsonb_build_array(new.name, new.version, new.topic, new.format,
            new.schema::jsonb, new.compatibility, new.owner, new.description, new.sla, new.lineage,
            new.topic_config)::text, 'UTF8')), 'hex');
        return new;
    end if;
    if (to_jsonb(new) - 'status') is distinct from (to_jsonb(old) - 'status')
        or new.schema::text is distinct from old.schema::text then
        raise exception using errcode = 'WP004',
            message = format('schema version %s/%s is registered: only its status can change', old.name, old.version),
            hint = 'Register what is new as a new version.';
    end if;
    return new;
end $$;

create or replace function outbox.keep_emittable_version() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform outbox.rebuild_emittable_version();
    return null;
end $$;

create or replace trigger lock_schema_versions before insert or update on outbox.schema_version
    for each statement execute function outbox.lock_schema_versions();
create or replace trigger keep_schema_version before insert or update or delete on outbox.schema_version
    for each row execute function outbox.keep_schema_version();
create or replace trigger keep_schema_versions before truncate on outbox.schema_version
    for each statement execute function outbox.keep_schema_version();
create or replace trigger keep_emittable_version after insert or update on outbox.schema_version
    for each statement execute function outbox.keep_emittable_version();

do $$
begin
    perform outbox.rebuild_emittable_version();
end $$;

-- Registers an immutable version. True: it is new. False: the same was registered already, whatever its status is now.
-- JSON is compared by value, so that white space and the order of keys make no difference.
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
    topic_config  jsonb default null
) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    -- How much of a value an error shows: a schema can be long.
    shown constant integer := 300;
    wanted jsonb := jsonb_build_object('topic', topic, 'format', format, 'schema', schema::jsonb,
        'compatibility', compatibility, 'owner', owner, 'description', description, 'sla', sla, 'lineage', lineage,
        'topic_config', topic_config);
    present jsonb;
    difference text;
begin
    -- The trigger's lock, taken before looking: of two who register the same at once, the second finds the first's.
    perform pg_advisory_xact_lock(hashtextextended('outbox.schema_version', 0));
    select to_jsonb(s) into present from outbox.schema_version s where s.name = name and s.version = version;
    if not found then
        insert into outbox.schema_version
            (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config)
        values (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config);
        return true;
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

revoke all on function outbox.check_topic_config, outbox.rebuild_emittable_version, outbox.emittable_version,
    outbox.lock_schema_versions, outbox.keep_schema_version, outbox.keep_emittable_version, outbox.register_schema_version
    from public;
