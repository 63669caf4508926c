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
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Span:
    label: str
    kind: str
    begin: datetime
    end: datetime
    note: str = ""


def timeline(task: TaskDetail, now: datetime) -> list[Bar]:
    """Waits and attempts in order of time."""
    spans: list[_Span] = []
    reached = task.created_at
    # What it waited for before it could be claimed: its parents, or its time.
    if not task.attempts and task.claimable_at is not None and task.claimable_at > reached:
        label = "blocked by others" if task.dependencies else "not due yet"
        spans.append(_Span(label, "blocked", reached, task.claimable_at))
        reached = task.claimable_at
    for attempt in task.attempts:
        begin = max(attempt.started_at or attempt.ended_at, reached)
        spans.append(_Span("waiting", "waiting", reached, begin))
        end = max(attempt.ended_at, begin)
        note = attempt.reason or attempt.error or ""
        label = f"attempt {attempt.attempt}, {attempt.outcome}"
        spans.append(_Span(label, attempt.outcome, begin, end, note))
        reached = end
    ended = task.completed_at or now
    # Of a task that failed, the last attempt is among those above.
    if task.started_at is not None and task.started_at >= reached and task.status != "failed":
        spans.append(_Span("waiting", "waiting", reached, task.started_at))
        last = f"attempt {task.attempt}, {task.status}"
        spans.append(_Span(last, str(task.status), task.started_at, ended, task.locked_by or ""))
    elif not task.final:
        blocked = task.status == "blocked"
        spans.append(_Span("blocked" if blocked else "waiting", str(task.status), reached, ended))
    return _bars(spans)


def _bars(spans: list[_Span]) -> list[Bar]:
    shown = [span for span in spans if span.end > span.begin]
    if not shown:
        return []
    begin = shown[0].begin
    whole = (shown[-1].end - begin).total_seconds()
    return [
        Bar(
            span.label,
            span.kind,
            round(100 * (span.begin - begin).total_seconds() / whole, 3),
            round(100 * (span.end - span.begin).total_seconds() / whole, 3),
            (span.end - span.begin).total_seconds(),
            span.note,
        )
        for span in shown
    ]
