-- Locks that only those can take who are meant to, partitions beside any publication, and no events of a day that is far off.
--
-- Every role can take every advisory lock, and with it hold up whoever else waits for it. A row can be locked only by a role with a
-- right to it, and nobody but the owner has one to outbox.mutex: functions lock it with their owner's rights.

create table if not exists outbox.mutex (name text primary key);
insert into outbox.mutex values ('maintain'), ('schema_version') on conflict do nothing;

-- The right to a slot is an advisory lock after all: it ends with its session, and costs no write-ahead log. Its key is random. It can
-- be read from pg_locks while the lock is held, and whoever waits for it then has it next; so the relay that finds it held by a role
-- that may not write here takes another key. A session that may is taken for a relay's.
create table if not exists outbox.lease (
    slot     text primary key,
    lock_key bigint not null
);

-- 0001_schema_version.sql and 0006_on_violation.sql, with a row in the place of the advisory lock.
create or replace function outbox.lock_registration() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from outbox.mutex m where m.name = 'schema_version' for update;
end $$;

create or replace function outbox.lock_schema_versions() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- With an older snapshot than the lock's, outbox.emittable_version would be written without the versions of others.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using errcode = '25001', message = 'schema versions are registered at isolation level read committed',
            hint = 'begin isolation level read committed';
    end if;
    perform outbox.lock_registration();
    return null;
end $$;

-- Who may register may also call outbox.lock_registration; who was given the right after this migration does without: of two who
-- register the same at once, the second may then be told of a duplicate key.
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
    -- The trigger's lock, taken before looking: of two who register the same at once, the second finds the first's.
    if has_function_privilege('outbox.lock_registration()', 'execute') then
        perform outbox.lock_registration();
    end if;
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
end $$;

-- 0005_maintain.sql, with three changes: a call that finds another at work says so; what can't be deleted is kept, and the rest goes on;
-- and partitions have a replica identity. Beside a publication that has this table with its updates or deletes, such as another
-- tool's "for all tables", Postgres refuses those on a table without one. It costs nothing before a row is updated or deleted.
create or replace function outbox.maintain(retention interval default '7 days', ahead integer default 7)
returns table (action text, partition text, detail text)
language plpgsql security definer
-- Bounds of partitions are read back as text: let that text be of one form.
set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD'
-- The longest that this waits for any one lock, and so the longest that a business transaction can wait behind it.
set lock_timeout = '50ms' as $$
#variable_conflict use_variable
begin
    if retention < interval '0' or ahead not between 0 and 366 then
        raise exception using errcode = '22023', message = format(
            'outbox.maintain: a retention is not negative and days ahead are 0 to 366, not %s and %s', retention, ahead);
    end if;
    -- Two at once: the second has nothing to do, and says so.
    perform from outbox.mutex m where m.name = 'maintain' for update skip locked;
    if not found then
        return query select 'skipped', 'event', 'another session is maintaining it';
        return;
    end if;
    return query select * from outbox.make_partitions(ahead);
    if retention is not null then
        return query select * from outbox.drop_partitions(now() - retention);
    end if;
end $$;

create or replace function outbox.make_partitions(ahead integer)
returns table (action text, partition text, detail text)
language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
#variable_conflict use_variable
declare
    day timestamptz;
    next_day timestamptz;
    -- A lock was not to be had: the other days would wait for the same one.
    busy boolean := false;
begin
    for day in select generate_series(date_trunc('day', now()), date_trunc('day', now()) + ahead * interval '1 day',
                                      interval '1 day') loop
        next_day := day + interval '1 day';
        continue when exists (select from outbox.event_partitions() p where p.lower < next_day and p.upper > day);
        partition := to_char(day, '"event_"YYYYMMDD');
        begin
            action := 'skipped';
            if to_regclass('outbox.' || partition) is not null then
                detail := 'a table of that name exists and is no partition of outbox.event';
            elsif busy then
                detail := 'open transactions are using the default partition';
            elsif exists (select from outbox.event_default e where e.created_at >= day and e.created_at < next_day) then
                detail := 'events of that day are in the default partition already';
            else
                execute format('create table outbox.%I (like outbox.event including defaults including constraints '
                    'including storage including compression)', partition);
                execute format('alter table outbox.%I replica identity full', partition);
                execute format('alter table outbox.event attach partition outbox.%I for values from (%L) to (%L)',
                    partition, day, next_day);
                action := 'created';
                detail := format('from %s to %s', day, next_day);
            end if;
        exception
            when lock_not_available then
                busy := true;
                detail := 'open transactions are using the default partition';
            when check_violation then
                detail := 'events of that day came into the default partition just now';
        end;
        return next;
    end loop;
end $$;

create or replace function outbox.drop_partitions(before timestamptz)
returns table (action text, partition text, detail text)
language plpgsql set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
#variable_conflict use_variable
declare
    old text[];
    rows bigint;
    holds_root boolean := false;
begin
    select array_agg(p.name order by p.lower) into old from outbox.event_partitions() p where p.upper <= before;
    if exists (select from outbox.relay r where r.backfill <> 'done') then
        action := 'kept';
        detail := 'a relay has not yet published the events from before its slot';
        if exists (select from outbox.event_default e where e.created_at < before) then
            old := array_prepend('event_default', old);
        end if;
        foreach partition in array coalesce(old, '{}') loop
            return next;
        end loop;
        return;
    end if;

    begin
        partition := 'event_default';
        delete from outbox.event_default e where e.created_at < before;
        get diagnostics rows = row_count;
        if rows > 0 then
            action := 'deleted';
            detail := format('%s events from before %s', rows, before);
            return next;
        end if;
    exception
        when lock_not_available then
            action := 'kept';
            detail := 'an open transaction is using it';
            return next;
        -- Such as a publication of some columns, which asks for another replica identity.
        when object_not_in_prerequisite_state or invalid_column_reference then
            action := 'kept';
            detail := sqlerrm;
            return next;
    end;

    if old is null then
        return;
    end if;
    begin
        lock table outbox.event in access exclusive mode;
        holds_root := true;
    exception when lock_not_available then
        null;
    end;
    foreach partition in array old loop
        begin
            if holds_root then
                execute format('drop table outbox.%I', partition);
                action := 'dropped';
                detail := format('all its events are from before %s', before);
            else
                -- A shell that is empty already is not locked again.
                execute format('select count(*) from (select from outbox.%I limit 1) e', partition) into rows;
                if rows > 0 then
                    execute format('truncate outbox.%I', partition);
                end if;
                action := 'emptied';
                detail := 'open transactions are using outbox.event: dropped by a later call';
            end if;
        exception when lock_not_available then
            action := 'kept';
            detail := 'an open transaction is reading it';
        end;
        return next;
    end loop;
end $$;

-- A row whose day has no partition goes to the default partition, and then that day can't have one any more. created_at is the time of
-- the transaction; one from further ahead than a clock can be wrong is a mistake, or would fill the default partition on purpose. Asked
-- only where there is no partition, so that an emit pays nothing for it.
create or replace function outbox.check_created_at() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if new.created_at > now() + interval '1 day' then
        raise exception using errcode = '22008', message = format('created_at of an event is in the future: %s', new.created_at),
            hint = 'Leave it out: it is the time of the transaction then.';
    end if;
    return new;
end $$;
create or replace trigger check_created_at before insert on outbox.event_default
    for each row execute function outbox.check_created_at();

revoke all on function outbox.lock_registration, outbox.check_created_at from public;

do $$
declare
    granted record;
begin
    alter table outbox.event_default replica identity full;
    -- Default privileges may have given the new tables to others.
    for granted in
        select distinct c.oid::regclass as name, a.grantee
        from pg_catalog.pg_class c cross join pg_catalog.aclexplode(c.relacl) a
        where c.oid in ('outbox.mutex'::regclass, 'outbox.lease'::regclass) and a.grantee <> c.relowner
    loop
        execute pg_catalog.format('revoke all on %s from %s', granted.name,
            case when granted.grantee = 0 then 'public' else granted.grantee::regrole::text end);
    end loop;
    for granted in
        select distinct a.grantee::regrole as name
        from pg_catalog.pg_class c cross join pg_catalog.aclexplode(c.relacl) a
        where c.oid = 'outbox.relay'::regclass and a.privilege_type = 'UPDATE' and a.grantee <> 0
    loop
        execute pg_catalog.format('grant select, insert, update on outbox.lease to %s', granted.name);
    end loop;
    -- Functions run with their owners' rights, who may be others than these tables'.
    for granted in
        select distinct p.proowner::regrole as name from pg_catalog.pg_proc p
        where p.pronamespace = 'outbox'::regnamespace
          and p.proname in ('maintain', 'lock_registration', 'lock_schema_versions')
    loop
        execute pg_catalog.format('grant select, update on outbox.mutex to %s', granted.name);
    end loop;
    for granted in
        select distinct a.grantee::regrole as name
        from pg_catalog.pg_proc p cross join pg_catalog.aclexplode(p.proacl) a
        where p.pronamespace = 'outbox'::regnamespace and p.proname = 'register_schema_version' and a.grantee <> 0
        union
        select p.proowner::regrole from pg_catalog.pg_proc p
        where p.pronamespace = 'outbox'::regnamespace and p.proname = 'lock_schema_versions'
    loop
        execute pg_catalog.format('grant execute on function outbox.lock_registration to %s', granted.name);
    end loop;
end $$;
