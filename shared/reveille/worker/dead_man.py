"""The dead-man switch of a worker in a container: when nobody is left who would stop it, it ends by
itself, so that a dead autoscaler does not pay for an idle GPU all month.

Two things are proof that somebody is in control: a database that answers, and, while there is no
work, an autoscaler that leads. Either missing for `seconds` on end, and the worker drains and ends
with exit status 0. What it is working on keeps it alive only while the database answers: without
one its leases have long run out.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from reveille.database import DATABASE_ERRORS

log = structlog.get_logger(__name__)

LOOKS = 10  # in `seconds`: how much later than that it may end is a tenth


class DeadMan:
    """`is_busy` says whether the worker has tasks, `leave` begins its end."""

    def __init__(
        self, seconds: float, *, is_busy: Callable[[], bool], leave: Callable[[], None]
    ) -> None:
        self._seconds = seconds
        self._is_busy = is_busy
        self._leave = leave
        self._is_led: Callable[[], Awaitable[bool]] | None = None
        self._answered_at = self._needed_at = time.monotonic()
        self.reason: str | None = None  # why it ended the worker

    def ask(self, is_led: Callable[[], Awaitable[bool]]) -> None:
        """From now on there is a database; `is_led` asks it whether an autoscaler leads."""
        self._is_led = is_led

    def needed(self) -> None:
        """The worker has begun a task."""
        self._needed_at = time.monotonic()

    async def run(self) -> None:
        """Look now and then until there is a reason to end, and end the worker once."""
        while self.reason is None:
            await asyncio.sleep(self._seconds / LOOKS)
            await self._look()
            self.reason = self._verdict(time.monotonic())
        log.warning("dead_man_switch", reason=self.reason)
        self._leave()

    async def _look(self) -> None:
        if self._is_busy():
            self.needed()
        if self._is_led is None:
            return
        try:
            led = await self._is_led()
        except DATABASE_ERRORS:
            return
        self._answered_at = time.monotonic()
        if led:
            self.needed()

    def _verdict(self, now: float) -> str | None:
        if now - self._answered_at >= self._seconds:
            return f"the database has not answered for {now - self._answered_at:.0f} s"
        if now - self._needed_at >= self._seconds:
            return f"no task and no autoscaler for {now - self._needed_at:.0f} s"
        return None
