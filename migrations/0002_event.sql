-- The outbox table: one row an event, inserted in the transaction whose outcome it tells.
--
-- Its cost is paid by business transactions, so it has no index and no primary key: the relay reads the write-ahead log, not
-- the table, and what a person looks for is found by day. An index on id would add 19 percent to the CPU of an insert and 21
-- percent to its write-ahead log. That ids are unique rests on their 122 random bits.
--
-- It has no check of schema_name and schema_version either: outbox.emit does that. A plain INSERT or COPY that names an unregistered
-- version commits, and its event becomes a dead letter with the code unknown_schema. Every way to refuse it costs more than the
-- whole of outbox.emit (which adds 19 to 27 percent): a foreign key 50 percent, and each transaction would lock and write the
-- schema version's row, and dropping a partition would lock out all emits; a trigger for each row 59 percent; one for each
-- statement 63 percent, and a COPY would keep a second copy of its rows until it ends.
--
-- Figures: 0003_emit.sql says how they were taken.

create table if not exists outbox.event (
    -- Random, not ordered by time: nothing here is sorted by it.
    id             uuid not null default gen_random_uuid(),
    schema_name    text not null,
    schema_version text not null,
    -- Where this event goes; null: to the topic of its schema version.
    topic          text,
    -- The record's key: events of one key stay in order. Null: no key, no order.
    key            text,
    -- json, not jsonb: its bytes reach Kafka as they were written, and decoding it from the log costs half.
    -- SQL's null is a tombstone, JSON's null ('null') a value of four bytes.
    payload        json,
    -- An object whose members become headers of the record, such as {"traceparent": "00-..."}.
    headers        jsonb,
    -- When the transaction began, on the database's clock; also what partitions go by.
    created_at     timestamptz not null default now()
) partition by range (created_at);

-- A day without a partition of its own never refuses a business transaction.
create table if not exists outbox.event_default partition of outbox.event default;

-- Insert only: deleting or moving old rows is never news. Through the root, so that all partitions are one stream.
do $$
begin
    if not exists (select from pg_catalog.pg_publication where pubname = 'outbox') then
        create publication outbox for table outbox.event with (publish = 'insert', publish_via_partition_root = true);
    end if;
end $$;
