"""One call that gives a process its tracing and its metrics, and one that ends them in time.

`configure` is called once in a service's `__main__`, after `configure_logging`. Everything else
uses OpenTelemetry's API and `reveille.tracing`, and works the same, at next to no cost, where
tracing is not configured.
"""

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import version

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reveille import semconv
from reveille.metrics import Metrics
from reveille.span_export import SWITCH, BackfillIds, QuietExporter, TaskSampler, otlp_exporter

METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Ended spans that wait for the collector. At most this many are in memory; older ones are dropped.
QUEUE_MAX = 8192
BATCH_MAX = 512
# A process that is killed loses the spans of this last moment.
EXPORT_INTERVAL_SECONDS = 1.0
EXPORT_TIMEOUT_SECONDS = 5.0
# Bounds a span: an attribute may carry a model's answer or an exception's stack.
ATTRIBUTE_CHARACTERS_MAX = 4096
ATTRIBUTES_MAX = 64

_OTEL_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Telemetry:
    """A process's metrics and, where a collector is configured, its span pipeline."""

    def __init__(
        self, resource: Resource, *, exporter: QuietExporter | None, sample_ratio: float
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_Target(resource))
        self.metrics = Metrics()
        self._registry.register(self.metrics)

        SWITCH.look()
        self._exporter = exporter
        self._tracers: TracerProvider | None = None
        if exporter is not None:
            sampler = TaskSampler(sample_ratio)
            self._tracers = _tracer_provider(resource, exporter, sampler)
            SWITCH.install()
            SWITCH.provider, SWITCH.sampler = self._tracers, sampler

    @property
    def tracing(self) -> bool:
        """Whether spans are recorded."""
        return self._tracers is not None

    def metrics_text(self) -> bytes:
        """The answer to GET /metrics; its content type is METRICS_CONTENT_TYPE."""
        return generate_latest(self._registry)

    async def flush(self, timeout_seconds: float = EXPORT_TIMEOUT_SECONDS) -> bool:
        """Send what has ended so far; False when the collector did not take it in time."""
        tracers = self._tracers
        if tracers is None:
            return True
        return await asyncio.to_thread(_within, timeout_seconds, tracers.force_flush)

    def shutdown(self, timeout_seconds: float = EXPORT_TIMEOUT_SECONDS) -> bool:
        """Send what is left and stop; False when spans had to be dropped. May be called twice.

        Blocks for at most the time given: in a running event loop use `aclose`.
        """
        tracers, self._tracers = self._tracers, None
        if tracers is None or self._exporter is None:
            return True
        if SWITCH.provider is tracers:
            SWITCH.provider = SWITCH.sampler = None
        if _within(timeout_seconds, tracers.shutdown):
            return True
        self._exporter.shutdown()  # wakes an export that waits between two tries
        return False

    async def aclose(self, timeout_seconds: float = EXPORT_TIMEOUT_SECONDS) -> bool:
        """`shutdown` without blocking the event loop (the collector may live in it)."""
        return await asyncio.to_thread(self.shutdown, timeout_seconds)


class _Target(Collector):
    """`target_info`: whose metrics these are, in the words of its traces."""

    def __init__(self, resource: Resource) -> None:
        self._labels = {
            name.replace(".", "_"): str(value) for name, value in resource.attributes.items()
        }

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily("target_info", "Target metadata")
        family.add_sample("target_info", self._labels, 1)
        yield family


def configure(
    service_name: str,
    *,
    otlp_endpoint: str | None = None,
    sample_ratio: float = 1.0,
    instance_id: str | None = None,
) -> Telemetry:
    """Set up this process's telemetry.

    `otlp_endpoint` is a collector's base URL (http/protobuf, port 4318 by custom); without it the
    standard OTEL_EXPORTER_OTLP_* variables count, and without those nothing is recorded.
    `instance_id` tells apart processes of one service; the server id is a good one.
    Raises ValueError for a ratio outside 0..1.
    """
    exporter = None
    if otlp_endpoint or any(os.environ.get(name) for name in _OTEL_ENDPOINTS):
        exporter = otlp_exporter(otlp_endpoint, timeout_seconds=EXPORT_TIMEOUT_SECONDS)
    resource = Resource.create(
        {
            semconv.SERVICE_NAME: service_name,
            semconv.SERVICE_NAMESPACE: "reveille",
            semconv.SERVICE_VERSION: version("reveille"),
            semconv.SERVICE_INSTANCE_ID: instance_id or f"{socket.gethostname()}-{os.getpid()}",
        }
    )
    return Telemetry(resource, exporter=exporter, sample_ratio=sample_ratio)


def _tracer_provider(
    resource: Resource, exporter: QuietExporter, sampler: TaskSampler
) -> TracerProvider:
    provider = TracerProvider(
        sampler=sampler,
        resource=resource,
        shutdown_on_exit=False,  # Telemetry.shutdown does it, within a time
        id_generator=BackfillIds(),
        span_limits=SpanLimits(
            max_span_attributes=ATTRIBUTES_MAX, max_attribute_length=ATTRIBUTE_CHARACTERS_MAX
        ),
    )
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUE_MAX,
            schedule_delay_millis=EXPORT_INTERVAL_SECONDS * 1000,
            max_export_batch_size=BATCH_MAX,
        )
    )
    return provider


def _within(timeout_seconds: float, work: Callable[[], object]) -> bool:
    """Do blocking work in a thread; False when it is not done in time (it goes on, unwatched)."""
    thread = threading.Thread(target=work, name="telemetry", daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return not thread.is_alive()
