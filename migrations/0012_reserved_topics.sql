-- No schema version is registered for a topic that Kafka or walpost keeps for itself: the relay publishes no event there.
--
-- Kafka's own topics begin with two underscores. The others are walpost's: positions of exactly-once delivery, and which dead letters
-- were redriven. In a topic's name Kafka takes a dot and an underscore for the same when it looks for collisions, so that a topic
-- walpost_positions would keep walpost.positions from being created. What the configuration of a relay adds, its dead-letter topic and
-- the list of topics that it allows, is not known here: `walpost contract plan`, doctor and the relay go by it.
--
-- A trigger on insert, not a check constraint: a version that was registered before this can still be retired.
create or replace function outbox.refuse_reserved_topic() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = '22023',
        message = format('topic %s is reserved, so schema version %s/%s can''t be registered with it', new.topic, new.name,
                         new.version),
        detail = 'Reserved are names that begin with two underscores, walpost.positions and walpost.redriven.',
        hint = 'Register the version with another topic.';
end $$;

create or replace trigger refuse_reserved_topic before insert on outbox.schema_version
    for each row when (
        new.topic ~ '^[._]{2}.'
        or pg_catalog.translate(new.topic, '.', '_') in ('walpost_positions', 'walpost_redriven'))
    execute function outbox.refuse_reserved_topic();

revoke all on function outbox.refuse_reserved_topic from public;
