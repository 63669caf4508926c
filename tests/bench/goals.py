"""What is wanted, as ratios within one run."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.results import RunResult

Value = Callable[[RunResult], float | None]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """`value` of a run is to be at least, or at most, `limit`; None: not measured in this run."""

    says: str
    value: Value
    limit: float
    at_most: bool = False
    suffix: str = ""

    @property
    def wanted(self) -> str:
        """In words."""
        return f"{'≤' if self.at_most else '≥'} {self.limit:g}{self.suffix}"

    def holds(self, value: float) -> bool:
        """Whether it is reached."""
        return value <= self.limit if self.at_most else value >= self.limit


def _ratio(scenario: str, case: str, other: str, measure: str) -> Value:
    def value(run: RunResult) -> float | None:
        ours, theirs = run.median(scenario, case, measure), run.median(scenario, other, measure)
        return ours / theirs if ours is not None and theirs else None

    return value


def _over_best(scenario: str, case: str, measure: str, but: tuple[str, ...]) -> Value:
    """Against the best of the other queues; `but` are beginnings of names that do not count."""

    def value(run: RunResult) -> float | None:
        found = next((s for s in run.scenarios if s.name == scenario), None)
        ours = run.median(scenario, case, measure)
        if found is None or ours is None:
            return None
        peers = [
            middle
            for name, result in found.cases.items()
            if not name.startswith(but) and (middle := result.median(measure)) is not None
        ]
        if not peers:
            return None
        return ours / (max(peers) if found.better == "more" else min(peers))

    return value


def _plain(scenario: str, case: str, measure: str) -> Value:
    return lambda run: run.median(scenario, case, measure)


def _share(value: float | None, of: int) -> float | None:
    return None if value is None else value / of


WHOLE = "reveille, five services"
OURS = ("reveille", "bare", "notify-per-insert")
GOALS = (
    *(
        Goal(
            says=f"enqueue, {writers} writers, worker {workers}: of bare INSERT without trigger",
            value=_ratio(
                f"enqueue-{workers}",
                f"reveille, {writers} writers",
                f"bare, {writers} writers",
                "per second",
            ),
            limit=0.85,
            suffix=" ×",
        )
        for workers in ("idle", "busy")
        for writers in (32, 128)
    ),
    *(
        Goal(
            says=f"enqueue, {writers} writers, flushes of 1 ms: of {what}",
            value=_ratio(
                "enqueue-slow-disk",
                f"reveille, {writers} writers",
                f"{other}, {writers} writers",
                "per second",
            ),
            limit=limit,
            suffix=" ×",
        )
        for other, what, limit in (
            ("bare", "bare INSERT without trigger", 0.85),
            ("notify-per-insert", "a trigger with a NOTIFY per INSERT", 8),
        )
        for writers in (32, 128)
    ),
    Goal(
        says="enqueue, 32 writers: of the best other queue",
        value=_over_best("enqueue-peers", "reveille", "per second", OURS),
        limit=3,
        suffix=" ×",
    ),
    Goal(
        says="wake-up, idle worker, p50: of a bare LISTEN loop",
        value=_ratio("wake-up", "reveille", "notify-per-insert", "p50"),
        limit=1.3,
        at_most=True,
        suffix=" ×",
    ),
    Goal(
        says="wake-up, idle worker, p50: of the best other queue",
        value=_over_best("wake-up", "reveille", "p50", OURS),
        limit=1,
        at_most=True,
        suffix=" ×",
    ),
    Goal(
        says="wake-up in bursts of 20 writers, p99",
        value=_plain("wake-up-bursts", "reveille", "p99"),
        limit=15,
        at_most=True,
        suffix=" ms",
    ),
    Goal(
        says="the longest of 100,000 wake-ups in bursts",
        value=_plain("wake-up-longest", "reveille", "longest"),
        limit=50,
        at_most=True,
        suffix=" ms",
    ),
    Goal(
        says="drain, one process, 10 slots: of hand-written SQL",
        value=_ratio("drain-1", "reveille, 10 slots", "bare, 10 at a time", "per second"),
        limit=0.8,
        suffix=" ×",
    ),
    Goal(
        says="drain, one process, best setting: of the best other queue",
        value=_over_best("drain-1", "reveille, 256 slots", "per second", OURS),
        limit=1,
        suffix=" ×",
    ),
    Goal(
        says="the GPU is busy over a backlog of calls of 1 s, 1 slot",
        value=_plain("gpu", "1 slot", "busy %"),
        limit=99,
        suffix=" %",
    ),
    Goal(
        says="gap between two calls, 1 slot",
        value=_plain("gpu", "1 slot", "gap ms"),
        limit=5,
        at_most=True,
        suffix=" ms",
    ),
    *(
        Goal(
            says=f"the GPU is busy over a backlog of 200 decks, calls of 1 s, {slots}",
            value=_plain("decks", slots, "GPU busy %"),
            limit=99,
            suffix=" %",
        )
        for slots in ("1 slot", "2 slots", "4 slots", "8 slots")
    ),
    Goal(
        says="metrics: processor time of a task that does nothing, of one without",
        value=_ratio("seeing", "metrics", "nothing", "CPU µs per task"),
        limit=1.05,
        at_most=True,
        suffix=" ×",
    ),
    Goal(
        says="metrics, logs and traces: tasks/s with ten slots full of calls of 50 ms, of those without",
        value=_ratio(
            "seeing",
            "calls of 50 ms: metrics, logs, traces",
            "calls of 50 ms: nothing",
            "tasks/s",
        ),
        limit=0.95,
        suffix=" ×",
    ),
    Goal(
        says="idle worker, transactions a minute",
        value=_plain("idle", "a minute of nothing", "reveille"),
        limit=12,
        at_most=True,
    ),
    Goal(
        says="idle, all five services: transactions a minute and process",
        value=lambda run: _share(run.median("idle", "a minute of nothing", WHOLE), 5),
        limit=12,
        at_most=True,
    ),
    Goal(
        says="a task with a million rows of history: of one with a hundred",
        value=_ratio(
            "growth", "1,000,000 rows of history", "100 rows of history", "claimed and ended"
        ),
        limit=1.5,
        at_most=True,
        suffix=" ×",
    ),
    Goal(
        says="claim at 1M queued: of the claim at 1k",
        value=_ratio("claim", "1M queued", "1k queued", "p50"),
        limit=2,
        at_most=True,
        suffix=" ×",
    ),
    Goal(
        says="claim at 100k queued with 300k scheduled: of the claim at 1k",
        value=_ratio("claim", "100k queued, 300k scheduled", "1k queued", "p50"),
        limit=2,
        at_most=True,
        suffix=" ×",
    ),
)
