"""Provider calls under way: one at a time per container, beside the loop, so that a stop that
takes minutes holds up nobody.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Operations:
    """Tasks by container name. `on_end` is called after each."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended_at: dict[str, float] = {}  # monotonic

    def __len__(self) -> int:
        return len(self._running)

    def busy(self, name: str) -> bool:
        """Whether something is being done to it."""
        return name in self._running

    def touched_since(self, name: str, moment: float) -> bool:
        """Whether something was being done to it at `moment` (monotonic) or after."""
        return name in self._running or self._ended_at.get(name, float("-inf")) >= moment

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`; there must be nothing else under way for `name`."""
        task = asyncio.create_task(work, name=f"operation {name}")
        self._running[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._running[name]
        self._ended_at[name] = time.monotonic()
        if not task.cancelled() and (error := task.exception()) is not None:
            # The row still says what was to be done: the next round does it again.
            log.error("operation_failed", container=name, error=f"{type(error).__name__}: {error}")
        self._on_end()

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way; what takes longer is cancelled, and resumed by a successor."""
        tasks = list(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
