"""The tasks that a worker holds: shared by the turns, which begin and end them, the attempts, which
work on them, and the heartbeat, which asks whether they are still ours.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context

from reveille.metrics import Metrics
from reveille.task import Claim
from reveille.tracing import UNRECORDED
from reveille.worker.slots import Slots

IDLE_REPORT_SECONDS = 1.0


class Running:
    """A claimed task while it is ours. `lost` is written by the pulse and the reporter, read when
    the attempt is cancelled; `trace` by the attempt: its span is open until the task is settled.
    `context` is that of the attempt: what is logged in it says whose it is.
    """

    __slots__ = ("began", "claim", "context", "ending", "lost", "trace", "work")

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lost = False
        self.ending = False  # its outcome is on its way: nothing may interrupt it any more
        self.began = time.monotonic()
        self.work: asyncio.Task[None] | None = None
        self.context = copy_context()
        self.trace = UNRECORDED


class Held:
    """All of them, by lease token: a task may be back, held anew. `on_idle` is called a second
    after the last one went.
    """

    def __init__(
        self, slots: Slots, metrics: Metrics, *, pool: str, on_idle: Callable[[], None]
    ) -> None:
        self._slots = slots
        self._metrics = metrics
        self._pool = pool
        self._on_idle = on_idle
        self._running: dict[int, Running] = {}
        self.none = asyncio.Event()  # set while nothing is held
        self.none.set()

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        """As of now: it may change under whoever goes through them."""
        return iter(list(self._running.values()))

    def claims(self) -> Sequence[Claim]:
        """For the heartbeat; may be called from its thread."""
        return [running.claim for running in self]

    def add(self, running: Running) -> None:
        """It is ours now; its slot was taken with the claim."""
        if not self._running:
            self.none.clear()
        self._running[running.claim.lease_token] = running

    def drop(self, running: Running) -> None:
        """It holds nothing any more; soon current_load says so."""
        if self._running.pop(running.claim.lease_token, None) is None:
            return
        self._slots.give_queued(1)
        if not self._running:
            self.none.set()
            asyncio.get_running_loop().call_later(IDLE_REPORT_SECONDS, self._tell_idle)

    def lose(self, lease_tokens: frozenset[int]) -> None:
        """These were taken away: stop working on them."""
        for lease_token in lease_tokens:
            running = self._running.get(lease_token)
            if running is None or running.lost or running.ending or running.work is None:
                continue
            running.lost = True
            running.work.cancel("lease lost")
            self._metrics.lease_lost.add(1, {"pool": self._pool})

    def lose_all(self) -> None:
        """The whole server was declared lost."""
        self.lose(frozenset(self._running))

    def _tell_idle(self) -> None:
        if not self._running:
            self._on_idle()
