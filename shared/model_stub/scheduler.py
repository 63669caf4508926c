"""Which models are in memory, who waits for what, and when an idle one goes: Ollama's scheduler.

A request for a loaded model waits for one of its slots without limit. A request for a model that
must be loaded first joins a queue of `max_queue`, beyond which it is refused; the head of that
queue blocks the rest. A changed runner option (num_ctx, …) reloads the model.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field

from model_stub.catalogue import ModelEntry
from model_stub.protocol import ProtocolError

# Two blanks, as on the real server.
BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(slots=True)
class Runner:
    """One model in memory. `users` counts requests that hold or wait for a slot."""

    entry: ModelEntry
    options: Hashable
    window_size: int
    slots: asyncio.Semaphore
    keep_alive_seconds: float
    users: int = 0
    used_at: float = 0.0

    @property
    def expires_at(self) -> float:
        """On the scheduler's clock; infinite while in use or pinned."""
        return float("inf") if self.users else self.used_at + self.keep_alive_seconds


@dataclass(slots=True)
class Grant:
    """The right to use a model, and the seconds it took to get it (waiting and loading)."""

    runner: Runner
    load_seconds: float


@dataclass(slots=True)
class Scheduler:
    """Loads, shares and evicts. `clock` is monotonic seconds."""

    load_seconds: float
    num_parallel: int
    max_queue: int
    max_loaded_models: int
    keep_alive_seconds: float
    clock: Callable[[], float] = time.monotonic
    loads: int = 0
    _runners: dict[str, Runner] = field(default_factory=dict)
    _pending: int = 0
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def loaded(self) -> list[Runner]:
        """The models in memory, after those whose keep-alive has run out are gone."""
        now = self.clock()
        for name in [n for n, runner in self._runners.items() if runner.expires_at <= now]:
            del self._runners[name]
        return list(self._runners.values())

    def unload(self, entry: ModelEntry) -> None:
        """Drop an idle model now; one in use goes when its last request ends."""
        runner = self._runners.get(entry.name)
        if runner is not None:
            runner.keep_alive_seconds = 0.0
            self.loaded()

    @contextlib.asynccontextmanager
    async def grant(
        self,
        entry: ModelEntry,
        *,
        window_size: int,
        options: Hashable,
        keep_alive_seconds: float | None,
    ) -> AsyncIterator[Grant]:
        """Hold a loaded model with these options. Raises ProtocolError when the queue is full."""
        asked_at = time.monotonic()
        runner = await self._runner(entry, window_size, options)
        if keep_alive_seconds is not None:
            runner.keep_alive_seconds = keep_alive_seconds
        try:
            yield Grant(runner, time.monotonic() - asked_at)
        finally:
            runner.users -= 1
            runner.used_at = self.clock()
            self._released.set()

    async def _runner(self, entry: ModelEntry, window_size: int, options: Hashable) -> Runner:
        """The runner, with this request counted among its users."""
        runner = self._ready(entry, options)
        if runner is None:
            if self._pending > self.max_queue:  # the one at the head is not in the queue
                raise ProtocolError(503, BUSY)
            self._pending += 1
            try:
                async with self._turn:
                    runner = self._ready(entry, options)
                    if runner is None:
                        runner = await self._load(entry, window_size, options)
                    runner.users += 1
                    return runner
            finally:
                self._pending -= 1
        runner.users += 1
        return runner

    def _ready(self, entry: ModelEntry, options: Hashable) -> Runner | None:
        self.loaded()
        runner = self._runners.get(entry.name)
        return runner if runner is not None and runner.options == options else None

    async def _load(self, entry: ModelEntry, window_size: int, options: Hashable) -> Runner:
        await self._make_room(entry)
        if self.load_seconds:
            await asyncio.sleep(self.load_seconds)
        self.loads += 1
        runner = Runner(
            entry,
            options,
            window_size,
            asyncio.Semaphore(self.num_parallel),
            self.keep_alive_seconds,
            used_at=self.clock(),
        )
        self._runners[entry.name] = runner
        return runner

    async def _make_room(self, entry: ModelEntry) -> None:
        """Evict the model's older form, or the one idle for longest; wait for busy ones."""
        while True:
            runners = self.loaded()
            same = [r for r in runners if r.entry.name == entry.name]
            if not same and len(runners) < self.max_loaded_models:
                return
            idle = [r for r in same or runners if not r.users]
            if idle:
                oldest = min(idle, key=lambda r: r.used_at)
                del self._runners[oldest.entry.name]
                continue
            self._released.clear()
            await self._released.wait()
