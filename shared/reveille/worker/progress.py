"""Progress reports on their way to the rows, at most four statements a second per worker however
often handlers report.

A progress update that somebody listens to is a NOTIFY and pays the commit lock; that is why
reports are coalesced here.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.store import Step, Store

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.25
LOCKED_SECONDS_MAX = 2.0  # what an end waits for its last step when somebody keeps the row locked
STEPS_MAX = 10_000  # a database that is away for long loses steps, not memory


class ProgressReporter:
    """Collects steps and writes them; `on_lost(lease_tokens)` hears of attempts whose task turned
    out not to be ours.
    """

    def __init__(self, store: Store, *, on_lost: Callable[[frozenset[int]], None]) -> None:
        self._store = store
        self._on_lost = on_lost
        self._steps: list[Step] = []
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._written_at = 0.0

    def add(self, step: Step) -> None:
        """Take a report; it is written soon."""
        if len(self._steps) < STEPS_MAX:
            self._steps.append(step)
        self._news.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._news.wait()
            await asyncio.sleep(max(0.0, self._written_at + FLUSH_SECONDS - time.monotonic()))
            try:
                await self.flush()
            except DATABASE_ERRORS as error:
                log.warning("progress_not_written", error=str(error), steps=len(self._steps))

    async def flush(self) -> None:
        """Write everything now. What could not be written stays for the next time."""
        async with self._writing:
            self._news.clear()
            steps, self._steps = self._steps, []
            if not steps:
                return
            try:
                said = await self._store.report(steps)
            except BaseException:
                self._put_back(steps)
                raise
            finally:
                self._written_at = time.monotonic()
            if said.locked:
                self._put_back([s for s in steps if s.claim.lease_token in said.locked])
                self._news.set()
        if lost := {step.claim.lease_token for step in steps} - said.ours:
            self._on_lost(frozenset(lost))

    async def finish(self, task_id: int) -> None:
        """Write what is left of a task that ends. A row that stays locked may lose its last steps:
        its end is not to wait for them.
        """
        until = time.monotonic() + LOCKED_SECONDS_MAX
        while True:
            await self.flush()
            if not self.pending(task_id) or time.monotonic() > until:
                return
            await asyncio.sleep(FLUSH_SECONDS)

    def _put_back(self, steps: list[Step]) -> None:
        self._steps = [*steps, *self._steps][:STEPS_MAX]

    def pending(self, task_id: int) -> bool:
        """Whether something of this task is still unwritten."""
        return any(step.claim.task_id == task_id for step in self._steps)
