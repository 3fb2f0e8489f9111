-- What the relay knows of its slot, so that a start can tell a slot that another hand has moved or made anew, and what may then
-- be missing from Kafka. Written by the relay about once a second while the slot moves.
alter table outbox.relay
    -- Of the server when it was last streamed from. A promoted standby is on another.
    add column if not exists timeline      integer,
    -- Nothing past this was confirmed to the slot: a slot that stands past it was moved by somebody else. The relay writes it
    -- before it confirms.
    add column if not exists confirm_limit pg_lsn,
    -- Every event of a transaction that ended before this LSN, and before this time, is in Kafka, and so is every event of a
    -- transaction whose id is less than this one. Ids are what rows bear (xmin); a transaction's are never less than the
    -- oldest id that ran when it began, those of its savepoints neither.
    add column if not exists published_lsn pg_lsn,
    add column if not exists published_at  timestamptz,
    add column if not exists published_xid xid8,
    -- Set by `walpost slot recreate`, while the backfill is pending: the relay publishes only rows of transactions from this id
    -- on, and marks them.
    add column if not exists recover_from  xid8;
