"""Saying once a minute that a part of the system is well, so that the report can count when it was.

A process extends a span in `uptime_spans` for as long as its part is well. Nothing is written about
an outage, and nothing has to be: time without a span was one. So a crash, a lost database and a
machine that is off count alike, and each costs up to a minute more than it lasted, never less.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from secrets import token_hex

import structlog

from reveille.database import DATABASE_ERRORS, Pool
from reveille.pause import pause
from reveille.sql import statement

log = structlog.get_logger(__name__)

BEAT_SECONDS = 60.0
# While something is wrong, also in the first moments of a process.
TROUBLED_SECONDS = 2.0
# A beat may be late by half: a busy machine, a slow commit.
GAP_SECONDS_MAX = 1.5 * BEAT_SECONDS

Judge = Callable[[], Awaitable[bool]]


class UptimeKeeper:
    """The spans of one process. `judges` says of each part whether it is well now."""

    def __init__(self, pool: Pool, judges: Mapping[str, Judge]) -> None:
        self._pool = pool
        self._judges = judges
        self._instance = f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"
        self._interrupted = set(judges)

    async def interrupt(self) -> None:
        """The database was away: what was said before does not go on from here."""
        self._interrupted = set(self._judges)

    async def keep(self, stopping: asyncio.Event) -> None:
        """A beat a minute until `stopping`, and one then: a restart in good order costs seconds."""
        while not stopping.is_set():
            pause_seconds = BEAT_SECONDS if await self.beat() else TROUBLED_SECONDS
            await pause(pause_seconds, stopping)
        await self.beat()

    async def beat(self) -> bool:
        """Say which parts are well; whether all are."""
        for part, judge in self._judges.items():
            try:
                well = await judge()
                if well:
                    await self._say(part)
            except DATABASE_ERRORS as error:
                log.warning("uptime_not_noted", part=part, error=str(error) or type(error).__name__)
                well = False
            if not well:
                self._interrupted.add(part)
        return not self._interrupted

    async def _say(self, part: str) -> None:
        anew = part in self._interrupted
        await self._pool.execute(
            statement("keep_uptime"), part, self._instance, anew, GAP_SECONDS_MAX
        )
        self._interrupted.discard(part)
