"""Retention: tasks that ended long ago leave the queue for its archive, a small batch at a time.

Off unless `archive_after_days` is set, because a backend that reads finished rows of
processing_queue must first be told of processing_queue_all. A pass walks the queue once by id;
between batches it rests for as long as the batch took, so that it never takes more than half of
one connection. Several monitors may run: the database lets one of them move at a time.
"""

import asyncio
import time

import structlog

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.sql import statement
from reveille.database import DATABASE_ERRORS, Pool

log = structlog.get_logger(__name__)


class Archive:
    """The queue's long tail, as the monitor keeps it short."""

    def __init__(self, pool: Pool, settings: MonitorSettings, stopping: asyncio.Event) -> None:
        self._pool = pool
        self._settings = settings
        self._stopping = stopping

    async def keep(self) -> None:
        """A pass, a rest of `archive_seconds`, and so on until `stopping`."""
        if self._settings.archive_after_days is None:
            return
        while not self._stopping.is_set():
            try:
                await self.one_pass(self._settings.archive_after_days)
            except DATABASE_ERRORS as error:
                log.warning("archive_failed", error=str(error) or type(error).__name__)
            await self._rest(self._settings.archive_seconds)

    async def one_pass(self, after_days: float) -> int:
        """Move what ended more than `after_days` ago, drop what the archive keeps no longer; how
        many tasks moved. Raises one of DATABASE_ERRORS.
        """
        moved, after_id = 0, 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            row = await self._pool.fetchrow(
                statement("archive_tasks"), after_days, after_id, self._settings.rows_max
            )
            if row["moved"] is None:  # another monitor is at it
                return moved
            moved += row["moved"]
            if row["last_id"] is None:
                break
            after_id = row["last_id"]
            await self._rest(time.monotonic() - begun)
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

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
