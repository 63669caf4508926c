"""A cold start that is over, told to those who look: as metrics, and as spans in the trace of the
task that waited for it.
"""

from collections.abc import Iterable

from autoscaler.ledger import Ledger, Row
from reveille.cold_start import ColdStart, trace_cold_start
from reveille.metrics import Metrics, show_as_zero
from reveille.semconv import LABEL_OUTCOME, LABEL_PHASE, LABEL_POOL
from reveille.telemetry import Telemetry
from reveille.trace_context import creation_of


def show_pools(metrics: Metrics, pools: Iterable[str]) -> None:
    """What is counted here begins at zero, by pool."""
    for pool in pools:
        show_as_zero(metrics.container_stops_failed, labels={LABEL_POOL: pool})
        for outcome in ("ready", "failed"):
            labels = {LABEL_POOL: pool, LABEL_OUTCOME: outcome}
            show_as_zero(metrics.container_starts, labels=labels)


async def report_start(
    telemetry: Telemetry, ledger: Ledger, row: Row, *, error: str | None = None
) -> None:
    """`row` is what moving the container to ready, or to failed (with `error`), returned."""
    start = ColdStart(
        container=row["name"],
        pool=row["pool"],
        provider=row["provider"],
        intended_at=row["intended_at"],
        creating_at=row["creating_at"],
        booting_at=row["booting_at"],
        gpu_at=row["gpu_at"],
        image_at=row["image_at"],
        registered_at=row["registered_at"],
        ended_at=row["ready_at"] or row["ended_at"],
        error=error,
    )
    telemetry.metrics.container_starts.add(
        1, {LABEL_POOL: start.pool, LABEL_OUTCOME: "failed" if error else "ready"}
    )
    if error is None:
        for phase, begun_at, ended_at in start.phases():
            telemetry.metrics.container_start.record(
                (ended_at - begun_at).total_seconds(),
                {LABEL_POOL: start.pool, LABEL_PHASE: phase},
            )
    if not telemetry.tracing or row["waited_for_task_id"] is None:
        return
    task = await ledger.waiting_task(row["waited_for_task_id"])
    if task is not None:
        trace_cold_start(start, creation_of(**task))
