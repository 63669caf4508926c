"""docs/operations.md, "What to back up": a dump of a queue at work, restored on a fresh server."""

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.services.test_heartbeat_monitor import monitor_of, running
from tests.services.test_worker_in_trouble import FACT, add, ended, living, worker_of

from reveille.context import TaskContext
from reveille.database import connect_pool
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import check_schema
from reveille.outcome import Done, Outcome, ResultRow
from reveille.postgres_binaries import find_binaries
from reveille.testing import Database, eventually

HELD_BY_THE_OLD = 2  # the document whose tasks are under way when the dump is taken


def tool(name: str, *arguments: str) -> None:
    """One of the programs that come with Postgres."""
    done = subprocess.run(
        [find_binaries().bin_dir / name, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def dump(dsn: str, folder: Path) -> None:
    tool(
        *("pg_dumpall", "--roles-only", "--no-role-passwords"),
        *(f"--file={folder / 'roles.sql'}", f"--dbname={dsn}"),
    )
    tool("pg_dump", "--format=custom", f"--file={folder / 'queue.dump'}", f"--dbname={dsn}")


@contextmanager
def restored(folder: Path) -> Iterator[str]:
    """A server that never saw Reveille, with what `dump` left; its DSN."""
    with EmbeddedPostgres(trust=True) as fresh:
        tool("psql", "--quiet", f"--file={folder / 'roles.sql'}", f"--dbname={fresh.dsn}")
        tool("psql", "--quiet", "--command=CREATE DATABASE restored", f"--dbname={fresh.dsn}")
        dsn = urlunsplit(urlsplit(fresh.dsn)._replace(path="/restored"))
        tool("pg_restore", "--exit-on-error", f"--dbname={dsn}", str(folder / "queue.dump"))
        yield dsn


async def need_tools(database: Database) -> None:
    server = int(await database.fetchval("SHOW server_version_num")) // 10_000
    binaries = find_binaries()
    if not all((binaries.bin_dir / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
        pytest.skip("needs pg_dump, pg_restore and psql")
    if binaries.major < server:
        pytest.skip(f"pg_dump {binaries.major} cannot dump a server {server}")


async def test_dump_of_a_queue_at_work_goes_on_on_a_fresh_server(
    database: Database, tmp_path: Path
) -> None:
    """What ran at that moment runs again, what waited goes on, what had ended stays; each ends once."""
    await need_tools(database)
    at_work: set[int] = set()
    hold = asyncio.Event()

    async def handle(context: TaskContext) -> Outcome:
        if context.task.document_id == HELD_BY_THE_OLD and context.task.attempt == 1:
            at_work.add(context.task.task_id)
            await hold.wait()
        return Done(results=[ResultRow("extraction_results", FACT)])

    async with living(worker_of(database, handle), database):
        finished = await add(database)
        await ended(database, finished)
        under_way = [await add(database, document_id=HELD_BY_THE_OLD) for _ in range(2)]
        await eventually(lambda: at_work == set(under_way))
        waiting = await add(database)
        blocked = await add(database, depends_on=[under_way[0]])
        soon = await database.fetchval("SELECT reveille_now()") + timedelta(seconds=1)
        scheduled = await add(database, next_retry_at=soon)
        await asyncio.to_thread(dump, database.dsn, tmp_path)
        hold.set()

    with restored(tmp_path) as dsn:
        pool = await connect_pool(dsn, application_name="test")
        try:
            after = Database(dsn, pool)
            async with pool.acquire() as connection:
                await check_schema(connection)
            worker = worker_of(after, handle, server_id="w-2")
            monitor = monitor_of(after, lease_seconds=1, tick_seconds=0.1)
            async with running(monitor), living(worker, after):
                await eventually(lambda: _all_ended(after), within_seconds=30)
            tasks = {row["id"]: row for row in await after.fetch("SELECT * FROM processing_queue")}
            results = await after.fetch("SELECT task_id FROM extraction_results ORDER BY task_id")
        finally:
            pool.terminate()

    assert {row["status"] for row in tasks.values()} == {"completed"}
    assert [row["task_id"] for row in results] == sorted(tasks)
    assert set(tasks) == {finished, *under_way, waiting, blocked, scheduled}
    assert (tasks[finished]["completed_by"], tasks[finished]["attempt"]) == ("w-1", 1)
    again = {tasks[task_id]["attempt"] for task_id in under_way}
    assert again == {2}
    assert {tasks[task_id]["completed_by"] for task_id in (*under_way, waiting)} == {"w-2"}


async def _all_ended(database: Database) -> bool:
    left = "SELECT count(*) FROM processing_queue WHERE status NOT IN ('completed', 'failed', 'cancelled')"
    return bool(await database.fetchval(left) == 0)
