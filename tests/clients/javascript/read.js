// Reads records with kafkajs, and CloudEvents with the CloudEvents SDK for JavaScript.

const { Kafka, logLevel } = require("kafkajs");
const { Kafka: Binding } = require("cloudevents");

const PATIENCE_MILLIS = 60000;
const ATTRIBUTES = ["id", "source", "type", "time", "dataschema", "datacontenttype", "specversion", "subject", "data",
    "data_base64", "datacontentencoding", "schemaurl"];

const text = (value) => (value === null || value === undefined ? null : Buffer.from(value).toString("hex"));

function parsed(argument) {
    const colon = argument.indexOf(":");
    return { count: Number(argument.slice(0, colon)), topics: argument.slice(colon + 1).split(",").filter(Boolean) };
}

async function read(kafka, group, { count, topics }, take) {
    if (topics.length === 0) {
        return;
    }
    // Only committed records, the default of kafkajs.
    const consumer = kafka.consumer({ groupId: group, retry: { retries: 0 }, maxWaitTimeInMs: 100 });
    await consumer.connect();
    await consumer.subscribe({ topics, fromBeginning: true });
    await new Promise((resolve, reject) => {
        const deadline = setTimeout(() => reject(new Error(`${count} records of ${topics} did not come`)), PATIENCE_MILLIS);
        consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
        consumer.run({
            autoCommit: false,
            eachMessage: async ({ topic, message }) => {
                try {
                    take(topic, message);
                } catch (error) {
                    reject(error);
                }
                count -= 1;
                if (count === 0) {
                    clearTimeout(deadline);
                    resolve();
                }
            },
        }).catch(reject);
    });
    // Not awaited: a fetch may take as long as the broker likes.
}

function event(topic, message) {
    // The SDK rejects a null value; a tombstone is detected by its record.
    if (message.value === null) {
        console.log(JSON.stringify({ topic, tombstone: true, id: message.headers.ce_id.toString() }));
        return;
    }
    const headers = {};
    for (const [name, value] of Object.entries(message.headers)) {
        headers[name] = value === null ? undefined : value.toString();
    }
    const received = Binding.toEvent({ ...message, headers, key: message.key === null ? undefined : message.key.toString() });
    // toEvent does not validate its result.
    received.validate();
    const extensions = Object.entries(received).filter(([name, value]) => !ATTRIBUTES.includes(name) && value !== undefined);
    const { id, source, type, time, dataschema, datacontenttype, data } = received;
    const bytes = data === undefined || Buffer.isBuffer(data) ? data : JSON.stringify(data);
    console.log(JSON.stringify({
        topic, id, source, type, time, dataschema: dataschema ?? null, datacontenttype: datacontenttype ?? null,
        extensions: Object.fromEntries(extensions), data: text(bytes),
    }));
}

function other(topic, { key, value, headers }) {
    const named = Object.entries(headers ?? {}).map(([name, value]) => [name, text(value)]);
    console.log(JSON.stringify({ topic, key: text(key), value: text(value), headers: Object.fromEntries(named) }));
}

async function main() {
    const [bootstrap, events, others] = process.argv.slice(2);
    const kafka = new Kafka({ brokers: bootstrap.split(","), logLevel: logLevel.NOTHING, retry: { retries: 0 } });
    const group = `walpost-clients-javascript-${process.pid}-${Date.now()}`;
    await read(kafka, `${group}-events`, parsed(events), event);
    await read(kafka, `${group}-others`, parsed(others), other);
    // Consumers are still running, and output may be pending.
    process.stdout.write("", () => process.exit(0));
}

main().catch((error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exit(1);
});
