"""Retention: tasks that ended long ago leave the queue for its archive, a small batch at a time.

Off unless `archive_after_days` is set, because a backend that reads finished rows of
processing_queue must first be told of processing_queue_all. A pass walks the queue once by id;
between batches it rests for as long as the batch took, and three times as long after a slow one.
Several monitors may run: the database lets one of them move at a time.

Beside an old snapshot the rows that were moved cannot be vacuumed, and whoever begins at the first
id walks over all of them (430,000: a second a batch). So a pass begins at the first task that the
last one left, and only now and then at the very first: what came back with an old id.
"""

import asyncio
import math
import time

import structlog

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.sql import statement
from reveille.database import DATABASE_ERRORS, Pool
from reveille.pause import pause

log = structlog.get_logger(__name__)

FROM_THE_FIRST_SECONDS = 3_600.0  # a pass over all that there is
SLOW_SECONDS = 0.2
SLOW_REST_FACTOR = 3.0


def rest_seconds(took: float) -> float:
    """How long to rest after a batch that took so long: half of a connection, or less."""
    return took * SLOW_REST_FACTOR if took > SLOW_SECONDS else took


class Archive:
    """The queue's long tail, as the monitor keeps it short."""

    def __init__(self, pool: Pool, settings: MonitorSettings, stopping: asyncio.Event) -> None:
        self._pool = pool
        self._settings = settings
        self._stopping = stopping
        self._after_id = 0  # at and below it the last pass left nothing
        self._from_the_first_at = -math.inf

    async def keep(self) -> None:
        """A pass, a rest of `archive_seconds`, and so on until `stopping`."""
        if self._settings.archive_after_days is None:
            return
        while not self._stopping.is_set():
            try:
                await self.one_pass(self._settings.archive_after_days)
            except DATABASE_ERRORS as error:
                log.warning("archive_failed", error=str(error) or type(error).__name__)
            await pause(self._settings.archive_seconds, self._stopping)

    async def one_pass(self, after_days: float) -> int:
        """Move what ended more than `after_days` ago, drop what the archive keeps no longer; how
        many tasks moved. Raises one of DATABASE_ERRORS.
        """
        started_at = time.monotonic()
        from_the_first = started_at - self._from_the_first_at >= FROM_THE_FIRST_SECONDS
        after_id = 0 if from_the_first else self._after_id
        moved, lowest_left = 0, None
        while not self._stopping.is_set():
            begun = time.monotonic()
            row = await self._pool.fetchrow(
                statement("archive_tasks"), after_days, after_id, self._settings.rows_max
            )
            if row["moved"] is None:  # another monitor is at it
                return moved
            moved += row["moved"]
            lowest_left = row["lowest_left"] if lowest_left is None else lowest_left
            if row["last_id"] is None:
                self._after_id = after_id if lowest_left is None else lowest_left - 1
                self._from_the_first_at = started_at if from_the_first else self._from_the_first_at
                break
            after_id = row["last_id"]
            await pause(rest_seconds(time.monotonic() - begun), self._stopping)
        if moved:
            log.info("tasks_archived", tasks=moved)
        await self._forget()
        return moved

    async def _forget(self) -> None:
        if self._settings.archive_keep_days is None:
            return
        dropped = await self._pool.fetchval(
            statement("forget_archive"), self._settings.archive_keep_days
        )
        if dropped:
            log.info("archive_dropped", partitions=dropped)
