package segstream.bench;

import java.io.BufferedReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Writes a log to a topic before the jobs start, keyed by user, with the events' times.
 *
 * <p>Arguments: bootstrap servers, topic, file of one event a line.
 */
public final class LoadLog {
    private LoadLog() {}

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.setProperty("bootstrap.servers", arguments[0]);
        settings.setProperty("linger.ms", "20");
        settings.setProperty("batch.size", "131072");
        Event.Schema schema = new Event.Schema();
        schema.open(null);
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (BufferedReader log = Files.newBufferedReader(Path.of(arguments[2]));
                KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(
                        settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (String line = log.readLine(); line != null; line = log.readLine()) {
                byte[] value = line.getBytes(StandardCharsets.UTF_8);
                Event event = schema.deserialize(value);
                byte[] key = event.userId.getBytes(StandardCharsets.UTF_8);
                producer.send(
                        new ProducerRecord<>(arguments[1], null, event.atMs, key, value),
                        (sent, error) -> failure.compareAndSet(null, error));
            }
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }
}
