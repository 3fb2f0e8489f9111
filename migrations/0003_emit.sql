-- outbox.emit and outbox.emit_message: one statement in the caller's transaction, for any language.
--
--   select outbox.emit('order.placed', '42', '{"total": "44.80"}');
--   select outbox.emit('order.placed', key => '42', payload => json_build_object('total', 1), version => '2',
--                      headers => '{"traceparent": "00-..."}');
--
-- Security definer: whoever may emit needs no right to read any table. The usual "set search_path" would cost as much again as
-- all that emit adds to an insert; instead every name in these bodies, operators and types too, is written with its
-- schema, so that nothing is found by the caller's search_path.
--
-- plpgsql, because it keeps its plans for the session: "language sql" took 1.6 times as long. The version comes from an inlined CASE
-- (0001_schema_version.sql): a query for it, even by primary key, made an emit cost 1.55 inserts.
--
-- CPU of the server for one statement, receiving and answering included, and bytes of write-ahead log (PostgreSQL 15.18, 2 cores):
--   insert into outbox.event                    37 us   345 bytes
--   outbox.emit, latest or named version   44 to 47 us  345 bytes   1.19 to 1.27
--   the same with 100 schemas registered        50 us   345 bytes   1.32
--   the same with "set search_path"             55 us   345 bytes   1.48
--   outbox.emit_message                         43 us   489 bytes   1.15
-- Taken with pgbench -M prepared, one client on a Unix socket, 230 bytes of payload as a parameter; each kind 20 times in turn in one
-- transaction, CPU from the backend's /proc/self/schedstat, pg_current_wal_insert_lsn() before and after, the median of 400. A commit
-- and a network make the ratio smaller, never larger. PostgreSQL 18 gave ratios of 1.25 to 1.38 for emit.

-- Says why an event is refused. Apart, so that the way without a fault stays short.
create or replace function outbox.refuse_event(schema_name text, version text, headers jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    known text;
begin
    if jsonb_typeof(headers) <> 'object' then
        raise exception using errcode = '22023',
            message = format('headers of an event are a JSON object, not %s', jsonb_typeof(headers));
    end if;
    select string_agg(format('%s (%s)', s.version, s.status), ', ' order by s.ordinal) into known
    from outbox.schema_version s where s.name = refuse_event.schema_name;
    if exists (select from outbox.schema_version s where s.name = refuse_event.schema_name
               and s.version = refuse_event.version and s.status = 'retired') then
        raise exception using errcode = 'WP002', datatype = schema_name, constraint = version,
            message = format('schema version %s/%s is retired', schema_name, version),
            detail = 'Registered versions: ' || known;
    end if;
    raise exception using errcode = 'WP001', datatype = coalesce(schema_name, ''), constraint = coalesce(version, ''),
        message = case
            when schema_name is null then 'an event needs the name of its schema'
            when known is null then format('schema %s is not registered', schema_name)
                || case when version is null then '' else format(' (version %s)', version) end
            when version is null then format('schema %s has no active version', schema_name)
            else format('schema version %s/%s is not registered', schema_name, version) end,
        detail = 'Registered versions: ' || coalesce(known, 'none'),
        hint = 'Register it: select outbox.register_schema_version(name => ..., version => ..., topic => ...)';
end $$;

-- Inserts an event and returns its id. Without a version: the schema's last registered active one. Without a topic: the one of
-- the schema version. A null payload is a tombstone.
create or replace function outbox.emit(
    schema_name text,
    key         text,
    payload     json,
    version     text  default null,
    headers     jsonb default null,
    topic       text  default null
) returns uuid
language plpgsql security definer as $$
#variable_conflict use_variable
declare
    event_id pg_catalog.uuid := pg_catalog.gen_random_uuid();
    chosen pg_catalog.text := outbox.emittable_version(schema_name, version);
begin
    if chosen is null then
        select s.version into chosen from outbox.schema_version s
        where s.name operator(pg_catalog.=) schema_name
          and case when version is null then s.status operator(pg_catalog.=) 'active'
              else s.version operator(pg_catalog.=) version and s.status operator(pg_catalog.<>) 'retired' end
        order by s.ordinal desc limit 1;
    end if;
    if chosen is null or pg_catalog.jsonb_typeof(headers) operator(pg_catalog.<>) 'object' then
        perform outbox.refuse_event(schema_name, version, headers);
    end if;
    insert into outbox.event (id, schema_name, schema_version, topic, key, payload, headers, created_at)
    values (event_id, schema_name, chosen, topic, key, payload, headers, pg_catalog.now());
    return event_id;
end $$;

-- The same for a payload that comes as text or jsonb. A single SELECT in SQL is inlined into the caller's plan, so that they cost
-- nothing when run. The one for text also takes a literal of no type ('{"a": 1}') and what drivers send as text or varchar;
-- a jsonb has lost its writer's order of keys before it gets here.
create or replace function outbox.emit(
    schema_name text, key text, payload text,
    version text default null, headers jsonb default null, topic text default null
) returns uuid language sql as $$ select outbox.emit($1, $2, $3::pg_catalog.json, $4, $5, $6) $$;

create or replace function outbox.emit(
    schema_name text, key text, payload jsonb,
    version text default null, headers jsonb default null, topic text default null
) returns uuid language sql as $$ select outbox.emit($1, $2, $3::pg_catalog.json, $4, $5, $6) $$;

-- The same event with no table behind it: a logical message in the write-ahead log. It costs no row and no vacuum, and nothing is left
-- to read or publish again once the log is gone.
--
-- Prefix "outbox"; transactional; the content is one JSON object in UTF-8, its members in this order:
--   {"id": "<uuid>", "schema_name": "...", "schema_version": "...", "topic": null, "key": "42",
--    "payload": <the payload, byte for byte as it was given>, "headers": null, "created_at": "2026-11-21T09:00:00+00:00"}
-- topic, key and headers are always there and may be null. No member "payload": a tombstone; "payload": null is a value.
-- Sent as bytes, because a message is not converted from the server's encoding to the relay's as a column is.
create or replace function outbox.emit_message(
    schema_name text,
    key         text,
    payload     json,
    version     text  default null,
    headers     jsonb default null,
    topic       text  default null
) returns uuid
language plpgsql security definer as $$
#variable_conflict use_variable
declare
    event_id pg_catalog.uuid := pg_catalog.gen_random_uuid();
    chosen pg_catalog.text := outbox.emittable_version(schema_name, version);
begin
    if chosen is null then
        select s.version into chosen from outbox.schema_version s
        where s.name operator(pg_catalog.=) schema_name
          and case when version is null then s.status operator(pg_catalog.=) 'active'
              else s.version operator(pg_catalog.=) version and s.status operator(pg_catalog.<>) 'retired' end
        order by s.ordinal desc limit 1;
    end if;
    if chosen is null or pg_catalog.jsonb_typeof(headers) operator(pg_catalog.<>) 'object' then
        perform outbox.refuse_event(schema_name, version, headers);
    end if;
    perform pg_catalog.pg_logical_emit_message(true, 'outbox', pg_catalog.convert_to(pg_catalog.concat(
        '{"id":"', event_id,
        '","schema_name":', pg_catalog.to_json(schema_name),
        ',"schema_version":', pg_catalog.to_json(chosen),
        ',"topic":', coalesce(pg_catalog.to_json(topic), 'null'::pg_catalog.json),
        ',"key":', coalesce(pg_catalog.to_json(key), 'null'::pg_catalog.json),
        case when payload is not null then ',"payload":' end, payload,
        ',"headers":', coalesce(headers, 'null'::pg_catalog.jsonb),
        ',"created_at":', pg_catalog.to_json(pg_catalog.now()),
        '}'), 'UTF8'));
    return event_id;
end $$;

create or replace function outbox.emit_message(
    schema_name text, key text, payload text,
    version text default null, headers jsonb default null, topic text default null
) returns uuid language sql as $$ select outbox.emit_message($1, $2, $3::pg_catalog.json, $4, $5, $6) $$;

create or replace function outbox.emit_message(
    schema_name text, key text, payload jsonb,
    version text default null, headers jsonb default null, topic text default null
) returns uuid language sql as $$ select outbox.emit_message($1, $2, $3::pg_catalog.json, $4, $5, $6) $$;

revoke all on function outbox.refuse_event from public;
revoke all on function
    outbox.emit(text, text, json, text, jsonb, text), outbox.emit(text, text, text, text, jsonb, text),
    outbox.emit(text, text, jsonb, text, jsonb, text), outbox.emit_message(text, text, json, text, jsonb, text),
    outbox.emit_message(text, text, text, text, jsonb, text), outbox.emit_message(text, text, jsonb, text, jsonb, text)
    from public;
