-- What becomes of an event whose payload breaks its contract's schema: the contract's word, beside the schema itself.
--
-- The relay checks each payload before it is published. Null leaves it to the relay's on_rejected, as it is for every version
-- that was registered without this column.

alter table outbox.schema_version add column if not exists on_violation text
    -- dead-letter: it is set aside with the reason. halt: the relay stops before it. warn: it is published with a header.
    check (on_violation in ('dead-letter', 'halt', 'warn'));

-- As in 0001_schema_version.sql, with the new column in the digest where it says something: the digests of versions without it stay
-- what they are. That the column never changes follows from the comparison of whole rows.
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
        new.digest := encode(sha256(convert_to((jsonb_build_array(new.name, new.version, new.topic, new.format,
            new.schema::jsonb, new.compatibility, new.owner, new.description, new.sla, new.lineage,
            new.topic_config) || case when new.on_violation is null then '[]'
                                 else jsonb_build_array(new.on_violation) end)::text, 'UTF8')), 'hex');
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

-- As in 0001_schema_version.sql, with one parameter more. Another list of parameters makes another function, and with both a
-- call would be ambiguous: the old one goes, and who was allowed to call it may call the new one.
do $$
declare
    granted record;
    statement text;
    grants text[];
begin
    for granted in
        select a.grantee, a.is_grantable
        from pg_catalog.pg_proc p cross join pg_catalog.aclexplode(p.proacl) a
        where p.oid = pg_catalog.to_regprocedure('outbox.register_schema_version(text, text, text, text, json, text, text, text, '
                                                 'jsonb, jsonb, jsonb)')
          and a.privilege_type = 'EXECUTE' and a.grantee not in (0, p.proowner)
    loop
        grants := grants || pg_catalog.format('grant execute on function outbox.register_schema_version to %s%s',
            granted.grantee::regrole, case when granted.is_grantable then ' with grant option' end);
    end loop;
    drop function if exists outbox.register_schema_version(text, text, text, text, json, text, text, text, jsonb, jsonb, jsonb);

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
    language plpgsql set search_path = pg_catalog, pg_temp as $function$
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
        -- The trigger's lock, taken before looking: of two who register the same at once, the second finds the first's.
        perform pg_advisory_xact_lock(hashtextextended('outbox.schema_version', 0));
        select to_jsonb(s) into present from outbox.schema_version s where s.name = name and s.version = version;
        if not found then
            insert into outbox.schema_version
                (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config,
                 on_violation)
            values (name, version, topic, format, schema, compatibility, owner, description, sla, lineage, topic_config,
                    on_violation);
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
    end $function$;

    revoke all on function outbox.register_schema_version from public;
    foreach statement in array coalesce(grants, '{}') loop
        execute statement;
    end loop;
end $$;
