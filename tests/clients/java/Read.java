// Reads records with Kafka's own client, and CloudEvents with the CloudEvents SDK for Java.

import io.cloudevents.CloudEvent;
import io.cloudevents.kafka.CloudEventDeserializer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Deserializer;

public class Read {
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    public static void main(String[] arguments) {
        read(arguments[0], arguments[1], CloudEventDeserializer.class, Read::event);
        read(arguments[0], arguments[2], ByteArrayDeserializer.class, Read::other);
    }

    private static <T> void read(
            String bootstrap, String wanted, Class<? extends Deserializer<T>> values, Consumer<ConsumerRecord<byte[], T>> take) {
        String[] parts = wanted.split(":", 2);
        int count = Integer.parseInt(parts[0]);
        if (parts[1].isEmpty()) {
            return;
        }
        Map<String, Object> properties = Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap,
                ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed",
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class,
                ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, values);
        try (KafkaConsumer<byte[], T> consumer = new KafkaConsumer<>(properties)) {
            List<TopicPartition> partitions = new ArrayList<>();
            for (String topic : parts[1].split(",")) {
                consumer.partitionsFor(topic).forEach(found -> partitions.add(new TopicPartition(topic, found.partition())));
            }
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (count > 0) {
                for (ConsumerRecord<byte[], T> record : consumer.poll(Duration.ofMillis(500))) {
                    take.accept(record);
                    count--;
                }
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(count + " records of " + Arrays.toString(parts) + " did not come");
                }
            }
        }
    }

    private static void event(ConsumerRecord<byte[], CloudEvent> record) {
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("topic", quoted(record.topic()));
        CloudEvent event = record.value();
        if (event == null) {
            // Kafka's client calls no deserializer for a null value.
            fields.put("tombstone", "true");
            fields.put("id", quoted(new String(record.headers().lastHeader("ce_id").value(), StandardCharsets.UTF_8)));
            print(fields);
            return;
        }
        Map<String, String> extensions = new LinkedHashMap<>();
        for (String name : event.getExtensionNames()) {
            extensions.put(name, quoted(event.getExtension(name)));
        }
        fields.put("id", quoted(event.getId()));
        fields.put("source", quoted(event.getSource()));
        fields.put("type", quoted(event.getType()));
        fields.put("time", quoted(event.getTime()));
        fields.put("dataschema", quoted(event.getDataSchema()));
        fields.put("datacontenttype", quoted(event.getDataContentType()));
        fields.put("extensions", object(extensions));
        fields.put("data", bytes(event.getData() == null ? null : event.getData().toBytes()));
        print(fields);
    }

    private static void other(ConsumerRecord<byte[], byte[]> record) {
        Map<String, String> headers = new LinkedHashMap<>();
        for (Header header : record.headers()) {
            headers.put(header.key(), bytes(header.value()));
        }
        Map<String, String> fields = new LinkedHashMap<>();
        fields.put("topic", quoted(record.topic()));
        fields.put("key", bytes(record.key()));
        fields.put("value", bytes(record.value()));
        fields.put("headers", object(headers));
        print(fields);
    }

    private static void print(Map<String, String> fields) {
        System.out.println(object(fields));
    }

    private static String object(Map<String, String> fields) {
        List<String> members = new ArrayList<>();
        fields.forEach((name, value) -> members.add(quoted(name) + ":" + value));
        return "{" + String.join(",", members) + "}";
    }

    private static String bytes(byte[] value) {
        return value == null ? "null" : quoted(HexFormat.of().formatHex(value));
    }

    private static String quoted(Object value) {
        if (value == null) {
            return "null";
        }
        StringBuilder text = new StringBuilder("\"");
        for (char c : value.toString().toCharArray()) {
            if (c >= ' ' && c < 127 && c != '"' && c != '\\') {
                text.append(c);
            } else {
                text.append(String.format("\\u%04x", (int) c));
            }
        }
        return text.append('"').toString();
    }
}
