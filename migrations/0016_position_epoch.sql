-- Positions in Kafka that were forgotten stay forgotten, and keys that positions are signed with can be replaced.
--
-- A position bears a proof that a relay of this database wrote it. Whoever can write to the topic can write a copy of one all the same. It
-- is told by the position noted here; but nothing is noted right after a position was forgotten, and then the copy of that very one would
-- bring it back. So each position bears an epoch too, and the command that has one forgotten renews it.

alter table outbox.relay
    -- Null: none was ever forgotten, and positions bear none.
    add column if not exists position_epoch uuid,
    -- The last position noted that is of the epoch. A relay of an earlier version notes in "position" alone: if that is past this one, such
    -- a relay wrote last, and its position bears no epoch.
    add column if not exists epoch_position pg_lsn,
    -- The key in outbox.secret that signed the last position noted. Older ones are not needed any more by this relay.
    add column if not exists position_key   bigint;
