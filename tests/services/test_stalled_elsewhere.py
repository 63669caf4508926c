"""Two workers, and a task that makes no progress on the first: it is the second's to try."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.services.test_worker_in_trouble import add, done, ended, living, server, worker_of

from reveille.context import TaskContext
from reveille.outcome import Outcome
from reveille.testing import Database, eventually


@asynccontextmanager
async def stalled(database: Database, go_on: asyncio.Event) -> AsyncIterator[int]:
    """A task that stalled on `w-1`, which has looked for tasks since and has a slot free for it; the one
    slot of `w-2` is in use until `go_on`.
    """
    full = asyncio.Event()

    async def stalls_once(context: TaskContext) -> Outcome:
        if context.task.attempt == 1:
            await asyncio.Event().wait()
        return await done(context)

    async def works(context: TaskContext) -> Outcome:
        if context.task.document_id == 2:
            full.set()
            await go_on.wait()
        return await done(context)

    async with living(worker_of(database, works, server_id="w-2", slots=1), database):
        await add(database, document_id=2)
        await full.wait()
        await database.execute("UPDATE task_types SET stall_seconds = 1")
        async with living(worker_of(database, stalls_once), database):
            task_id = await add(database)
            claimable_at = await eventually(
                lambda: database.fetchval(
                    "SELECT claimable_at FROM processing_queue "
                    "WHERE id = $1 AND status <> 'processing' AND retry_count = 1 AND next_retry_at IS NULL",
                    task_id,
                )
            )

            async def has_looked() -> bool:
                beat = await server(database, "last_heartbeat")  # each brings a look about
                return bool((beat - claimable_at).total_seconds() > 0.5)

            await eventually(has_looked)
            try:
                yield task_id
            finally:
                go_on.set()


async def row_of(database: Database, task_id: int) -> Any:
    return await database.fetchrow("SELECT * FROM processing_queue WHERE id = $1", task_id)


async def test_stalled_task_is_tried_by_the_other_worker(database: Database) -> None:
    """A machine that hangs would hang again: the other one gets the task, though it must wait for it."""
    go_on = asyncio.Event()
    async with stalled(database, go_on) as task_id:
        assert (await row_of(database, task_id))["status"] == "queued"
        go_on.set()
        row = await ended(database, task_id)

    assert (row["status"], row["attempt"], row["completed_by"]) == ("completed", 2, "w-2")


async def test_stalled_task_comes_back_when_the_other_worker_drains(database: Database) -> None:
    """Nothing is left to a server that will not take it."""
    go_on = asyncio.Event()
    async with stalled(database, go_on) as task_id:
        await database.execute("UPDATE processing_servers SET status = 'draining' WHERE id = 'w-2'")
        row = await ended(database, task_id)

    assert (row["status"], row["attempt"], row["completed_by"]) == ("completed", 2, "w-1")
