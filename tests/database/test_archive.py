"""Retention on a real database: what moves, what stays, what comes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.database.conftest import Queue

from heartbeat_monitor.archive import Archive, rest_seconds
from heartbeat_monitor.config import MonitorSettings
from reveille.database import DATABASE_ERRORS
from reveille.outcome import Done, ResultRow
from reveille.testing import Database

DAYS = 30


@asynccontextmanager
async def at(database: Database, moment: str) -> AsyncIterator[Any]:
    """A connection whose clock stands at `moment`."""
    async with database.connect() as connection:
        await connection.execute("SELECT set_config('reveille.now', $1, false)", moment)
        yield connection


async def old_task(queue: Queue, status: str = "completed", **columns: Any) -> int:
    """A task that ended in January 2026."""
    async with at(queue.database, "2026-01-15T12:00Z") as january:
        task_id = await queue.add(by=january, **columns)
        await queue.set_status(task_id, status, by=january)
    return task_id


async def archived(queue: Queue, *, before: str = "2026-06-01T00:00Z", rows: int = 1000) -> int:
    """One call of the mover from the beginning; how many tasks it moved."""
    moved: int = await queue.database.fetchval(
        "SELECT moved FROM reveille_archive_tasks($1, 0, $2)", datetime.fromisoformat(before), rows
    )
    return moved


def archive_of(queue: Queue, **settings: Any) -> Archive:
    """The monitor's archive, whose passes a test begins itself."""
    known = MonitorSettings(DATABASE_URL=queue.database.dsn, archive_after_days=DAYS, **settings)
    return Archive(queue.database.pool, known, asyncio.Event())


async def test_old_finished_tasks_move_and_the_view_shows_both(queue: Queue) -> None:
    """A finished task leaves the queue for its month's partition, and no reader misses it."""
    old = await old_task(queue)
    young = await queue.add()

    assert await archived(queue) == 1

    assert await queue.statuses(old, young) == ["gone", "queued"]
    rows = await queue.database.fetch(
        "SELECT id, status, reveille_history IS NOT NULL AS moved FROM processing_queue_all ORDER BY id"
    )
    assert [tuple(row.values()) for row in rows] == [
        (old, "completed", True),
        (young, "queued", False),
    ]
    assert await queue.database.fetchval("SELECT id FROM processing_queue_archive_2026_01") == old


async def test_live_tasks_stay_however_old(queue: Queue) -> None:
    """Age alone moves nothing: only an end that lies before the limit does."""
    async with at(queue.database, "2026-01-15T12:00Z") as january:
        waiting = await queue.add(by=january)
        parent = await queue.add(by=january)
        blocked = await queue.add(by=january, depends_on=[parent])
        late = await queue.add(by=january)
    await queue.set_status(late, "completed")

    assert await archived(queue) == 0
    assert await queue.statuses(waiting, parent, blocked, late) == [
        "queued",
        "queued",
        "blocked",
        "completed",
    ]


async def test_attempts_and_steps_come_along_and_back(queue: Queue) -> None:
    """A redriven archived task is in the queue again, with all that was known of it."""
    registration = await queue.server()
    task_id = await queue.add()
    await queue.fail(await queue.claim_one(registration))
    await queue.database.execute(
        "INSERT INTO processing_progress (processing_queue_id, step_name, step_status) VALUES ($1, 'read', 'failed')",
        task_id,
    )
    before = await queue.row(task_id)
    attempts = await queue.database.fetch("SELECT * FROM task_attempts WHERE task_id = $1", task_id)
    assert await archived(queue, before="2100-01-01T00:00Z") == 1
    assert await queue.database.fetchval("SELECT count(*) FROM processing_progress") == 0

    assert await queue.database.fetchval("SELECT reveille_restore_task($1)", task_id) is True

    assert await queue.row(task_id) == before
    assert (
        await queue.database.fetch("SELECT * FROM task_attempts WHERE task_id = $1", task_id)
        == attempts
    )
    assert await queue.database.fetchval("SELECT step_name FROM processing_progress") == "read"
    assert await queue.database.fetchval("SELECT count(*) FROM processing_queue_archive") == 0


async def test_retry_of_an_archived_failure_queues_it_again(queue: Queue) -> None:
    """Redriving asks nobody to know where a task's row is kept."""
    task_id = await old_task(queue, "failed")
    await archived(queue)

    assert await queue.database.fetchval("SELECT retry_failed_task($1)", task_id) is True

    assert await queue.statuses(task_id) == ["queued"]


async def test_retry_of_an_archived_failure_revives_those_it_cancelled(queue: Queue) -> None:
    """Wherever the rows are kept: dependents come back too, wait, and run when their parents are done."""
    async with at(queue.database, "2026-01-15T12:00Z") as january:
        parent = await queue.add(by=january)
        child = await queue.add(by=january, depends_on=[parent])
        both = await queue.add(by=january, depends_on=[parent, child])
        alien = await queue.add(by=january, depends_on=[parent])
        await queue.set_status(alien, "cancelled", by=january)
        await queue.set_status(parent, "failed", by=january)
    assert await archived(queue) == 4

    assert await queue.database.fetchval("SELECT retry_failed_task($1)", parent) is True
    assert await queue.statuses(parent, child, both, alien) == [
        "queued",
        "blocked",
        "blocked",
        "gone",
    ]

    for ended, left in ((parent, ["queued", "blocked"]), (child, ["completed", "queued"])):
        await queue.set_status(ended, "completed")
        assert await queue.statuses(child, both) == left


async def test_retry_of_an_archived_success_changes_nothing(queue: Queue) -> None:
    """A completed task stays where it is: there is nothing to redrive."""
    task_id = await old_task(queue)
    await archived(queue)

    assert await queue.database.fetchval("SELECT retry_failed_task($1)", task_id) is False
    assert await queue.statuses(task_id) == ["gone"]


@pytest.mark.parametrize(
    ("ended", "status", "reason"),
    [("completed", "queued", None), ("failed", "cancelled", "parent_failed")],
)
async def test_dependency_on_an_archived_parent_counts_its_end(
    queue: Queue, ended: str, status: str, reason: str | None
) -> None:
    """A task may depend on one that has left the queue, and finds out how that ended."""
    parent = await old_task(queue, ended)
    await archived(queue)

    child = await queue.add(depends_on=[parent])

    row = await queue.row(child)
    assert (row["status"], row["failure_reason"]) == (status, reason)


async def test_parent_of_a_waiting_task_stays(queue: Queue) -> None:
    """A parent is not moved while the word of its end has not reached a dependent."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])
    async with queue.database.connect() as connection:
        await connection.execute("SET session_replication_role = replica")  # triggers are off
        await connection.execute(
            "UPDATE processing_queue SET status = 'completed', completed_at = '2026-01-15Z' WHERE id = $1",
            parent,
        )

    assert await archived(queue) == 0
    assert await queue.statuses(parent, child) == ["completed", "blocked"]


async def test_moving_tells_nobody_that_tasks_are_gone(queue: Queue) -> None:
    """Who follows live changes does not hear of a deletion that is none."""
    await old_task(queue)
    async with queue.listening("task_changed") as ear, queue.database.connect() as listener:
        await listener.execute("SELECT pg_advisory_lock(5395020, 2)")
        assert await archived(queue) == 1
        assert await ear.heard() == []


async def test_columns_of_the_backend_come_along(queue: Queue) -> None:
    """A column that the backend added after the migration is kept, and one it dropped is no hindrance."""
    await queue.database.execute(
        "ALTER TABLE processing_queue ADD COLUMN batch_label text NOT NULL DEFAULT '-'"
    )
    first = await old_task(queue, batch_label="spring")
    assert await archived(queue) == 1
    await queue.database.execute("ALTER TABLE processing_queue DROP COLUMN batch_label")
    await old_task(queue)
    assert await archived(queue) == 1
    kept = await queue.database.fetchval(
        "SELECT batch_label FROM processing_queue_archive WHERE id = $1", first
    )
    assert kept == "spring"


async def test_foreign_key_of_the_backend_stops_archiving_with_a_reason(queue: Queue) -> None:
    """Rows of the backend that refer to tasks are neither deleted nor orphaned."""
    task_id = await old_task(queue)
    await queue.database.execute(
        "CREATE TABLE invoices (task_id bigint REFERENCES processing_queue (id) ON DELETE CASCADE)"
    )
    await queue.database.execute("INSERT INTO invoices VALUES ($1)", task_id)

    with pytest.raises(DATABASE_ERRORS, match="foreign keys of invoices"):
        await archived(queue)

    assert await queue.database.fetchval("SELECT count(*) FROM invoices") == 1


async def test_old_months_are_dropped_whole(queue: Queue) -> None:
    """The archive forgets a month when all of it is older than the limit, and not before."""
    await old_task(queue)
    await archived(queue)

    async def forget(moment: datetime) -> list[str]:
        dropped: list[str] = await queue.database.fetchval(
            "SELECT reveille_forget_archive($1)", moment
        )
        return dropped

    assert await forget(datetime(2026, 1, 31, tzinfo=UTC)) == []
    assert await forget(datetime(2026, 2, 1, tzinfo=UTC)) == ["processing_queue_archive_2026_01"]
    assert await queue.database.fetchval("SELECT count(*) FROM processing_queue_all") == 0


async def test_a_pass_moves_everything_old_in_batches_past_rows_that_stay(queue: Queue) -> None:
    """Old live tasks at the front of the queue do not hide finished ones behind them."""
    async with at(queue.database, "2026-01-15T12:00Z") as january:
        await january.execute(
            "INSERT INTO processing_queue (document_id, task_type) SELECT 1, 'deck_date_extraction' "
            "FROM generate_series(1, 50)"
        )
        await january.execute(
            "UPDATE processing_queue SET status = 'completed' WHERE id > 10 AND id % 10 <> 0"
        )
    assert await archive_of(queue, rows_max=7).one_pass(DAYS) == 36
    assert await queue.database.fetchval("SELECT count(*) FROM processing_queue") == 14


async def test_a_pass_begins_at_the_first_task_that_the_last_one_left(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody walks over all that ever moved, but now and then somebody looks at everything."""
    moved = [await old_task(queue) for _ in range(3)]
    await queue.add()
    archive = archive_of(queue, rows_max=2)
    assert await archive.one_pass(DAYS) == 3
    await queue.database.execute("SELECT reveille_restore_task($1)", moved[1])
    later = await old_task(queue)

    assert await archive.one_pass(DAYS) == 1
    assert await queue.statuses(moved[1], later) == ["completed", "gone"]

    monkeypatch.setattr("heartbeat_monitor.archive.FROM_THE_FIRST_SECONDS", 0.0)
    assert await archive.one_pass(DAYS) == 1
    assert await queue.statuses(moved[1]) == ["gone"]


async def test_a_pass_that_leaves_nothing_begins_no_lower_than_its_last_batch(queue: Queue) -> None:
    """Of an empty queue, too, the dead rows are behind us."""
    first = await old_task(queue)
    others = [await old_task(queue) for _ in range(3)]
    archive = archive_of(queue, rows_max=2)
    assert await archive.one_pass(DAYS) == 4
    await queue.database.execute("SELECT reveille_restore_task($1)", first)
    later = await old_task(queue)

    assert await archive.one_pass(DAYS) == 1
    assert await queue.statuses(first, *others, later) == ["completed", *["gone"] * 4]


async def test_task_that_somebody_held_is_moved_by_the_next_pass(queue: Queue) -> None:
    """A pass begins no higher than a row that it had to skip."""
    held, free = await old_task(queue), await old_task(queue)
    archive = archive_of(queue)
    async with queue.database.connect() as holder, holder.transaction():
        await holder.execute("SELECT FROM processing_queue WHERE id = $1 FOR UPDATE", held)
        assert await archive.one_pass(DAYS) == 1
        assert await queue.statuses(held, free) == ["completed", "gone"]

    assert await archive.one_pass(DAYS) == 1
    assert await queue.statuses(held) == ["gone"]


def test_slow_batches_rest_longer() -> None:
    """Quick ones may take half of a connection, slow ones a quarter."""
    assert rest_seconds(0.1) == 0.1
    assert rest_seconds(0.5) == 1.5


async def test_passes_go_on_while_somebody_is_told_of_new_tasks(queue: Queue) -> None:
    """An open board beside steady INSERTs does not stop the archive, nor the archive the board."""
    await old_task(queue)
    async with queue.database.connect() as writer, writer.transaction():
        await writer.execute("SELECT pg_advisory_xact_lock(5395020, 4)")
        assert await archive_of(queue).one_pass(DAYS) == 1


@pytest.mark.parametrize("ended", ["-infinity", "0044-03-15 12:00Z BC"])
async def test_end_that_no_month_holds_stays_and_stops_nobody(queue: Queue, ended: str) -> None:
    """History that a backend brought along may say anything; the others move past it."""
    odd, old = await old_task(queue), await old_task(queue)
    await queue.database.execute(
        "UPDATE processing_queue SET completed_at = $2::text::timestamptz WHERE id = $1", odd, ended
    )

    assert await archived(queue) == 1
    assert await queue.statuses(odd, old) == ["completed", "gone"]


async def test_completed_results_survive_the_move(queue: Queue) -> None:
    """The results of an archived task stay where the backend reads them."""
    await queue.add("deck_date_extraction")
    values = {"kind": "deck_date", "value": "March 2026", "model": "m"}
    done = Done(results=[ResultRow("extraction_results", values)])
    await queue.end(await queue.claim_one(), outcome=done)
    assert await archived(queue, before="2100-01-01T00:00Z") == 1
    assert await queue.database.fetchval("SELECT value FROM extraction_results") == "March 2026"
