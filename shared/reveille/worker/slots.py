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
        self._reserved = 0  # for claims that are on their way
        self._direct = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.no_direct = asyncio.Event()  # set while no direct call has a slot
        self.no_direct.set()

    @property
    def free(self) -> int:
        """Slots that a claim may fill now."""
        return self.free_after(0)

    def free_after(self, ends: int) -> int:
        """Slots that a claim may fill when so many attempts have ended: direct calls that wait come first."""
        return max(0, self.count - self.busy - len(self._waiting) + ends)

    @property
    def busy(self) -> int:
        """Slots in use."""
        return self._queued + self._direct

    def reserve(self, number: int) -> None:
        """Claims are on their way that may fill so many free slots: no direct call takes them until
        `take_queued`.
        """
        self._reserved = max(0, number)

    def take_queued(self, number: int) -> None:
        """Claims came in."""
        self._reserved = 0
        self._queued += number
        if self._waiting:
            self._pass_on()

    def give_queued(self, number: int) -> None:
        """Attempts ended."""
        self._queued -= number
        self._pass_on()

    @asynccontextmanager
    async def direct(self, *, wait_seconds: float) -> AsyncIterator[None]:
        """A slot for a direct call. Raises TimeoutError when none falls free in time."""
        if self.busy + self._reserved >= self.count or self._waiting:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout(wait_seconds):
                    await turn
            except BaseException:
                if turn.done() and not turn.cancelled():  # granted and given up at the same moment
                    self._end_direct()
                with suppress(ValueError):
                    self._waiting.remove(turn)
                raise
        else:
            self._begin_direct()
        try:
            yield
        finally:
            self._end_direct()

    def _begin_direct(self) -> None:
        self._direct += 1
        self.no_direct.clear()

    def _end_direct(self) -> None:
        self._direct -= 1
        self._pass_on()
        if not self._direct:
            self.no_direct.set()

    def _pass_on(self) -> None:
        while self._waiting and self.busy + self._reserved < self.count:
            turn = self._waiting.popleft()
            if not turn.done():
                self._begin_direct()
                turn.set_result(None)
        if self.free:
            self._on_free()
