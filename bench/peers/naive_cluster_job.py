"""The naive PyFlink job between Kafka topics: one rule, exactly once.

Submitted by `flink run -py` with the bootstrap servers, the topic of events, the topic of changes
and the consumer group. Event time is the records' own timestamp, so that the connector keeps a
watermark a partition: a Python assigner behind the source would mix the partitions of a subtask.
"""

import sys
from functools import partial

from pyflink.common import Duration, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
)

from bench.naive_job import DISORDER_MINUTES, FUEL_TYPE, parse, track

TRANSACTION_TIMEOUT_MS = "900000"


def main(bootstrap: str, events: str, changes: str, group: str) -> None:
    """Build the job and hand it to the cluster."""
    env = StreamExecutionEnvironment.get_execution_environment()
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(bootstrap)
        .set_topics(events)
        .set_group_id(group)
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(bootstrap)
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(changes)
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(group)
        .set_property("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS)
        .build()
    )
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_minutes(DISORDER_MINUTES)
    )
    lines = env.from_source(source, watermarks, "events")
    track(lines.flat_map(partial(parse, rules=FUEL_TYPE)), FUEL_TYPE).sink_to(sink)
    env.execute("naive")


if __name__ == "__main__":
    main(*sys.argv[1:])
