"""Provider calls under way: one at a time per container, beside the loop, so that a stop that
takes minutes holds up nobody.
"""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger(__name__)

# A call that failed is repeated no sooner: each failure in a row doubles the pause.
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 30.0


class Operations:
    """Tasks by container name. `on_end` is called after each."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ended_at: dict[str, float] = {}  # monotonic
        self._failures: dict[str, int] = {}  # in a row
        self._held_until: dict[str, float] = {}  # monotonic

    def __len__(self) -> int:
        return len(self._running)

    def busy(self, name: str) -> bool:
        """Whether something is being done to it, or has just failed and is not yet tried again."""
        return name in self._running or self._held_until.get(name, 0.0) > time.monotonic()

    def failed(self, name: str) -> None:
        """Let it be for a while: a provider in trouble is not helped by a storm of calls."""
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        pause = min(RETRY_SECONDS_MIN * 2.0 ** min(failures - 1, 10), RETRY_SECONDS_MAX)
        self._held_until[name] = time.monotonic() + pause

    def succeeded(self, name: str) -> None:
        """Its failures are forgotten."""
        self._failures.pop(name, None)
        self._held_until.pop(name, None)

    def retry_in(self) -> float:
        """Seconds until the first of what failed may be tried again; infinite where nothing has."""
        now = time.monotonic()
        return min((at - now for at in self._held_until.values() if at > now), default=math.inf)

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
            self.failed(name)
        self._on_end()

    async def finish(self, seconds: float) -> None:
        """Wait for what is under way; what takes longer is cancelled, and resumed by a successor."""
        tasks = list(self._running.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
