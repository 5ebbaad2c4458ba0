package segstream.bench;

import java.time.Duration;
import java.util.Properties;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * The peer: one share rule as a plain DataStream job, from Kafka to Kafka, exactly once.
 *
 * <p>Arguments: bootstrap servers, topic of events, topic of changes, consumer group. Checkpoints
 * and the state backend come from the command line of {@code flink run}.
 */
public final class ShareJob {
    private static final Duration DISORDER_MAX = Duration.ofMinutes(1);
    private static final String TRANSACTION_TIMEOUT_MS = "900000";

    private ShareJob() {}

    public static void main(String[] arguments) throws Exception {
        String bootstrap = arguments[0];
        String events = arguments[1];
        String changes = arguments[2];
        String group = arguments[3];

        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.getConfig().enableObjectReuse();

        KafkaSource<Event> source = KafkaSource.<Event>builder()
                .setBootstrapServers(bootstrap)
                .setTopics(events)
                .setGroupId(group)
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setValueOnlyDeserializer(new Event.Schema())
                .build();
        WatermarkStrategy<Event> watermarks = WatermarkStrategy
                .<Event>forBoundedOutOfOrderness(DISORDER_MAX)
                .withTimestampAssigner((event, kafkaTimestamp) -> event.atMs);

        Properties producer = new Properties();
        producer.setProperty("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        KafkaSink<Change> sink = KafkaSink.<Change>builder()
                .setBootstrapServers(bootstrap)
                .setRecordSerializer(new Change.Schema(changes))
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(group)
                .setKafkaProducerConfig(producer)
                .build();

        env.fromSource(source, watermarks, "events").uid("events")
                .keyBy(event -> event.userId)
                .process(new ShareRule()).name("share-rule").uid("share-rule")
                .sinkTo(sink).name("changes").uid("changes");
        env.execute("java-peer");
    }
}
