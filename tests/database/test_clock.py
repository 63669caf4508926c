"""reveille_now: one clock, the database's, that tests can set."""

from datetime import UTC, datetime, timedelta
from typing import Any


async def test_clock_is_the_true_time_unless_set(queue: Any) -> None:
    """And it goes on within a transaction, unlike now()."""
    async with queue.database.connect() as connection, connection.transaction():
        first = await connection.fetchval("SELECT reveille_now()")
        second = await connection.fetchval("SELECT reveille_now()")

    assert first < second
    assert abs(first - datetime.now(UTC)) < timedelta(minutes=5)


async def test_clock_that_is_set_stands_still_everywhere(queue: Any) -> None:
    """Triggers, statements and functions take their time from it."""
    moment = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    await queue.database.set_now(moment)

    task_id = await queue.add()
    claim = await queue.claim_one()
    await queue.end(claim)

    task = await queue.row(task_id)
    server = await queue.database.fetchrow("SELECT * FROM processing_servers")
    assert {task[n] for n in ("created_at", "claimable_at", "started_at", "completed_at")} == {
        moment
    }
    assert {server[n] for n in ("last_heartbeat", "created_at", "started_at")} == {moment}
    assert task["processing_duration_seconds"] == 0


async def test_clock_can_be_set_for_one_session(queue: Any) -> None:
    """SET travels alone; an empty value is the true time."""
    async with queue.database.connect() as connection:
        await connection.execute("SET reveille.now = '2030-01-01 00:00:00+00'")
        assert (await connection.fetchval("SELECT reveille_now()")).year == 2030
        await connection.execute("SET reveille.now = ''")
        now = await connection.fetchval("SELECT reveille_now()")

    assert abs(now - datetime.now(UTC)) < timedelta(minutes=5)


async def test_time_travel_makes_scheduled_tasks_due(queue: Any) -> None:
    """A day passes by one statement."""
    now = await queue.database.fetchval("SELECT reveille_now()")
    task_id = await queue.add(next_retry_at=now + timedelta(days=1))
    await queue.database.set_now(now + timedelta(days=2))

    await queue.database.execute("SELECT * FROM get_next_processing_task('gpu', '{}')")

    assert await queue.statuses(task_id) == ["queued"]
    await queue.database.set_now(None)
    assert await queue.database.fetchval("SELECT reveille_now()") < now + timedelta(days=1)
