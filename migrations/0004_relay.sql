-- The relay's own state, one row a replication slot.
create table if not exists outbox.relay (
    slot              text primary key,
    -- Of the server that the slot was made on (pg_control_system): a slot of the same name elsewhere is another slot.
    system_identifier text not null,
    -- Events that were committed before the slot existed are published once, from the table. Until that is "done" no start may
    -- skip it, and outbox.maintain drops nothing.
    backfill          text not null check (backfill in ('pending', 'done')),
    -- The last position known to be published, where the relay stores one.
    position          pg_lsn,
    updated_at        timestamptz not null default now()
);
