-- Keys that neither writers nor other roles can read, and what is authenticated with them: messages of outbox.emit_message, and the
-- positions that the relay stores in Kafka.
--
-- Keep old keys: a message that the relay has not read yet is published only while the key that signed it is here. Delete a leaked key
-- once every slot is past the last message that it signed (confirmed_flush_lsn in pg_replication_slots).
--
-- pg_logical_emit_message can be executed by every role. Without a proof, whoever can connect could have anything published under
-- any schema, id, key and topic. A function's text can be read by everyone too, so the keys are rows of a table.

create table if not exists outbox.secret (
    id         bigint generated always as identity primary key,
    purpose    text not null check (purpose in ('message', 'position')),
    -- A key of HMAC-SHA256 (RFC 2104), xored with each of its two pads: an HMAC is sha256(outer_pad || sha256(inner_pad || text)).
    inner_pad  bytea not null check (octet_length(inner_pad) = 64),
    outer_pad  bytea not null check (octet_length(outer_pad) = 64),
    -- From then on what is new is signed with it. What older keys have signed stays valid for as long as their rows are there.
    valid_from timestamptz not null
);

-- Adds a key. The relay reads the keys when it connects, and again when none of them fits a message that was committed since. A new
-- key waits before it signs anything all the same, as its use costs the relay a second at most; the first one is valid at once, also
-- for transactions that began before it was added.
create or replace function outbox.add_secret(purpose text, waits interval default '5 minutes') returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    -- 366 random bits.
    key bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
    inner_pad bytea := decode(repeat('36', 64), 'hex');
    outer_pad bytea := decode(repeat('5c', 64), 'hex');
begin
    for i in 0..31 loop
        inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
        outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
    end loop;
    insert into outbox.secret (purpose, inner_pad, outer_pad, valid_from)
    values (add_secret.purpose, inner_pad, outer_pad,
        case when exists (select from outbox.secret s where s.purpose = add_secret.purpose)
             then clock_timestamp() + waits else '-infinity' end);
end $$;

-- Messages that were written before this migration bear no proof, and some may not have been relayed yet. Their end is in one row.
create table if not exists outbox.unsigned_message (
    is_only           boolean primary key default true check (is_only),
    -- A message without a proof is an event if it was written before this LSN. Null: not known yet, and every one is.
    accepted_before   pg_lsn,
    -- Of the server whose log that is: in a database that was dumped and restored elsewhere it means nothing.
    system_identifier text,
    -- Transactions that were open when a relay first looked, by their virtual ids. A statement of theirs may still run the
    -- outbox.emit_message of before.
    waits_for         text[],
    since             timestamptz
);

-- Up to where messages without a proof are events; null while that is not known. The relay calls it until it is: first it notes which
-- transactions are open, and once none of them is left, or after an hour, the end of the log is the bound.
create or replace function outbox.settle_unsigned_messages(slot text) returns pg_lsn
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    system text := (select r.system_identifier from outbox.relay r where r.slot = slot);
    found outbox.unsigned_message;
begin
    select u.* into found from outbox.unsigned_message u;
    if found.accepted_before is not null then
        return case when found.system_identifier = system then found.accepted_before else '0/0' end;
    end if;
    -- A slot that was made by hand, which no relay has noted yet.
    if system is null then
        return null;
    end if;
    if found.since is null then
        update outbox.unsigned_message u set system_identifier = system, since = clock_timestamp(), waits_for = array(
            select l.virtualxid from pg_locks l join pg_stat_activity a on a.pid = l.pid
            where l.locktype = 'virtualxid' and l.granted and a.datname = current_database() and a.pid <> pg_backend_pid())
        where u.since is null;
    elsif found.system_identifier is distinct from system then
        return '0/0';
    elsif found.since < clock_timestamp() - interval '1 hour' or not exists (
        select from pg_locks l where l.locktype = 'virtualxid' and l.granted and l.virtualxid = any (found.waits_for))
    then
        update outbox.unsigned_message u set accepted_before = pg_current_wal_insert_lsn() where u.accepted_before is null;
    end if;
    return null;
end $$;

-- As in 0003_emit.sql, with a proof. It is the object's last member, so that it can be cut off and the rest compared byte for byte, and
-- so that a relay of an earlier version, which knows nothing of it, passes over it:
--   {"id": ..., "created_at": "...","proof":"<HMAC-SHA256 of all before the comma, 64 hexadecimal digits>"}
-- Reading the key and the two digests add some 12 us of CPU to the 31 us that a message of 200 bytes took (PostgreSQL 15.18).
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
    content pg_catalog.bytea;
    inner_pad pg_catalog.bytea;
    outer_pad pg_catalog.bytea;
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
    select s.inner_pad, s.outer_pad into inner_pad, outer_pad from outbox.secret s
    where s.purpose operator(pg_catalog.=) 'message' and s.valid_from operator(pg_catalog.<=) pg_catalog.now()
    order by s.valid_from desc limit 1;
    if inner_pad is null then
        raise exception using errcode = '55000', message = 'outbox.secret has no key for messages that is valid now',
            hint = 'Repeat a transaction that began before the migration. If that does not help, as the schema''s owner: '
                'select outbox.add_secret(''message'')';
    end if;
    content := pg_catalog.convert_to(pg_catalog.concat(
        '{"id":"', event_id,
        '","schema_name":', pg_catalog.to_json(schema_name),
        ',"schema_version":', pg_catalog.to_json(chosen),
        ',"topic":', coalesce(pg_catalog.to_json(topic), 'null'::pg_catalog.json),
        ',"key":', coalesce(pg_catalog.to_json(key), 'null'::pg_catalog.json),
        case when payload is not null then ',"payload":' end, payload,
        ',"headers":', coalesce(headers, 'null'::pg_catalog.jsonb),
        ',"created_at":', pg_catalog.to_json(pg_catalog.now())), 'UTF8');
    -- A gigabyte is what Postgres can send, and what it can't send stops the slot for good. This is room for what outbox.event takes.
    if pg_catalog.octet_length(content) operator(pg_catalog.>) 80000000 then
        raise exception using errcode = '54000',
            message = pg_catalog.format('an event of %s bytes is too large for a message', pg_catalog.octet_length(content)),
            hint = 'The limit is 80,000,000 bytes, payload and headers together.';
    end if;
    perform pg_catalog.pg_logical_emit_message(true, 'outbox', content operator(pg_catalog.||)
        pg_catalog.convert_to(pg_catalog.concat(',"proof":"', pg_catalog.encode(pg_catalog.sha256(outer_pad operator(pg_catalog.||)
            pg_catalog.sha256(inner_pad operator(pg_catalog.||) content)), 'hex'), '"}'), 'UTF8'));
    return event_id;
end $$;

-- The relay notes here that it has stored a position with a proof: from then on one without is somebody else's.
alter table outbox.relay add column if not exists position_signed boolean not null default false;
-- The last position noted that bears a proof. A relay of an earlier version notes in "position" alone: if that is past this one, such a
-- relay wrote last, and its position needs no proof.
alter table outbox.relay add column if not exists signed_position pg_lsn;

revoke all on function outbox.add_secret, outbox.settle_unsigned_messages from public;

do $$
declare
    granted record;
begin
    if not exists (select from outbox.secret where purpose = 'message') then
        perform outbox.add_secret('message');
    end if;
    if not exists (select from outbox.secret where purpose = 'position') then
        perform outbox.add_secret('position');
    end if;
    -- Where there is no slot that a relay could read, none has to bring messages from before. One may have been made by hand.
    insert into outbox.unsigned_message (accepted_before, system_identifier)
    select case when not exists (select from outbox.relay)
                 and not exists (select from pg_catalog.pg_replication_slots s
                                 where s.plugin = 'pgoutput' and s.database = pg_catalog.current_database())
                then '0/0'::pg_catalog.pg_lsn end, null
    where not exists (select from outbox.unsigned_message);
    -- Default privileges may have given the new tables to others.
    for granted in
        select distinct c.oid::regclass as name, a.grantee
        from pg_catalog.pg_class c cross join pg_catalog.aclexplode(c.relacl) a
        where c.oid in ('outbox.secret'::regclass, 'outbox.unsigned_message'::regclass) and a.grantee <> c.relowner
    loop
        execute pg_catalog.format('revoke all on %s from %s', granted.name,
            case when granted.grantee = 0 then 'public' else granted.grantee::regrole::text end);
    end loop;
    -- Whoever relays now goes on relaying. And outbox.emit_message runs with its owner's rights, who may be another than this table's.
    for granted in
        select distinct a.grantee::regrole as name
        from pg_catalog.pg_class c cross join pg_catalog.aclexplode(c.relacl) a
        where c.oid = 'outbox.relay'::regclass and a.privilege_type = 'UPDATE' and a.grantee <> 0
        union
        select p.proowner::regrole from pg_catalog.pg_proc p
        where p.pronamespace = 'outbox'::regnamespace and p.proname = 'emit_message'
    loop
        execute pg_catalog.format('grant select on outbox.secret to %s', granted.name);
        execute pg_catalog.format('grant execute on function outbox.settle_unsigned_messages to %s', granted.name);
    end loop;
end $$;
