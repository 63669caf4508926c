"""One attempt at one task: the handler, the world it sees, and the outcome that every way of
ending is turned into.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, Self

import structlog
from pydantic import BaseModel, ValidationError

from reveille.context import StepStatus
from reveille.documents import Document, Documents
from reveille.errors import LeaseLost, TaskRejected, TaskRetry
from reveille.logs import mask_text
from reveille.model import ModelClient
from reveille.outcome import Outcome, Reject, Retry
from reveille.store import Step, Store
from reveille.task import Claim
from reveille.task_types import TaskType
from reveille.task_types.handling import Handler, HandlerContext
from reveille.worker.elsewhere import STALLED
from reveille.worker.progress import ProgressReporter

log = structlog.get_logger(__name__)


class Limit:
    """The time that an attempt has, and the time that it may take without progress: one timer for
    both. `with limit:` cancels what runs inside when one is over; afterwards `passed` says which, if
    nobody else cancelled it too.
    """

    def __init__(self, timeout_seconds: float, stall_seconds: float | None = None) -> None:
        self.timeout_seconds = timeout_seconds
        self.stall_seconds = timeout_seconds if stall_seconds is None else stall_seconds
        self.passed: Literal["timeout", "stalled"] | None = None
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._moved_at = 0.0
        self._task: asyncio.Task[Any]
        self._timer: asyncio.TimerHandle
        self._cancels_before = 0

    def moved(self) -> None:
        """There is progress: the time without any starts anew."""
        self._moved_at = self._loop.time()

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a limit cancels a task: there is none")
        self._task = task
        self._cancels_before = task.cancelling()
        self._moved_at = now = self._loop.time()
        self._ends_at = now + self.timeout_seconds
        self._timer = self._loop.call_at(self._next(), self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self.passed is not None and self._task.uncancel() > self._cancels_before:
            self.passed = None  # cancelled by somebody else as well, who is to be obeyed

    def _next(self) -> float:
        return min(self._ends_at, self._moved_at + self.stall_seconds)

    def _look(self) -> None:
        now, due_at = self._loop.time(), self._next()
        if now < due_at:  # it moved since the timer was set
            self._timer = self._loop.call_at(due_at, self._look)
            return
        self.passed = "timeout" if self._ends_at <= due_at else "stalled"
        self._task.cancel()


class LiveContext:
    """The context of a claimed task: progress, checkpoints and results go through the store,
    fenced by the lease.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        store: Store,
        model: ModelClient,
        model_name: str,
        documents: Documents,
        reporter: ProgressReporter,
    ) -> None:
        self._claim = claim
        self._store = store
        self._model = model
        self._model_name = model_name
        self._documents = documents
        self._reporter = reporter
        self._closing: AsyncExitStack | None = None
        self._document: Document | None = None
        self.limit = Limit(claim.timeout_seconds, claim.stall_seconds)

    @property
    def task(self) -> Claim:
        """See TaskContext."""
        return self._claim

    @property
    def model(self) -> ModelClient:
        """See TaskContext."""
        return self._model

    @property
    def model_name(self) -> str:
        """See HandlerContext."""
        return self._model_name

    async def document(self) -> Document:
        """See TaskContext."""
        if self._document is None:
            opened = await self._documents.open(self._claim.document_id, self._claim.file_path)
            self._closing = AsyncExitStack()
            self._document = await self._closing.enter_async_context(opened)
        return self._document

    async def close(self) -> None:
        """Let go of the document, if it was opened."""
        if self._closing is not None:
            await self._closing.aclose()

    async def progress(
        self,
        percentage: float,
        step: str,
        message: str = "",
        *,
        status: StepStatus = "completed",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """See TaskContext."""
        self.limit.moved()
        share = max(0, min(100, round(percentage)))
        self._reporter.add(
            Step(
                claim=self._claim,
                percentage=share,
                name=step,
                message=message,
                status=status,
                data=data,
            )
        )

    async def checkpoints(self) -> dict[str, Any]:
        """See TaskContext."""
        return await self._store.load_checkpoints(self._claim.task_id)

    async def checkpoint(self, key: str, value: Any) -> None:
        """See TaskContext."""
        self.limit.moved()
        if not await self._store.save_checkpoint(self._claim, key, value):
            raise LeaseLost(f"task {self._claim.task_id} is no longer ours")

    async def visual_results(self) -> list[dict[str, Any]]:
        """See TaskContext."""
        return await self._store.visual_results(self._claim.document_id)

    async def template(self, template_id: str | None) -> dict[str, Any] | None:
        """See TaskContext."""
        return await self._store.load_template(template_id)


async def attempt(
    spec: TaskType, handler: Handler, context: HandlerContext, limit: Limit
) -> Outcome:
    """Run the handler; every error becomes an outcome. Raises only CancelledError and LeaseLost."""
    try:
        options = spec.options.model_validate(context.task.processing_options)
    except ValidationError as error:
        return Reject(reason="bad_options", error=_bad_options(spec, error))
    try:
        with limit:
            return await handler(options, context)
    except TaskRejected as error:
        return Reject(reason=error.reason, error=error.error)
    except TaskRetry as error:
        return Retry(reason=error.reason, error=error.error, after_seconds=error.after_seconds)
    except LeaseLost:
        raise
    except asyncio.CancelledError:
        if limit.passed is None:
            raise
        return _late(limit)
    except Exception as error:  # noqa: BLE001 - a handler's bug must end the attempt, not the worker
        return unexpected(error)


def _late(limit: Limit) -> Outcome:
    if limit.passed == "timeout":
        return Retry(
            reason="timeout",
            error=f"not done within {limit.timeout_seconds:.0f} s, the time limit of its task type",
        )
    return Retry(
        reason=STALLED,
        error=f"no progress for {limit.stall_seconds:.0f} s, the stall limit of its task type",
    )


def unexpected(error: Exception) -> Retry:
    """A bug, of a handler or of ours: another attempt may be luckier."""
    log.exception("handler_failed")
    return Retry(reason="unexpected", error=mask_text(f"{type(error).__name__}: {error}")[:2000])


def _bad_options(spec: TaskType, error: ValidationError) -> str:
    problems = "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'options'}: {problem['msg']}"
        for problem in error.errors(include_url=False)
    )
    known = ", ".join(_option_names(spec.options)) or "none"
    return f"bad processing_options for {spec.name}: {problems} (known options: {known})"


def _option_names(options: type[BaseModel]) -> list[str]:
    return sorted(options.model_fields)
