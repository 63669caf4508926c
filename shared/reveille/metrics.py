"""Every metric of the house, in one catalogue: what it is called, by what it is split, who has it.

Names follow OpenTelemetry, in the form that its rules give them in Prometheus; dashboards, rules and
docs/metrics.md spell them out. Each `Telemetry` has instruments of its own, so two of them in one
process (tests) do not mix their numbers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from reveille import semconv
from reveille.instruments import Counter, Histogram, Instrument, Labels, Sample, TableGauge

__all__ = ["Metrics", "Sample", "TableGauge"]

# Seconds. Waits here span a wake-up (1 ms) to a queue behind a cold start (an hour).
SECONDS_BUCKETS: tuple[float, ...] = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0),
)

# Tokens a second: a large model on a CPU (1) to a small one, batched, on a data-centre GPU.
RATE_BUCKETS: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

Kind = Literal["histogram", "counter", "gauge"]

# Who exports a metric.
WORKERS, AUTOSCALER, MONITOR, GATEWAY = (
    "workers",
    "autoscaler",
    "heartbeat-monitor",
    "queue-gateway",
)
EVERYBODY = "every service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One metric as Prometheus shows it; a histogram has _bucket, _sum and _count besides."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    by: str
    meaning: str


def show_as_zero(*counters: Counter, labels: Labels) -> None:
    """Counted from now on: a panel says "none", not "no data", and a first event is seen to have come."""
    for counter in counters:
        counter.add(0, labels)


class Metrics(Collector):
    """The instruments. Keep the values of labels few."""

    def __init__(self) -> None:
        make = _Maker()
        seconds, count, table = make.seconds, make.count, make.table
        pool, task_type, model = semconv.LABEL_POOL, semconv.LABEL_TASK_TYPE, semconv.LABEL_MODEL
        priority, outcome = semconv.LABEL_PRIORITY, semconv.LABEL_OUTCOME

        # Tasks
        self.task_wait = seconds("task.wait", WORKERS, "Claimable to claimed.", task_type)
        self.task_processing = seconds("task.processing", WORKERS, "Claimed to settled.", task_type)
        self.tasks_settled = count(
            "tasks.settled",
            WORKERS,
            "Attempts by how they ended: done, retry, reject, release, or dropped (lease gone).",
            *(task_type, outcome, semconv.LABEL_REASON),
        )
        self.tasks_recovered = count(
            "tasks.recovered",
            MONITOR,
            "Tasks taken from a lost or overdue server: queued again, or failed.",
            semconv.LABEL_STATUS,
        )
        self.queue_depth = table(
            "queue.depth", "", MONITOR, "Claimable tasks.", pool, task_type, priority
        )
        self.queue_oldest = table(
            "queue.oldest",
            "s",
            MONITOR,
            "Age of the oldest claimable task.",
            *(pool, task_type, priority),
        )

        # Wake-up and leases
        self.wakeup = seconds("wakeup", WORKERS, "Notification received to task claimed.", pool)
        self.wakeup_rescues = count(
            "wakeup.rescues",
            WORKERS,
            "Tasks that no notification told of and a heartbeat's look found.",
            pool,
        )
        self.lease_lost = count(
            "lease.lost", WORKERS, "Attempts dropped because the lease was gone.", pool
        )
        self.listener_age = table(
            "listener.age", "s", EVERYBODY, "Since the LISTEN connection last proved that it hears."
        )

        self.part_well = table(
            "part.well",
            "",
            MONITOR,
            "1 for a part that said lately that it is well: gateway, monitor, workers.",
            semconv.LABEL_PART,
        )

        # Servers, containers, money
        self.servers = table(
            "servers", "", MONITOR, "Registered servers.", pool, semconv.LABEL_STATUS
        )
        self.containers = table(
            "containers", "", MONITOR, "Containers that cost or will.", pool, semconv.LABEL_STATE
        )
        self.container_start = seconds(
            "container.start", AUTOSCALER, "A phase of a cold start.", pool, semconv.LABEL_PHASE
        )
        self.container_starts = count(
            "container.starts", AUTOSCALER, "Starts by outcome: ready or failed.", pool, outcome
        )
        self.container_stops_failed = count(
            "container.stops.failed",
            AUTOSCALER,
            "Stops that a provider refused or did not finish; each is tried again, and costs.",
            pool,
        )
        self.cost = table("cost.usd", "", AUTOSCALER, "Spent in this calendar month.", pool)
        self.budget_used = table("budget.used.ratio", "", AUTOSCALER, "Spent of the budget.")
        self.task_cost = table(
            "task.cost.usd",
            "",
            MONITOR,
            "Mean price of a completed task this month: its share of its container's busy time.",
            task_type,
        )

        # Models and GPUs
        self.model_call = seconds(
            "model.call", WORKERS, "One call of the model server.", model, outcome
        )
        self.model_tokens = count(
            "model.tokens",
            WORKERS,
            "Tokens read (input) and written (output).",
            *(model, semconv.LABEL_DIRECTION),
        )
        self.model_rate = make.rate(
            "model.output.tokens", WORKERS, "Tokens written a second, per call.", model
        )
        self.gpu_used = table(
            "gpu.used.ratio", "", WORKERS, "Time in which the GPU computed.", semconv.LABEL_GPU
        )
        self.gpu_memory_used = table(
            "gpu.memory.used", "By", WORKERS, "GPU memory in use.", semconv.LABEL_GPU
        )
        self.gpu_memory = table(
            "gpu.memory.total", "By", WORKERS, "GPU memory there is.", semconv.LABEL_GPU
        )

        # The database
        self.notify_used = table(
            "notify.queue.used.ratio",
            "",
            MONITOR,
            "Of Postgres's queue of notifications; a full one fails commits.",
        )
        self.table_dead = table(
            "table.dead.rows",
            "",
            MONITOR,
            "Rows that vacuum has yet to remove.",
            semconv.LABEL_TABLE,
        )
        self.table_live = table(
            "table.live.rows", "", MONITOR, "Rows, estimated.", semconv.LABEL_TABLE
        )
        self.table_size = table(
            "table.size", "By", MONITOR, "A table with its indexes and TOAST.", semconv.LABEL_TABLE
        )
        self.horizon_age = table(
            "horizon.age", "s", MONITOR, "Age of the oldest transaction that holds vacuum back."
        )
        self.horizon_transactions = table(
            "horizon.age.transactions",
            "",
            MONITOR,
            "How many transactions vacuum is behind, by who holds it back.",
            semconv.LABEL_HOLDER,
        )

        # HTTP
        self.http_request = seconds(
            "http.request",
            GATEWAY,
            "One request served.",
            *(semconv.LABEL_METHOD, semconv.LABEL_ROUTE, semconv.LABEL_STATUS),
        )
        self.catalogue = tuple(make.entries)

    def collect(self) -> Iterable[Metric]:
        """For Prometheus's registry, at each scrape."""
        for instrument in vars(self).values():
            if isinstance(instrument, Instrument) and (family := instrument.family()) is not None:
                yield family


class _Maker:
    """Makes instruments and notes each in the catalogue."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def seconds(self, name: str, by: str, meaning: str, *labels: str) -> Histogram:
        shown = self._note(f"{name}.seconds", "histogram", labels, by, meaning)
        return Histogram(shown, meaning, SECONDS_BUCKETS)

    def rate(self, name: str, by: str, meaning: str, *labels: str) -> Histogram:
        shown = self._note(f"{name}.per.second", "histogram", labels, by, meaning)
        return Histogram(shown, meaning, RATE_BUCKETS)

    def count(self, name: str, by: str, meaning: str, *labels: str) -> Counter:
        return Counter(self._note(f"{name}.total", "counter", labels, by, meaning), meaning)

    def table(self, name: str, unit: str, by: str, meaning: str, *labels: str) -> TableGauge:
        suffix = {"s": ".seconds", "By": ".bytes"}.get(unit, "")
        return TableGauge(self._note(f"{name}{suffix}", "gauge", labels, by, meaning), meaning)

    def _note(self, name: str, kind: Kind, labels: tuple[str, ...], by: str, meaning: str) -> str:
        shown = f"reveille_{name.replace('.', '_')}"
        self.entries.append(Entry(name=shown, kind=kind, labels=labels, by=by, meaning=meaning))
        return shown
