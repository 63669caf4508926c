"""Tasks that take long: the worker that has them neither looks dead nor burdens the database."""

import asyncio
import threading
import time
from typing import Any

from tests.services.test_heartbeat_monitor import Watched, monitor_of, running
from tests.services.test_worker_in_trouble import add, done, ended, living, server, worker_of

from reveille.context import TaskContext
from reveille.outcome import Outcome
from reveille.testing import Database, eventually
from reveille.worker import WorkerService

LEASE_SECONDS = 1.5
BUSY_SECONDS, BUSY_SECONDS_MAX = 4.5, 60.0
ROUNDS = 5


class InThread:
    """A worker in a thread and a loop of its own, so that what blocks it blocks nobody else."""

    def __init__(self, database: Database, monitor: Watched) -> None:
        self._database = database
        self._monitor = monitor
        self._worker: WorkerService | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._live()))

    async def _busy(self, context: TaskContext) -> Outcome:
        """Python code that never lets the event loop run, for several leases and the monitor's rounds."""
        began, rounds = time.monotonic(), self._monitor.rounds + ROUNDS
        while (seconds := time.monotonic() - began) < BUSY_SECONDS or (
            self._monitor.rounds < rounds and seconds < BUSY_SECONDS_MAX
        ):
            sum(range(1000))
        return await done(context)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker = worker_of(self._database, self._busy, slots=1)
        self._worker._handle_signals = lambda: None  # type: ignore[method-assign]
        try:
            await self._worker.run()
        finally:
            await self._worker.telemetry.aclose()

    async def __aenter__(self) -> None:
        self.thread.start()

    async def __aexit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._worker is not None
        self._loop.call_soon_threadsafe(self._worker.stopping.set)
        await asyncio.to_thread(self.thread.join)


async def test_worker_whose_event_loop_is_busy_for_long_does_not_look_dead(
    database: Database,
) -> None:
    """Its heartbeat is a thread, its presence a connection: both outlast several leases of work."""
    limits = {"lease_seconds": LEASE_SECONDS, "presence_grace_seconds": 0.5, "tick_seconds": 0.05}
    async with running(monitor_of(database, **limits)) as monitor, InThread(database, monitor):
        task_id = await add(database)
        row = await ended(database, task_id, within_seconds=BUSY_SECONDS_MAX + 30)
        assert monitor.rounds > ROUNDS  # it looked, several times

    assert (row["status"], row["attempt"], row["lost_count"]) == ("completed", 1, 0)
    assert await server(database, "status_reason") == "stopped"  # and never lost
    assert await database.fetch("SELECT 1 FROM task_attempts WHERE outcome = 'lost'") == []


async def test_long_task_pins_nothing_that_vacuum_would_remove(database: Database) -> None:
    """Hours of model time may not leave the queue's garbage lying: no transaction is held for them."""
    go_on = asyncio.Event()
    started = asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == 2:
            await context.progress(10, "begun")
            started.set()
            await go_on.wait()
        return await done(context)

    async with living(worker_of(database, handle), database):
        long = await add(database, document_id=2)
        await started.wait()
        await ended(database, await add(database))  # claims and settling leave dead rows

        async def rests() -> bool:
            return await database.fetchval(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() "
                "AND application_name LIKE 'reveille%' AND (xact_start IS NOT NULL OR backend_xmin IS NOT NULL))"
            )

        await eventually(rests)  # between two heartbeats, all connections
        await database.execute("UPDATE processing_queue SET priority = priority")

        async def vacuumed() -> bool:
            await database.execute("VACUUM processing_queue")
            return await _dead_rows(database) == 0

        await eventually(vacuumed)  # a heartbeat may be under way at one moment, not at all of them
        go_on.set()
        assert (await ended(database, long))["attempt"] == 1


async def _dead_rows(database: Database) -> Any:
    await database.execute("SELECT pg_stat_force_next_flush()")
    return await database.fetchval(
        "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'processing_queue'"
    )
