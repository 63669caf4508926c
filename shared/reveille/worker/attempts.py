"""Attempts at tasks from the queue, each an asyncio task of its own: traced, logged, given what it
works with, and ended by exactly one outcome that the turns settle.
"""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.errors import LeaseLost
from reveille.logs import task_fields
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.store import End
from reveille.task import Claim
from reveille.task_types import task_type
from reveille.tracing import AttemptTrace, ambient_span, trace_attempt
from reveille.worker.attempt import LiveContext, attempt, unexpected
from reveille.worker.counting import count_settled
from reveille.worker.model_watch import OUT_OF_SERVICE_REASONS
from reveille.worker.running import Running

if TYPE_CHECKING:
    from reveille.worker.service import WorkerService

log = structlog.get_logger(__name__)


class Attempts:
    """Those of one worker."""

    def __init__(self, worker: "WorkerService") -> None:
        self._worker = worker

    def begin(self, claim: Claim) -> None:
        """The task is ours: start working on it."""
        worker = self._worker
        if worker.dead_man is not None:
            worker.dead_man.needed()
        running = Running(claim)
        worker.held.add(running)
        running.work = asyncio.create_task(self._attempt(running), name=f"task {claim.task_id}")

    async def _attempt(self, running: Running) -> None:
        worker, claim = self._worker, running.claim
        server_id = worker.worker_settings.server_id
        parents: list[str] = []
        if claim.depends_on and worker.telemetry.tracing:
            with suppress(*DATABASE_ERRORS):
                parents = await worker.store.parent_traces(claim.task_id)
        with (
            task_fields(claim, server_id=server_id),
            trace_attempt(
                claim, server_id=server_id, pool=worker.task_pool, parents=parents
            ) as trace,
        ):
            try:
                outcome = await self._outcome(running)
            except (LeaseLost, asyncio.CancelledError):
                if running.lost or not worker.stopping.is_set():
                    self._forget(running, trace)
                    return
                outcome = Release()
            except Exception as error:  # noqa: BLE001 - closing a document: an attempt must end somehow
                outcome = unexpected(error)
            trace.settled(outcome)
            await self._settle(running, outcome, trace)

    async def _outcome(self, running: Running) -> Outcome:
        worker, claim = self._worker, running.claim
        async with AsyncExitStack() as closing:
            context = LiveContext(
                claim,
                store=worker.store,
                model=worker.model,
                model_name=worker.model_name(claim.task_type),
                documents=worker.documents,
                reporter=worker.reporter,
                closing=closing,
            )
            outcome = await attempt(
                task_type(claim.task_type),
                worker.handlers[claim.task_type],
                context,
                timeout_seconds=claim.timeout_seconds,
                stall=context.stall,
            )
        if isinstance(outcome, Retry) and outcome.reason in OUT_OF_SERVICE_REASONS:
            worker.model_watch.out_of_service()
            return Release(reason=outcome.reason, error=outcome.error)
        return outcome

    async def _settle(self, running: Running, outcome: Outcome, trace: AttemptTrace) -> None:
        worker, claim = self._worker, running.claim
        with ambient_span("settle"):
            if worker.reporter.pending(claim.task_id):
                with suppress(*DATABASE_ERRORS):
                    await worker.reporter.flush()
            end = End(claim=claim, outcome=outcome, traceparent=trace.traceparent)
            worker.turns.end(running, end)
            status = await asyncio.shield(running.settled)
        count_settled(worker.telemetry.metrics, running, outcome, status)
        if status is None:
            log.warning("result_dropped", reason="the lease was gone")
        else:
            log.info("task_settled", status=status, **_why(outcome))

    def _forget(self, running: Running, trace: AttemptTrace) -> None:
        """The task is not ours any more: whoever took it has written how this attempt ended."""
        trace.failed("lease_lost", "the task was taken away: cancelled, or its lease was lost")
        log.info("attempt_dropped")
        self._worker.held.drop(running)


def _why(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Done():
            return {}
        case Release(reason=reason):
            return {"reason": reason}
        case Retry(reason=reason, error=error) | Reject(reason=reason, error=error):
            return {"reason": reason, "error": error}
