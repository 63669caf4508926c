"""One attempt at one task: the handler, the world it sees, and the outcome that every way of
ending is turned into.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

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
from reveille.worker.progress import ProgressReporter

log = structlog.get_logger(__name__)


class Stall:
    """Ends what runs inside `watch` with TimeoutError when nothing has `moved` for `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.expired = False
        self._limit: asyncio.Timeout | None = None

    def moved(self) -> None:
        """There is progress: the time starts anew."""
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self.seconds)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[None]:
        """For the length of the block."""
        try:
            async with asyncio.timeout(self.seconds) as self._limit:
                yield
        finally:
            self.expired = self._limit is not None and self._limit.expired()
            self._limit = None


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
        closing: AsyncExitStack,
    ) -> None:
        self._claim = claim
        self._store = store
        self._model = model
        self._model_name = model_name
        self._documents = documents
        self._reporter = reporter
        self._closing = closing
        self._document: Document | None = None
        self.stall = Stall(claim.stall_seconds)

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
            self._document = await self._closing.enter_async_context(opened)
        return self._document

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
        self.stall.moved()
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
        self.stall.moved()
        if not await self._store.save_checkpoint(self._claim, key, value):
            raise LeaseLost(f"task {self._claim.task_id} is no longer ours")

    async def visual_results(self) -> list[dict[str, Any]]:
        """See TaskContext."""
        return await self._store.visual_results(self._claim.document_id)

    async def template(self, template_id: str | None) -> dict[str, Any] | None:
        """See TaskContext."""
        return await self._store.load_template(template_id)


async def attempt(
    spec: TaskType,
    handler: Handler,
    context: HandlerContext,
    *,
    timeout_seconds: float,
    stall: Stall | None = None,
) -> Outcome:
    """Run the handler; every error becomes an outcome. Raises only CancelledError and LeaseLost."""
    try:
        options = spec.options.model_validate(context.task.processing_options)
    except ValidationError as error:
        return Reject(reason="bad_options", error=_bad_options(spec, error))
    return await guarded(
        lambda: handler(options, context), timeout_seconds=timeout_seconds, stall=stall
    )


async def guarded(
    run: Callable[[], Awaitable[Outcome]], *, timeout_seconds: float, stall: Stall | None = None
) -> Outcome:
    """The outcome of `run`, whatever it raises."""
    stall = stall or Stall(timeout_seconds)
    try:
        async with asyncio.timeout(timeout_seconds) as limit, stall.watch():
            return await run()
    except TaskRejected as error:
        return Reject(reason=error.reason, error=error.error)
    except TaskRetry as error:
        return Retry(reason=error.reason, error=error.error, after_seconds=error.after_seconds)
    except LeaseLost:
        raise
    except TimeoutError as error:
        return _late(error, limit, timeout_seconds, stall)
    except Exception as error:  # noqa: BLE001 - a handler's bug must end the attempt, not the worker
        return unexpected(error)


def _late(
    error: TimeoutError, limit: asyncio.Timeout, timeout_seconds: float, stall: Stall
) -> Outcome:
    """Which of the two limits it was; a TimeoutError can come from the handler's own calls too."""
    if limit.expired():
        return Retry(
            reason="timeout",
            error=f"not done within {timeout_seconds:.0f} s, the time limit of its task type",
        )
    if stall.expired:
        return Retry(
            reason="stalled",
            error=f"no progress for {stall.seconds:.0f} s, the stall limit of its task type",
        )
    return unexpected(error)


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
