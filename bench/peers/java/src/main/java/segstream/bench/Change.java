package segstream.bench;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.kafka.clients.producer.ProducerRecord;

/** A user entered or left a segment, because of {@code matching} of {@code views}; a Flink POJO. */
public class Change {
    public String userId;
    public String segment;
    public boolean enter;
    public long atMs;
    public int matching;
    public int views;

    /** Writes changes as JSON, keyed by user. */
    public static class Schema implements KafkaRecordSerializationSchema<Change> {
        private final String topic;
        private transient JsonFactory json;

        public Schema(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
                Change change, KafkaSinkContext context, Long timestamp) {
            if (json == null) {
                json = new JsonFactory();
            }
            ByteArrayOutputStream value = new ByteArrayOutputStream(192);
            try (JsonGenerator out = json.createGenerator(value)) {
                out.writeStartObject();
                out.writeStringField("user_id", change.userId);
                out.writeStringField("segment", change.segment);
                out.writeStringField("change", change.enter ? "enter" : "leave");
                out.writeNumberField("at", change.atMs);
                out.writeNumberField(
                        "score", change.views == 0 ? 0.0 : (double) change.matching / change.views);
                out.writeNumberField("matching", change.matching);
                out.writeNumberField("views", change.views);
                out.writeEndObject();
            } catch (IOException impossible) {
                throw new UncheckedIOException(impossible);
            }
            byte[] key = change.userId.getBytes(StandardCharsets.UTF_8);
            return new ProducerRecord<>(topic, key, value.toByteArray());
        }
    }
}
