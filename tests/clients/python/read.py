"""Reads records with confluent-kafka, and CloudEvents with the CloudEvents SDK for Python."""

import json
import sys
import time

from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

PATIENCE_SECONDS = 60


def text(value):
    return None if value is None else value.hex()


def parsed(argument):
    count, topics = argument.split(":", 1)
    return int(count), [topic for topic in topics.split(",") if topic]


def read(bootstrap, count, topics):
    if not topics:
        return
    consumer = Consumer({
        "bootstrap.servers": bootstrap,
        "group.id": "walpost-clients-python",
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
    })
    partitions = []
    for topic in topics:
        found = consumer.list_topics(topic, timeout=PATIENCE_SECONDS).topics[topic].partitions
        partitions += [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found]
    consumer.assign(partitions)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while count > 0:
        message = consumer.poll(1.0)
        if message is None:
            if time.monotonic() > deadline:
                sys.exit(f"{count} records of {topics} did not come")
        elif message.error():
            sys.exit(f"{message.error()}")
        else:
            count -= 1
            yield message
    consumer.close()


def event(message):
    # The SDK decodes every header, and does not support null.
    headers = {name: value for name, value in message.headers() or [] if value is not None}
    event = from_binary_event(KafkaMessage(headers=headers, key=message.key(), value=message.value()))
    data = event.get_data()
    if isinstance(data, str):
        data = data.encode()
    elif data is not None and not isinstance(data, bytes):
        data = json.dumps(data).encode()
    return {
        "topic": message.topic(),
        "id": event.get_id(),
        "source": event.get_source(),
        "type": event.get_type(),
        "time": event.get_time().isoformat(),
        "dataschema": event.get_dataschema(),
        "datacontenttype": event.get_datacontenttype(),
        "extensions": {
            name: value
            for name, value in event.get_attributes().items()
            if name not in ("id", "source", "type", "time", "dataschema", "datacontenttype", "specversion", "subject")
        },
        "data": text(data),
    }


def main():
    bootstrap, events, others = sys.argv[1:4]
    for message in read(bootstrap, *parsed(events)):
        print(json.dumps(event(message)))
    for message in read(bootstrap, *parsed(others)):
        headers = {name: text(value) for name, value in message.headers() or []}
        record = {"topic": message.topic(), "key": text(message.key()), "value": text(message.value()), "headers": headers}
        print(json.dumps(record))


main()
