"""Spans of attempts that no process of ours lived through to the end, written from the rows.

Two kinds: those of external servers, which know nothing of traces, and those of workers that died.
A dead worker's children (`render page`, `chat`) have arrived at the collector below a parent that
never ended; the parent's id follows from the lease token, so it can be written after all, and the
trace stays in one piece.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any

from reveille import semconv
from reveille.task import Claim
from reveille.trace_context import creation_of, end_ns, to_ns
from reveille.tracing import AttemptTrace, start_process, write_history

# A worker writes `send` and `queued` when it begins, and exports every second: one that was heard of
# this long after its claim has done it. In doubt they are written again, under the same ids.
EXPORTED_SECONDS = 3.0
_FAILURES = frozenset({"lost", "retry", "failed"})
_FROM_ROW = frozenset(field.name for field in fields(Claim)) - {"processing_options", "depends_on"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A progress report, at the database's time."""

    at: datetime
    name: str
    status: str
    percentage: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedAttempt:
    """An attempt and how it ended. `written_before` says that its server wrote what came before."""

    claim: Claim
    pool: str
    server_id: str
    ended_at: datetime
    outcome: str
    reason: str | None = None
    error: str | None = None
    parents: Sequence[str] = ()
    steps: Sequence[Step] = ()
    written_before: bool = False


def ended_attempt_of(row: Mapping[str, Any]) -> EndedAttempt:
    """From a row of the monitor's sql/take_untraced.sql."""
    known = {name: value for name, value in row.items() if name in _FROM_ROW}
    steps = [_step_of(step) for step in row["steps"]]
    heard = [step.at for step in steps] + [at for at in [row["last_heartbeat"]] if at is not None]
    exported_at = row["started_at"] + timedelta(seconds=EXPORTED_SECONDS)
    return EndedAttempt(
        claim=Claim(**known, timeout_seconds=0),
        pool=row["pool"] or "",
        server_id=row["server_id"] or "",
        ended_at=row["ended_at"],
        outcome=row["outcome"],
        reason=row["reason"],
        error=row["error"],
        parents=row["parents"],
        steps=steps,
        written_before=row["by_worker"] and any(at > exported_at for at in heard),
    )


def write_ended_attempt(ended: EndedAttempt) -> None:
    """Write `process`, with its steps as events, and what came before it if nobody else has."""
    claim = ended.claim
    creation = creation_of(
        task_id=claim.task_id,
        created_at=claim.created_at,
        traceparent=claim.traceparent,
        tracestate=claim.tracestate,
    )
    span = start_process(
        claim,
        creation,
        server_id=ended.server_id,
        pool=ended.pool,
        parents=ended.parents,
        start_ns=to_ns(claim.started_at),
    )
    if not span.is_recording():
        return
    if not ended.written_before:
        write_history(claim, creation)
    span.set_attribute(semconv.REVEILLE_BACKFILLED, True)
    span.set_attribute(semconv.REVEILLE_OUTCOME, ended.outcome)
    if ended.reason is not None:
        span.set_attribute(semconv.REVEILLE_REASON, ended.reason)
    for step in ended.steps:
        about: dict[str, str | int] = {semconv.REVEILLE_STEP_STATUS: step.status}
        if step.percentage is not None:
            about[semconv.REVEILLE_PROGRESS_PERCENTAGE] = step.percentage
        span.add_event(step.name, about, timestamp=to_ns(step.at))
    if ended.outcome in _FAILURES:
        AttemptTrace(span).failed(ended.reason or ended.outcome, ended.error or "")
    span.end(end_ns(to_ns(claim.started_at), ended.ended_at))


def _step_of(step: Mapping[str, Any]) -> Step:
    return Step(
        at=datetime.fromtimestamp(step["at"], UTC),
        name=step["name"] or "step",
        status=step["status"] or "",
        percentage=step["percentage"],
    )
