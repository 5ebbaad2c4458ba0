"""The lookup's metrics, all of them, named by the Prometheus conventions."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class LookupMetrics:
    """One set of metrics with a registry of its own, so that several apps can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lookups = Counter(
            "segstream_lookups_total",
            "Users looked up, by where the answer came from.",
            ["source"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "segstream_lookup_seconds",
            "Time to answer one lookup request.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
            registry=self.registry,
        )
        for source in ("cache", "store", "stale", "none"):
            self.lookups.labels(source)
