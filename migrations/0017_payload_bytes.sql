-- Payloads that are not JSON, and INSERT ... RETURNING id.
--
-- A column of its own: "payload" is json, whose bytes reach Kafka as they are, but which takes nothing else. It is null in all other rows
-- and then takes a bit. A relay of an earlier version does not know it, and takes such an event for a tombstone: no service may emit one
-- before every relay is new. That such a relay can't read the column is no reason to refuse it here: it is what runs while this is applied.

alter table outbox.event add column if not exists payload_bytes bytea;

-- 0015_headers.sql, with the other payload. The length of a bytea is known without reading it.
create or replace function outbox.can_be_sent(
    schema_name text, schema_version text, topic text, key text, payload json, headers jsonb, payload_bytes bytea
) returns boolean language plpgsql immutable as $$
begin
    if payload is not null and payload_bytes is not null then
        raise exception using errcode = '23514', message = 'an event has a payload or payload_bytes, not both';
    end if;
    return (headers is null or pg_catalog.octet_length(headers::pg_catalog.text) operator(pg_catalog.<=) 1048576)
        and (payload is null or pg_catalog.pg_column_size(payload) operator(pg_catalog.<=) 2097152
            or pg_catalog.octet_length(payload::pg_catalog.text) operator(pg_catalog.<=) 67108864)
        and (payload_bytes is null or pg_catalog.octet_length(payload_bytes) operator(pg_catalog.<=) 67108864)
        and pg_catalog.octet_length(schema_name) operator(pg_catalog.+) pg_catalog.octet_length(schema_version)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(topic), 0)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(key), 0) operator(pg_catalog.<=) 1048576;
end $$;

-- The same name, as it is what a writer is told: one check with one call, as in 0010_unsendable.sql.
do $$
declare
    check_name constant name := 'headers_to_1_mb_payload_to_64_mb_names_to_1_mb';
begin
    if exists (select from pg_catalog.pg_constraint where conrelid = 'outbox.event'::regclass and conname = check_name
               and pg_catalog.pg_get_constraintdef(oid) not like '%payload_bytes%') then
        execute pg_catalog.format('alter table outbox.event drop constraint %I', check_name);
    end if;
    if not exists (select from pg_catalog.pg_constraint where conrelid = 'outbox.event'::regclass and conname = check_name) then
        execute pg_catalog.format('alter table outbox.event add constraint %I check (outbox.can_be_sent('
            'schema_name, schema_version, topic, key, payload, headers, payload_bytes)) not valid', check_name);
    end if;
end $$;

-- A table made by hand from an older outbox.event may still have the older check.
do $$
begin
    if not exists (select from pg_catalog.pg_depend where refclassid = 'pg_catalog.pg_proc'::regclass
            and refobjid = pg_catalog.to_regprocedure('outbox.can_be_sent(text, text, text, text, json, jsonb)')) then
        drop function if exists outbox.can_be_sent(text, text, text, text, json, jsonb);
    end if;
end $$;

-- As outbox.emit (0003_emit.sql), for a payload that is not JSON: Avro, Protobuf, text or bytes, as the schema version's format says. Null
-- is a tombstone, an empty payload is none. The format is looked up, as bytes under a schema version of JSON would only become a dead letter,
-- or be called JSON by their content-type: a query by primary key, which emit does without.
create or replace function outbox.emit_bytes(
    schema_name text,
    key         text,
    payload     bytea,
    version     text  default null,
    headers     jsonb default null,
    topic       text  default null
) returns uuid
language plpgsql security definer as $$
#variable_conflict use_variable
declare
    event_id pg_catalog.uuid := pg_catalog.gen_random_uuid();
    chosen pg_catalog.text;
    format pg_catalog.text;
begin
    select s.version, s.format into chosen, format from outbox.schema_version s
    where s.name operator(pg_catalog.=) schema_name
      and case when version is null then s.status operator(pg_catalog.=) 'active'
          else s.version operator(pg_catalog.=) version and s.status operator(pg_catalog.<>) 'retired' end
    order by s.ordinal desc limit 1;
    if chosen is null or pg_catalog.jsonb_typeof(headers) operator(pg_catalog.<>) 'object' then
        perform outbox.refuse_event(schema_name, version, headers);
    end if;
    if format operator(pg_catalog.=) 'json' and payload is not null then
        raise exception using errcode = '22023',
            message = pg_catalog.format('schema version %s/%s has format json', schema_name, chosen),
            hint = 'Emit its events with outbox.emit, or register a version with the format of these bytes: '
                'avro, protobuf, text or bytes.';
    end if;
    insert into outbox.event (id, schema_name, schema_version, topic, key, payload_bytes, headers, created_at)
    values (event_id, schema_name, chosen, topic, key, payload, headers, pg_catalog.now());
    return event_id;
end $$;

revoke all on function outbox.emit_bytes from public;

-- Whoever may emit may emit these too; and whoever may insert may have what the database fills in returned, as ORMs ask for it. Ids and
-- times of events are all that this lets a writer read.
do $$
declare
    grantee record;
begin
    for grantee in
        select case a.grantee when 0 then 'public' else pg_catalog.quote_ident(r.rolname) end as name, a.what
        from (
            select (pg_catalog.aclexplode(p.proacl)).grantee, 'emit' as what from pg_catalog.pg_proc p
            where p.oid = 'outbox.emit(text, text, json, text, jsonb, text)'::regprocedure
            union
            select e.grantee, 'insert' from pg_catalog.pg_class c cross join lateral pg_catalog.aclexplode(c.relacl) e
            where c.oid = 'outbox.event'::regclass and e.privilege_type = 'INSERT'
        ) a left join pg_catalog.pg_roles r on r.oid = a.grantee
        where a.grantee = 0 or r.rolname is not null
    loop
        if grantee.what = 'emit' then
            execute 'grant execute on function outbox.emit_bytes to ' || grantee.name;
        else
            execute 'grant select (id, created_at) on outbox.event to ' || grantee.name;
        end if;
    end loop;
end $$;
