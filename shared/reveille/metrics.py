"""Every metric of the house, in one catalogue, and the Prometheus text made from it.

Names follow OpenTelemetry; what Prometheus shows is in each comment, because dashboards and alert
rules use those. Instruments are made from a `Telemetry`'s own meter provider, so two of
them in one process (tests) do not mix their numbers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View

# Seconds. Waits here span a wake-up (1 ms) to a queue behind a cold start (an hour).
SECONDS_BUCKETS: tuple[float, ...] = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)

# All histograms in seconds use those buckets; ones in other units keep their own.
VIEWS = (
    View(
        instrument_type=HistogramInstrument,
        instrument_unit="s",
        aggregation=ExplicitBucketHistogramAggregation(SECONDS_BUCKETS),
    ),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge, and its labels (semconv.LABEL_*)."""

    value: float
    labels: Mapping[str, str]


class TableGauge:
    """A gauge with a row per combination of labels, replaced as a whole.

    A combination that is gone from the table is gone from /metrics: it does not keep its last
    value, and it does not become zero, which would look like a measurement.
    """

    def __init__(self, meter: Meter, name: str, *, unit: str, description: str) -> None:
        self._read: Callable[[], Iterable[Sample]] = tuple
        meter.create_observable_gauge(
            name, callbacks=[self._observe], unit=unit, description=description
        )

    def replace(self, samples: Iterable[Sample]) -> None:
        """Show these from now on."""
        fixed = tuple(samples)
        self._read = lambda: fixed

    def follow(self, read: Callable[[], Iterable[Sample]]) -> None:
        """Ask `read` at each scrape (in the scraping thread; it must not block)."""
        self._read = read

    def _observe(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sample.value, dict(sample.labels)) for sample in self._read()]


class Metrics:
    """The instruments. Labels are named in each comment; keep their values few."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, description: str) -> Histogram:
            return meter.create_histogram(name, unit="s", description=description)

        def table(name: str, unit: str, description: str) -> TableGauge:
            return TableGauge(meter, name, unit=unit, description=description)

        # reveille_task_wait_seconds{task_type}
        self.task_wait = seconds("reveille.task.wait", "Claimable to claimed.")
        # reveille_task_processing_seconds{task_type}
        self.task_processing = seconds("reveille.task.processing", "Claimed to settled.")
        # reveille_wakeup_seconds{pool}
        self.wakeup = seconds("reveille.wakeup", "Notification received to task claimed.")
        # reveille_container_start_seconds{pool,phase}
        self.container_start = seconds("reveille.container.start", "A phase of a cold start.")
        # reveille_model_call_seconds{model,outcome}
        self.model_call = seconds("reveille.model.call", "One call of the model server.")
        # reveille_http_request_seconds{method,route,status}
        self.http_request = seconds("reveille.http.request", "One request served.")

        # reveille_tasks_settled_total{task_type,outcome,reason}
        self.tasks_settled = meter.create_counter(
            "reveille.tasks.settled", description="Attempts by how they ended."
        )
        # reveille_lease_lost_total{pool}
        self.lease_lost = meter.create_counter(
            "reveille.lease.lost", description="Attempts dropped because the lease was gone."
        )
        # reveille_model_tokens_total{model,direction}
        self.model_tokens = meter.create_counter(
            "reveille.model.tokens", description="Tokens read (input) and written (output)."
        )

        # reveille_queue_depth{pool,task_type,priority}
        self.queue_depth = table("reveille.queue.depth", "", "Claimable tasks.")
        # reveille_queue_oldest_seconds{pool}
        self.queue_oldest = table("reveille.queue.oldest", "s", "Age of the oldest claimable task.")
        # reveille_servers{pool,status}
        self.servers = table("reveille.servers", "", "Registered servers.")
        # reveille_containers{pool,state}
        self.containers = table("reveille.containers", "", "Containers that cost money or will.")
        # reveille_cost_usd{pool}
        self.cost = table("reveille.cost.usd", "", "Spent in the current budget period.")
        # reveille_budget_used_ratio
        self.budget_used = table("reveille.budget.used.ratio", "", "Spent of the budget.")
        # reveille_listener_age_seconds
        self.listener_age = table("reveille.listener.age", "s", "Since LISTEN was last proven.")
