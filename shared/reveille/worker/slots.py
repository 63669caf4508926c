"""The slots of a worker: how many tasks it runs at once, from the queue and by direct HTTP calls
together.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class Slots:
    """Counts what runs. Direct calls that wait come before the next claims; `on_free` is called
    when a slot falls free.
    """

    def __init__(self, count: int, *, on_free: Callable[[], None]) -> None:
        self.count = count
        self._on_free = on_free
        self._queued = 0  # tasks from the queue; written by take_queued and give_queued
        self._direct = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> int:
        """Slots that a claim may fill now."""
        return max(0, self.count - self._queued - self._direct - len(self._waiting))

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._queued + self._direct

    def take_queued(self, number: int) -> None:
        """Claims came in."""
        self._queued += number

    def give_queued(self, number: int) -> None:
        """Attempts ended."""
        self._queued -= number
        self._pass_on()

    @asynccontextmanager
    async def direct(self, *, wait_seconds: float) -> AsyncIterator[None]:
        """A slot for a direct call. Raises TimeoutError when none falls free in time."""
        if self.busy >= self.count or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout(wait_seconds):
                    await turn
            except BaseException:
                if turn.done() and not turn.cancelled():  # granted and given up at the same moment
                    self._direct -= 1
                    self._pass_on()
                with suppress(ValueError):
                    self._waiting.remove(turn)
                raise
        else:
            self._direct += 1
        try:
            yield
        finally:
            self._direct -= 1
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and self.busy < self.count:
            turn = self._waiting.popleft()
            if not turn.done():
                self._direct += 1
                turn.set_result(None)
        if self.free:
            self._on_free()
