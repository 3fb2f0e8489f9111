-- Positions to go back to: which moment which place in the write-ahead log was, and the bookmarks.

-- One row a minute or so while [relay] rewind is on, of the relay that streams from the slot; pruned with the window.
create table if not exists outbox.moment (
    slot              text not null,
    -- Of the server whose log it is: in a database that was dumped and restored elsewhere these places mean nothing.
    system_identifier text not null,
    -- Where the log ended just before "at". Whatever commits at that time or later has its commit record here or behind: a
    -- transaction takes the time of its commit before it writes the record.
    lsn               pg_lsn not null,
    at                timestamptz not null,
    primary key (slot, lsn)
);

-- The positions themselves are held by the replication slots; what a slot can't tell stands here. A slot without a row is none of
-- walpost's bookmarks, whatever its name.
create table if not exists outbox.bookmark (
    -- The replication slot.
    slot       text primary key,
    -- The relay's slot, and the name that the bookmark was given.
    relay_slot text not null,
    name       text not null,
    -- As in outbox.moment, of the bookmark's own place, where it is known.
    at         timestamptz,
    created_at timestamptz not null default now(),
    unique (relay_slot, name)
);
