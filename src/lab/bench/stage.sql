-- What the benchmark creates in its database, in addition to walpost's migrations.

create schema bench;

-- A payload of 240 bytes: a constant part, and 64 digits that differ between events. Its spaces and the order of its keys match
-- jsonb, so that the payload has the same bytes in every type.
create function bench.payload(number bigint) returns text language sql immutable as $$
    select '{"note": "leave it with the neighbours on the left", "total": "44.80", "status": "placed", "currency": "EUR", "order_id": "'
        || lpad(number::text, 12, '0') || '", "reference": "' || md5(number::text) || md5((-number)::text) || '"}'
$$;

-- The same with a longer or shorter note, for payloads of any size from 200 bytes. Part of what is added repeats and part does
-- not, so that it compresses like text.
create function bench.payload(number bigint, bytes integer) returns text language sql immutable as $$
    select case when bytes = 240 then bench.payload(number) else replace(
        bench.payload(number),
        'leave it with the neighbours on the left',
        left((select string_agg('leave it with the neighbours on the left ' || md5(number || ' ' || n) || ' ', '')
              from generate_series(0, bytes / 74) n), bytes - 200)
    ) end
$$;

-- A row's headers; null if it has none.
create function bench.row_headers(number bigint, count integer) returns jsonb language sql immutable as $$
    select case when count > 0
        then (select jsonb_object_agg('header-' || n, md5(number || ' ' || n)) from generate_series(1, count) n) end
$$;

-- The schema that a contract for such payloads would have.
create function bench.payload_schema() returns json language sql immutable as $$
    select '{
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "additionalProperties": false,
        "required": ["order_id", "total", "currency", "status", "reference"],
        "properties": {
            "order_id": {"type": "string", "pattern": "^[0-9]{12}$"},
            "total": {"type": "string", "pattern": "^[0-9]+\\.[0-9]{2}$"},
            "currency": {"type": "string", "minLength": 3, "maxLength": 3},
            "status": {"enum": ["placed", "paid", "sent", "returned"]},
            "note": {"type": "string", "maxLength": 1000000},
            "reference": {"type": "string", "minLength": 64, "maxLength": 64}
        }
    }'::json
$$;

-- Outbox tables that differ from outbox.event only in the payload's type.
create table bench.event_jsonb (like outbox.event including defaults) partition by range (created_at);
alter table bench.event_jsonb alter column payload type jsonb using payload::text::jsonb;
create table bench.event_jsonb_default partition of bench.event_jsonb default;
create table bench.event_bytea (like outbox.event including defaults) partition by range (created_at);
alter table bench.event_bytea alter column payload type bytea using payload::text::bytea;
create table bench.event_bytea_default partition of bench.event_bytea default;
create publication bench_jsonb for table bench.event_jsonb with (publish = 'insert', publish_via_partition_root = true);
create publication bench_bytea for table bench.event_bytea with (publish = 'insert', publish_via_partition_root = true);

-- The baselines for an emit: a table like outbox.event that is neither partitioned nor published, and a business table.
create table bench.bare (like outbox.event including defaults);
create table bench.shop_order (
    id       bigint generated always as identity primary key,
    customer text not null,
    total    numeric(10, 2) not null,
    status   text not null default 'placed'
);
