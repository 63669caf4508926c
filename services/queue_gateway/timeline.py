"""A task's life as bars on one axis: where its time went, waits included. Pure."""

from dataclasses import dataclass
from datetime import datetime

from queue_gateway.tasks import TaskDetail


@dataclass(frozen=True, slots=True)
class Bar:
    """`left` and `width` are percent of the whole; `kind` is a word for the style."""

    label: str
    kind: str
    left: float
    width: float
    seconds: float


def timeline(task: TaskDetail, now: datetime) -> list[Bar]:
    """Waits and attempts in order of time."""
    spans: list[tuple[str, str, datetime, datetime]] = []
    reached = task.created_at
    for attempt in task.attempts:
        begin = max(attempt.started_at or attempt.ended_at, reached)
        spans.append(("waiting", "waiting", reached, begin))
        end = max(attempt.ended_at, begin)
        spans.append((f"attempt {attempt.attempt}: {attempt.outcome}", "failed", begin, end))
        reached = end
    ended = task.completed_at or now
    # Of a task that failed, the last attempt is among those above.
    if task.started_at is not None and task.started_at >= reached and task.status != "failed":
        spans.append(("waiting", "waiting", reached, task.started_at))
        last = f"attempt {task.attempt}: {task.status}"
        spans.append((last, str(task.status), task.started_at, ended))
    elif not task.final:
        spans.append(("waiting", "waiting", reached, ended))
    return _bars(spans)


def _bars(spans: list[tuple[str, str, datetime, datetime]]) -> list[Bar]:
    shown = [span for span in spans if span[3] > span[2]]
    if not shown:
        return []
    begin = shown[0][2]
    whole = (shown[-1][3] - begin).total_seconds()
    return [
        Bar(
            label,
            kind,
            100 * (left - begin).total_seconds() / whole,
            100 * (right - left).total_seconds() / whole,
            (right - left).total_seconds(),
        )
        for label, kind, left, right in shown
    ]
