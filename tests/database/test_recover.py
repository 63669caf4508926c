"""reveille_recover_tasks and cleanup_expired_locks: tasks whose holder is gone go back."""

from datetime import timedelta
from typing import Any

import pytest


async def recover(queue: Any, **arguments: Any) -> list[tuple[int, str, str]]:
    names = ", ".join(f"{name} => ${n}" for n, name in enumerate(arguments, start=1))
    rows = await queue.database.fetch(
        f"SELECT * FROM reveille_recover_tasks({names})",  # noqa: S608
        *arguments.values(),
    )
    return [(row["task_id"], row["server_id"], row["fate"]) for row in rows]


async def lose(queue: Any, server_id: str = "worker-1") -> None:
    await queue.database.execute(
        "UPDATE processing_servers SET status = 'lost' WHERE id = $1", server_id
    )


async def test_task_of_a_living_server_stays(queue: Any) -> None:
    """Recovery touches nothing that is in good hands."""
    task_id = await queue.add()
    await queue.claim_one()

    assert await recover(queue) == []
    assert await queue.statuses(task_id) == ["processing"]


@pytest.mark.parametrize("status", ["lost", "inactive"])
async def test_task_of_a_server_that_is_gone_goes_back(queue: Any, status: str) -> None:
    """It is claimable at once, an attempt is spent, and the attempt is on record."""
    task_id = await queue.add()
    await queue.claim_one()
    await queue.database.execute("UPDATE processing_servers SET status = $1", status)

    async with queue.listening("task_ready") as wakes:
        assert await recover(queue) == [(task_id, "worker-1", "queued")]
        assert await wakes.heard() == ["text"]

    task = await queue.row(task_id)
    assert (task["status"], task["retry_count"], task["lost_count"], task["error_count"]) == (
        "queued",
        1,
        1,
        1,
    )
    assert [task[n] for n in ("lease_token", "locked_by", "locked_at", "lock_expires_at")] == [
        None
    ] * 4
    assert task["last_error"] == "server worker-1 stopped answering while working on it"
    assert task["claimable_at"] > task["started_at"]
    assert await queue.attempts(task_id) == [("lost", "server_lost")]


async def test_task_of_a_silent_server_goes_back_after_the_lease(queue: Any) -> None:
    """Silence for longer than the lease counts as death, also before anybody declared it."""
    task_id = await queue.add()
    claim = await queue.claim_one()
    await queue.database.set_now(claim.started_at + timedelta(seconds=29))
    assert await recover(queue, lease_seconds=30.0) == []
    await queue.database.set_now(claim.started_at + timedelta(seconds=31))

    assert await recover(queue, lease_seconds=30.0) == [(task_id, "worker-1", "queued")]


async def test_task_held_for_too_long_goes_back_from_a_living_server(queue: Any) -> None:
    """The time limit holds even where the server's heartbeat goes on."""
    task_id = await queue.add()
    claim = await queue.claim_one()
    await queue.database.set_now(claim.started_at + timedelta(seconds=600 + 61))
    await queue.database.execute("UPDATE processing_servers SET last_heartbeat = reveille_now()")

    assert await recover(queue) == [(task_id, "worker-1", "queued")]
    assert await queue.attempts(task_id) == [("lost", "lock_expired")]
    assert (await queue.row(task_id))["last_error"] == (
        "server worker-1 held it for longer than its time limit"
    )


async def test_task_of_a_server_whose_row_is_deleted_goes_back(queue: Any) -> None:
    """An operator who tidies up strands nothing until the time limit."""
    task_id = await queue.add()
    await queue.claim_one()
    await queue.database.execute("DELETE FROM processing_servers WHERE id = 'worker-1'")

    assert await queue.statuses(task_id) == ["queued"]
    assert await queue.attempts(task_id) == [("lost", "server_lost")]


async def test_task_that_is_held_for_too_long_again_and_again_is_no_poison(queue: Any) -> None:
    """Nobody died: its attempts run out instead, and the words say why."""
    task_id = await queue.add(max_retries=3)
    for _ in range(4):
        claim = await queue.claim_one()
        await queue.database.set_now(claim.started_at + timedelta(seconds=600 + 61))
        await queue.database.execute(
            "UPDATE processing_servers SET last_heartbeat = reveille_now()"
        )
        await recover(queue)

    task = await queue.row(task_id)
    assert (task["status"], task["failure_reason"], task["lost_count"]) == (
        "failed",
        "lock_expired",
        0,
    )
    assert task["last_error"] == "server worker-1 held it for longer than its time limit"


async def test_task_of_an_unregistered_holder_goes_back_when_its_time_is_over(queue: Any) -> None:
    """Somebody who never registered has the task's time limit and no more."""
    task_id = await queue.add(status="processing", locked_by="somebody")
    assert await recover(queue) == []
    now = await queue.database.fetchval("SELECT reveille_now()")
    await queue.database.set_now(now + timedelta(seconds=601))

    assert await recover(queue) == [(task_id, "somebody", "queued")]


async def test_task_without_any_holder_goes_back_when_its_time_is_over(queue: Any) -> None:
    """`SET status = 'processing'` by hand, without a name, strands nothing."""
    task_id = await queue.add(status="processing")
    now = await queue.database.fetchval("SELECT reveille_now()")
    await queue.database.set_now(now + timedelta(seconds=601))

    assert await queue.database.fetchval("SELECT cleanup_expired_locks()") == 1
    assert await queue.statuses(task_id) == ["queued"]


async def test_poison_task_is_set_aside_after_three_dead_workers(queue: Any) -> None:
    """A deck that kills its worker does not kill all of them, and the row says what happened."""
    task_id = await queue.add(max_retries=100)
    fates = []
    for n in range(1, 4):
        await queue.claim_one(await queue.server(f"worker-{n}"))
        await lose(queue, f"worker-{n}")
        fates += [fate for _, _, fate in await recover(queue)]

    task = await queue.row(task_id)
    assert fates == ["queued", "queued", "failed"]
    assert (task["failure_reason"], task["completed_by"], task["lost_count"]) == (
        "poison",
        "worker-3",
        3,
    )
    assert task["last_error"].startswith("set aside: 3 workers died or went silent")
    assert task["completed_at"] is not None


async def test_task_without_attempts_left_fails(queue: Any) -> None:
    """A lost worker spends an attempt like any other failure, and dependents hear of the end."""
    task_id = await queue.add(max_retries=0)
    child = await queue.add(depends_on=[task_id])
    await queue.claim_one()
    await lose(queue)

    assert await recover(queue) == [(task_id, "worker-1", "failed")]
    assert (await queue.row(task_id))["failure_reason"] == "server_lost"
    assert await queue.statuses(child) == ["cancelled"]


async def test_recover_takes_at_most_the_rows_it_may(queue: Any) -> None:
    """One statement never holds more rows than its limit."""
    for _ in range(5):
        await queue.add()
    await queue.claim(await queue.server(), 5)
    await lose(queue)

    assert len(await recover(queue, limit_rows=2)) == 2
    assert len(await recover(queue)) == 3


async def test_recover_passes_over_rows_that_somebody_holds(queue: Any) -> None:
    """A task that is being settled at this moment is not waited for."""
    ids = [await queue.add(), await queue.add()]
    await queue.claim(await queue.server(), 2)
    await lose(queue)
    async with queue.database.connect() as other, other.transaction():
        await other.execute("SELECT 1 FROM processing_queue WHERE id = $1 FOR UPDATE", ids[0])

        assert [task_id for task_id, _, _ in await recover(queue)] == [ids[1]]


async def test_cleanup_expired_locks_leaves_silence_to_the_monitor(queue: Any) -> None:
    """After an outage everybody has been silent, and this function cannot know of it."""
    tasks = [await queue.add(), await queue.add()]
    await queue.claim(await queue.server(), 2)
    await queue.database.execute(
        "UPDATE processing_servers SET last_heartbeat = reveille_now() - interval '60 seconds'"
    )

    assert await queue.database.fetchval("SELECT cleanup_expired_locks()") == 0
    assert await queue.statuses(*tasks) == ["processing"] * 2


async def test_cleanup_expired_locks_counts_what_it_gave_back(queue: Any) -> None:
    """The function of the existing system takes from whoever is known to be gone."""
    for _ in range(2):
        await queue.add()
    await queue.claim(await queue.server(), 2)
    assert await queue.database.fetchval("SELECT cleanup_expired_locks()") == 0
    await lose(queue)

    assert await queue.database.fetchval("SELECT cleanup_expired_locks()") == 2
