-- outbox.maintain: a partition for each day of the near future, and none of the far past.
--
-- The running relay calls it; any role with the grant can, at any time, in a transaction of its own: locks are held until it ends.
-- It returns what it did, a row for each thing, and never raises for a lock that it does not get. Actions:
--   created   a partition was made and attached
--   skipped   a partition could not be made now: the reason is in detail; that day's events go to the default partition
--   dropped   a partition older than the retention is gone
--   emptied   as dropped, but business transactions were open: its rows and its space are gone, the next call drops the shell
--   deleted   old rows of the default partition are gone
--   kept      old events were left where they are: the reason is in detail
--
-- Days are days of UTC. Rows are never moved between partitions: a move is an insert, and inserts are published.
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
    -- Two at once: the second has nothing to do.
    if not pg_try_advisory_xact_lock(hashtextextended('outbox.maintain', 0)) then
        return;
    end if;
    return query select * from outbox.make_partitions(ahead);
    if retention is not null then
        return query select * from outbox.drop_partitions(now() - retention);
    end if;
end $$;

-- Every partition but the default one with its bounds; a bound of MINVALUE or MAXVALUE is infinite.
create or replace function outbox.event_partitions() returns table (name text, lower timestamptz, upper timestamptz)
language sql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' set datestyle = 'ISO, YMD' as $$
    select c.relname::text,
           coalesce(substring(b.bound from 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
           coalesce(substring(b.bound from 'TO \(''([^'']+)''\)')::timestamptz, 'infinity')
    from pg_inherits i
    join pg_class c on c.oid = i.inhrelid
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'outbox'
    cross join lateral (select pg_get_expr(c.relpartbound, c.oid) as bound) b
    where i.inhparent = 'outbox.event'::regclass and b.bound <> 'DEFAULT'
    order by 2
$$;

-- A table is made and then attached: that locks the root in a mode that inserts do not wait for, while "create table ...
-- partition of" would lock them out. It also locks the default partition against all others, which is felt only by transactions
-- that write to it because their day has no partition.
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

-- Dropping a partition locks the root against everything. If that lock is not to be had in a moment, old partitions are emptied
-- instead, which locks only them: the space is free at once, and the shells go with a later call.
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
    exception when lock_not_available then
        action := 'kept';
        detail := 'an open transaction is using it';
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

revoke all on function outbox.maintain, outbox.event_partitions, outbox.make_partitions, outbox.drop_partitions from public;

-- The first days, so that not even the first event is left to the default partition.
do $$
begin
    perform outbox.maintain(retention => null);
end $$;
