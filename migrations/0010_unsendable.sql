-- Rows that Postgres can't send, and a bound that keeps a writer from making one.

-- The transaction at which the stream stands still, and Postgres' own error: the relay writes both, and `walpost slot skip` clears them.
alter table outbox.relay
    add column if not exists unsendable_lsn   pg_lsn,
    add column if not exists unsendable_error text;

-- Whether a row can be sent: Postgres builds the message of a row in at most 1 GB, and jsonb can grow when it is written as text (1e131000
-- takes 10 bytes in a row and 131,001 characters in a message). A row that can't be sent stops the slot for good. The text of headers is
-- made here to be measured: one that is too large to be made fails in the writer's transaction.
--
-- A payload that is stored compressed is at most 273 times as large, so that up to 2 MiB need not be expanded to be measured.
create or replace function outbox.can_be_sent(
    schema_name text, schema_version text, topic text, key text, payload json, headers jsonb
) returns boolean language plpgsql immutable as $$
begin
    return (headers is null or pg_catalog.octet_length(headers::pg_catalog.text) operator(pg_catalog.<=) 65536)
        and (payload is null or pg_catalog.pg_column_size(payload) operator(pg_catalog.<=) 2097152
            or pg_catalog.octet_length(payload::pg_catalog.text) operator(pg_catalog.<=) 67108864)
        and pg_catalog.octet_length(schema_name) operator(pg_catalog.+) pg_catalog.octet_length(schema_version)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(topic), 0)
            operator(pg_catalog.+) coalesce(pg_catalog.octet_length(key), 0) operator(pg_catalog.<=) 1048576;
end $$;

-- One check with one call: Postgres reads a check anew for each statement, so that one of several terms costs more than the call. Not
-- valid: rows that are there are not read, as the root would be locked meanwhile.
do $$
begin
    if not exists (select from pg_catalog.pg_constraint
                   where conrelid = 'outbox.event'::regclass and conname = 'headers_to_64_kb_payload_to_64_mb_names_to_1_mb') then
        alter table outbox.event add constraint headers_to_64_kb_payload_to_64_mb_names_to_1_mb
            check (outbox.can_be_sent(schema_name, schema_version, topic, key, payload, headers)) not valid;
    end if;
end $$;
