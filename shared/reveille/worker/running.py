"""The tasks that a worker holds: shared by the turns, which begin and end them, the attempts, which
work on them, and the heartbeat, which asks whether they are still ours.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from reveille.metrics import Metrics
from reveille.task import Claim
from reveille.worker.slots import Slots

IDLE_REPORT_SECONDS = 1.0


class Running:
    """A claimed task while it is ours. `lost` is written by the pulse and the reporter, read when
    the attempt is cancelled.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lost = False
        self.ending = False  # its end is with the turns: nothing may interrupt it any more
        self.began = time.monotonic()
        self.settled: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.work: asyncio.Task[None] | None = None


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

    def __len__(self) -> int:
        return len(self._running)

    def __iter__(self) -> Iterator[Running]:
        """As of now: it may change under whoever goes through them."""
        return iter(list(self._running.values()))

    def claims(self) -> Sequence[Claim]:
        """For the heartbeat; may be called from its thread."""
        return [running.claim for running in self]

    def works(self) -> list[asyncio.Task[None]]:
        """The attempts under way."""
        return [running.work for running in self if running.work is not None]

    def add(self, running: Running) -> None:
        """It is ours now; its slot was taken with the claim."""
        self._running[running.claim.lease_token] = running

    def drop(self, running: Running) -> None:
        """It holds nothing any more; soon current_load says so."""
        self._running.pop(running.claim.lease_token, None)
        self._slots.give_queued(1)
        if not self._running:
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
