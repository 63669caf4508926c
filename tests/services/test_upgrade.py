"""An older schema with live tasks migrates while a worker of that time goes on."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests import roles

from reveille.context import TaskContext
from reveille.migrate import check_schema, migrate, read_migrations
from reveille.outcome import Done, Outcome, ResultRow
from reveille.settings import WorkerSettings
from reveille.telemetry import configure
from reveille.testing import Database, eventually
from reveille.worker import WorkerService

MIGRATIONS = Path(__file__).parents[2] / "db" / "migrations"
FIRST_COMPLETE = 7  # the oldest schema on which every service works
TASK_TYPE = "deck_date_extraction"
FACT = {"kind": "deck_date", "value": "2025-03", "model": "rules-stub"}


class WorkerOfThen(WorkerService):
    """A worker that was written for the older schema: its boot guard knows no later file."""

    async def _check_schema(self) -> None:
        return None


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The migrations as they were then."""
    for file in sorted(MIGRATIONS.glob("*.sql"))[:FIRST_COMPLETE]:
        shutil.copy(file, tmp_path)
    return tmp_path


def worker_of_then(database: Database, hold: asyncio.Event, begun: asyncio.Event) -> WorkerOfThen:
    """One slot; its first task is in progress until `hold`."""

    async def handler(_options: Any, _context: TaskContext) -> Outcome:
        begun.set()
        await hold.wait()
        return Done(results=[ResultRow("extraction_results", FACT)])

    async def no_model(_models: Any) -> None:
        return None

    worker = WorkerOfThen(
        WorkerSettings(
            DATABASE_URL=database.dsn, server_id="w-then", slots=1, heartbeat_seconds=0.2
        ),
        configure("test"),
        pool="text",
        handlers={TASK_TYPE: handler},
    )
    worker.model.ready = no_model  # type: ignore[method-assign]
    return worker


async def add(database: Database, **columns: Any) -> int:
    columns = {"document_id": 1, "task_type": TASK_TYPE} | columns
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue ({', '.join(columns)}) VALUES ({marks}) RETURNING id",  # noqa: S608
        *columns.values(),
    )
    return task_id


async def test_tasks_of_an_older_schema_finish_while_it_migrates(
    empty_database: Database, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to drain workers before `reveille migrate`: what runs goes on, what waits is taken."""
    monkeypatch.setattr(roles, "ROLES", {})  # there were none then
    database = empty_database
    await migrate(database.dsn, directory=older)
    running = await add(database)
    hold, begun = asyncio.Event(), asyncio.Event()
    worker = worker_of_then(database, hold, begun)
    life = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(20):
            await begun.wait()
        waiting = await add(database)
        dependent = await add(database, depends_on=[running])

        assert len(await migrate(database.dsn)) == len(read_migrations()) - FIRST_COMPLETE
        async with database.connect() as connection:
            await check_schema(connection)
        later = await add(database)
        hold.set()

        ids = [running, waiting, dependent, later]

        async def all_completed() -> bool:
            left = "SELECT count(*) FROM processing_queue WHERE status <> 'completed'"
            return await database.fetchval(left) == 0

        await eventually(all_completed)
        results = await database.fetch("SELECT task_id FROM extraction_results ORDER BY task_id")
        assert [row["task_id"] for row in results] == ids
        assert await database.fetchval("SELECT max(attempt) FROM processing_queue") == 1
    finally:
        hold.set()
        worker.stopping.set()
        await life
        await worker.telemetry.aclose()
