"""Attempts at tasks from the queue, each an asyncio task of its own: traced, logged, given what it
works with, and ended by exactly one outcome that the turns settle.
"""

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.errors import LeaseLost
from reveille.logs import speak_for
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.store import End
from reveille.task import Claim
from reveille.task_types import task_type
from reveille.tracing import AttemptTrace, trace_attempt
from reveille.worker.attempt import LiveContext, attempt, unexpected
from reveille.worker.counting import count_settled
from reveille.worker.model_watch import OUT_OF_SERVICE_REASONS
from reveille.worker.running import Running

if TYPE_CHECKING:
    from reveille.worker.service import WorkerService

log = structlog.get_logger(__name__)
_LOGGER = logging.getLogger(__name__)  # asked whether anybody would read: 0.1 µs, not 3


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
        running.work = asyncio.create_task(
            self._attempt(running), name=f"task {claim.task_id}", context=running.context
        )

    async def _attempt(self, running: Running) -> None:
        worker, claim = self._worker, running.claim
        server_id = worker.worker_settings.server_id
        speak_for(claim, server_id=server_id)
        try:
            parents: list[str] = []
            if claim.depends_on and worker.telemetry.tracing:
                with suppress(*DATABASE_ERRORS):
                    parents = await worker.store.parent_traces(claim.task_id)
            with trace_attempt(
                claim, server_id=server_id, pool=worker.task_pool, parents=parents
            ) as trace:
                await self._work(running, trace)
        except BaseException:  # ours or a cancellation: a slot may not leak
            if not running.ending:
                worker.held.drop(running)
            raise

    async def _work(self, running: Running, trace: AttemptTrace) -> None:
        worker, claim = self._worker, running.claim
        try:
            outcome = await self._outcome(running)
        except (LeaseLost, asyncio.CancelledError):
            if running.lost or not worker.stopping.is_set():
                self._forget(running, trace)
                return
            outcome = Release()
        except Exception as error:  # noqa: BLE001 - closing a document: an attempt must end somehow
            outcome = unexpected(error)
        running.ending = True
        trace.settled(outcome)
        trace.settle()
        running.trace = trace
        try:
            if worker.reporter.pending(claim.task_id):
                with suppress(*DATABASE_ERRORS):
                    await worker.reporter.finish(claim.task_id)
        finally:  # whatever became of the report: who has an outcome ends
            worker.turns.end(running, End(claim, outcome, trace.traceparent))

    async def _outcome(self, running: Running) -> Outcome:
        worker, claim = self._worker, running.claim
        context = LiveContext(
            claim,
            store=worker.store,
            model=worker.model,
            model_name=worker.model_name(claim.task_type),
            documents=worker.documents,
            reporter=worker.reporter,
        )
        try:
            outcome = await attempt(
                task_type(claim.task_type), worker.handlers[claim.task_type], context, context.limit
            )
        finally:
            await context.close()
        if isinstance(outcome, Retry) and outcome.reason in OUT_OF_SERVICE_REASONS:
            worker.model_watch.out_of_service()
            return Release(reason=outcome.reason, error=outcome.error)
        return outcome

    def settled(self, running: Running, outcome: Outcome, status: str | None) -> None:
        """The database has written how it ended; `status` None: it was not ours to write."""
        count_settled(self._worker.telemetry.metrics, running, outcome, status)
        if status is None or _LOGGER.isEnabledFor(logging.INFO):
            running.context.run(_say_settled, running.trace, outcome, status)
        running.trace.end()

    def _forget(self, running: Running, trace: AttemptTrace) -> None:
        """The task is not ours any more: whoever took it has written how this attempt ended."""
        trace.failed("lease_lost", "the task was taken away: cancelled, or its lease was lost")
        log.info("attempt_dropped")
        self._worker.held.drop(running)


def _say_settled(trace: AttemptTrace, outcome: Outcome, status: str | None) -> None:
    with trace.ambient():
        if status is None:
            log.warning("result_dropped", reason="the lease was gone")
        else:
            log.info("task_settled", status=status, **_why(outcome))


def _why(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Done():
            return {}
        case Release(reason=reason):
            return {"reason": reason}
        case Retry(reason=reason, error=error) | Reject(reason=reason, error=error):
            return {"reason": reason, "error": error}
