package segstream.bench;

import com.dynatrace.hash4j.hashing.Hashing;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.util.Collector;

/** What the rule needs of an event; a Flink POJO. */
public class Event {
    public String userId;
    public long atMs;
    /** 64 bits that stand for the event's id. */
    public long idHash;
    public boolean view;
    /** Canonical, or null when the event has none. */
    public String fuel;

    /** Reads events from JSON. What is no event is left out. */
    public static class Schema implements DeserializationSchema<Event> {
        private static final Map<String, String> SYNONYMS =
                Map.of("ev", "electric", "gasoline", "petrol");

        private transient JsonFactory json;

        @Override
        public void open(InitializationContext context) {
            json = new JsonFactory();
        }

        @Override
        public void deserialize(byte[] message, Collector<Event> out) throws IOException {
            Event event = deserialize(message);
            if (event != null) {
                out.collect(event);
            }
        }

        @Override
        public Event deserialize(byte[] message) throws IOException {
            try (JsonParser parser = json.createParser(message)) {
                return parse(parser);
            } catch (JsonProcessingException notJson) {
                return null;
            }
        }

        private static Event parse(JsonParser parser) throws IOException {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                return null;
            }
            Event event = new Event();
            String id = null;
            for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
                JsonToken token = parser.nextToken();
                switch (name) {
                    case "event_id" -> id = parser.getValueAsString();
                    case "user_id" -> event.userId = parser.getValueAsString();
                    case "type" -> event.view = "view".equals(parser.getValueAsString());
                    case "occurred_at" -> event.atMs = parser.getValueAsLong();
                    case "attributes" -> event.fuel = parseFuel(parser, token);
                    default -> parser.skipChildren();
                }
            }
            if (id == null || event.userId == null || event.atMs <= 0) {
                return null;
            }
            event.idHash = Hashing.xxh3_64().hashCharsToLong(id);
            return event;
        }

        private static String parseFuel(JsonParser parser, JsonToken token) throws IOException {
            if (token != JsonToken.START_OBJECT) {
                return null;
            }
            String fuel = null;
            for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
                parser.nextToken();
                if (name.equals("fuel_type")) {
                    fuel = canonical(parser.getValueAsString());
                } else {
                    parser.skipChildren();
                }
            }
            return fuel;
        }

        private static String canonical(String word) {
            if (word == null) {
                return null;
            }
            String folded = word.strip().toLowerCase(Locale.ROOT);
            return folded.isEmpty() ? null : SYNONYMS.getOrDefault(folded, folded);
        }

        @Override
        public boolean isEndOfStream(Event next) {
            return false;
        }

        @Override
        public TypeInformation<Event> getProducedType() {
            return TypeInformation.of(Event.class);
        }
    }
}
