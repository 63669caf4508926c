"""The dead-man switch: a worker that nobody would stop any more ends by itself, others do not."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reveille.channels import LEADER_KEY, LEADER_SPACE
from reveille.database import connect_pool
from reveille.processes import start_module
from reveille.settings import WorkerSettings
from reveille.store import Store
from reveille.testing import Database
from reveille.worker.dead_man import DeadMan


async def led() -> bool:
    return True


async def alone() -> bool:
    return False


async def silent() -> bool:
    raise ConnectionRefusedError


class Switch:
    """A dead-man switch, and whether it has ended its worker."""

    def __init__(self, seconds: float = 0.05, *, busy: bool = False) -> None:
        self.left = asyncio.Event()
        self.busy = busy
        self.switch = DeadMan(seconds, is_busy=lambda: self.busy, leave=self.left.set)

    @asynccontextmanager
    async def running(self, is_led: Callable[[], Awaitable[bool]] | None) -> AsyncIterator[None]:
        if is_led is not None:
            self.switch.ask(is_led)
        watch = asyncio.create_task(self.switch.run())
        try:
            yield
        finally:
            watch.cancel()

    async def looks(self, count: int, answer: Callable[[], Awaitable[bool]]) -> None:
        """Return when it has asked so often and has not ended the worker."""
        asked = asyncio.Semaphore(0)

        async def counted() -> bool:
            asked.release()
            return await answer()

        async with self.running(counted):
            for _ in range(count):
                await asked.acquire()
            assert not self.left.is_set()


async def test_worker_without_task_and_autoscaler_is_ended() -> None:
    """An idle GPU that no autoscaler would stop."""
    switch = Switch()
    async with switch.running(alone):
        await switch.left.wait()
    assert "no task and no autoscaler" in str(switch.switch.reason)


async def test_worker_that_works_without_an_autoscaler_goes_on() -> None:
    """The autoscaler's death stops no work."""
    await Switch(busy=True).looks(25, alone)


async def test_idle_worker_goes_on_while_an_autoscaler_leads() -> None:
    """A warm replica is kept for as long as somebody wants it so."""
    await Switch().looks(25, led)


@pytest.mark.parametrize("is_led", [None, silent], ids=["never connected", "answers no more"])
async def test_worker_whose_database_is_away_is_ended_even_busy(
    is_led: Callable[[], Awaitable[bool]] | None,
) -> None:
    """Its leases have run out, and its result would be dropped."""
    switch = Switch(busy=True)
    async with switch.running(is_led):
        await switch.left.wait()
    assert "the database has not answered" in str(switch.switch.reason)


async def test_autoscaler_leads_while_its_connection_holds_the_lock(database: Database) -> None:
    """What the switch asks is told by the lock itself, and not by a row that outlives its writer."""
    pool = await connect_pool(database.dsn, application_name="reveille text-worker", max_size=1)
    store = Store(pool)
    leader = await connect_pool(database.dsn, application_name="reveille autoscaler", max_size=1)
    assert not await store.is_led()
    await leader.execute("SELECT pg_advisory_lock($1, $2)", LEADER_SPACE, LEADER_KEY)
    assert await store.is_led()
    await leader.close()
    assert not await store.is_led()
    await pool.close()


@pytest.mark.parametrize(
    ("container_id", "seconds", "expected"),
    [
        (None, None, None),
        ("reveille-text-0", None, 1800.0),
        ("reveille-text-0", 0, None),
        (None, 60, 60.0),
    ],
)
def test_switch_is_on_where_an_autoscaler_started_the_container(
    container_id: str | None, seconds: float | None, expected: float | None
) -> None:
    """The dedicated server's worker may idle for ever."""
    settings = WorkerSettings(
        DATABASE_URL="postgresql://nowhere", container_id=container_id, dead_man_seconds=seconds
    )
    assert settings.lonely_seconds_max == expected


@pytest.mark.parametrize("reachable", [True, False], ids=["idle and alone", "no database"])
async def test_process_ends_with_status_zero_and_says_goodbye(
    database: Database, tmp_path: Path, reachable: bool
) -> None:
    """A real worker: its row says that it left, and nothing takes it for a crash."""
    worker = start_module(
        "text_worker",
        environment={
            "DATABASE_URL": database.dsn if reachable else "postgresql://127.0.0.1:9/none",
            "OLLAMA_HOST": "http://127.0.0.1:9",
            "REVEILLE_SERVER_ID": "w-1",
            "REVEILLE_CONTAINER_ID": "reveille-text-0",
            "REVEILLE_DEAD_MAN_SECONDS": "1",
            "REVEILLE_LOG_JSON": "true",
        },
        log_path=tmp_path / "worker.log",
    )
    try:
        status = await asyncio.to_thread(worker.process.wait, 40)
    finally:
        if worker.alive:
            os.kill(worker.process.pid, 9)
    assert status == 0, worker.log_tail(40)
    assert "dead_man_switch" in worker.log_tail(40)
    left = await database.fetch("SELECT status FROM processing_servers")
    assert all(row["status"] == "inactive" for row in left)
