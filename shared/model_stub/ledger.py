"""What was asked of the stand-in and how it ended: for tests and `GET /_stub/requests`."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Outcome = Literal["running", "answered", "refused", "cut", "cancelled"]
PROMPT_CHARS_KEPT = 20_000


@dataclass(slots=True)
class RequestRecord:
    """One chat or generate request. `cancelled` means that the client left before the answer."""

    path: str
    model: str
    prompt: str
    roles: list[str]
    images: int
    stream: bool
    num_ctx: int | None
    has_schema: bool
    outcome: Outcome = "running"
    fault: str | None = None
    generating: bool = False
    begun_at: float = field(default=0.0)  # by the monotonic clock
    seconds: float = field(default=0.0)


class Ledger:
    """Counters since the start, and the last requests."""

    def __init__(self, kept_max: int) -> None:
        self.last: deque[RequestRecord] = deque(maxlen=kept_max)
        self.outcomes: Counter[str] = Counter()
        self.active = 0
        self.active_peak = 0
        self.generating = 0
        self.generating_peak = 0
        self._changed = asyncio.Event()

    @property
    def cancelled(self) -> int:
        """Requests whose client left before the answer."""
        return self.outcomes["cancelled"]

    @property
    def total(self) -> int:
        """All requests begun."""
        return self.active + self.outcomes.total()

    @contextlib.contextmanager
    def recorded(self, record: RequestRecord) -> Iterator[RequestRecord]:
        """Count a request from its arrival to its end, however it ends."""
        begun_at = record.begun_at = time.monotonic()
        self.last.append(record)
        self.active += 1
        self.active_peak = max(self.active_peak, self.active)
        self._pulse()
        try:
            yield record
            if record.outcome == "running":
                record.outcome = "answered"
        except BaseException as error:
            left = isinstance(error, asyncio.CancelledError | ConnectionError)
            record.outcome = "cancelled" if left else "refused"
            raise
        finally:
            record.seconds = time.monotonic() - begun_at
            self.active -= 1
            self.outcomes[record.outcome] += 1
            self._pulse()

    @contextlib.contextmanager
    def generation(self, record: RequestRecord) -> Iterator[None]:
        """Count a request while it holds a slot of its model."""
        record.generating = True
        self.generating += 1
        self.generating_peak = max(self.generating_peak, self.generating)
        self._pulse()
        try:
            yield
        finally:
            record.generating = False
            self.generating -= 1
            self._pulse()

    async def until(
        self, predicate: Callable[["Ledger"], bool], *, timeout_seconds: float = 5.0
    ) -> None:
        """Wait for the counters to satisfy the predicate. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while not predicate(self):
                await self._changed.wait()

    def snapshot(self) -> dict[str, Any]:
        """The counters and last requests as JSON values."""
        return {
            "total": self.total,
            "active": self.active,
            "active_peak": self.active_peak,
            "generating": self.generating,
            "generating_peak": self.generating_peak,
            "cancelled": self.cancelled,
            "outcomes": dict(self.outcomes),
            "last": [asdict(record) for record in self.last],
        }

    def _pulse(self) -> None:
        """Wake all who wait in `until`; a fresh event for those who come later."""
        self._changed.set()
        self._changed = asyncio.Event()
