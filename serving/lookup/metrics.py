"""The lookup's metrics, all of them, named by the Prometheus conventions."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.lookup.watch import JobWatch


class LookupMetrics:
    """One set of metrics with a registry of its own, so that several apps can live in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        lookups = Counter(
            "segstream_lookups_total",
            "Users looked up, by where the answer came from.",
            ["source"],
            registry=self.registry,
        )
        self.from_cache = lookups.labels("cache")
        self.from_store = lookups.labels("store")
        self.stale = lookups.labels("stale")
        self.from_nowhere = lookups.labels("none")
        self.seconds = Histogram(
            "segstream_lookup_seconds",
            "Time to answer one lookup request.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
            registry=self.registry,
        )
        self._as_of = Gauge(
            "segstream_as_of_timestamp_seconds",
            "How far the job had come in event time, as answers say.",
            registry=self.registry,
        )
        self._progress_age = Gauge(
            "segstream_job_progress_age_seconds",
            "How long ago the job last reported its progress; infinite if it never did.",
            registry=self.registry,
        )

    def follow(self, watch: JobWatch) -> None:
        """Show from now on what is known of the job."""
        self._as_of.set_function(lambda: watch.fresh_tail.as_of / 1000)
        self._progress_age.set_function(lambda: watch.silent_seconds)
