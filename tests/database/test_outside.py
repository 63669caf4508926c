"""A status that somebody else sets by a plain UPDATE, or a DELETE, does what a service would have done."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from reveille.outcome import Done
from reveille.store import End


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        ("completed", ("outside", "status_completed")),
        ("failed", ("outside", "status_failed")),
        ("cancelled", ("cancelled", "status_cancelled")),
        ("queued", ("outside", "status_queued")),
        ("retry", ("outside", "status_retry")),
    ],
)
async def test_status_set_on_a_running_task_ends_its_lease(
    queue: Any, status: str, attempt: tuple[str, str]
) -> None:
    """The holder hears it, its late result is dropped, and the attempt is on record."""
    task_id = await queue.add()
    claim = await queue.claim_one()

    async with queue.listening("task_cancel") as cancels:
        await queue.set_status(task_id, status)
        assert await cancels.heard() == [str(task_id)]

    task = await queue.row(task_id)
    assert task["status"] == status
    assert [task[n] for n in ("lease_token", "locked_by", "locked_at", "lock_expires_at")] == [
        None
    ] * 4
    assert await queue.attempts(task_id) == [attempt]
    assert await queue.store.settle([End(claim=claim, outcome=Done())]) == {}


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_final_status_set_from_outside_is_complete(queue: Any, status: str) -> None:
    """Times, duration, progress and the server that had it are filled in."""
    task_id = await queue.add()
    await queue.claim_one()

    await queue.set_status(task_id, status)

    task = await queue.row(task_id)
    assert task["completed_at"] >= task["started_at"]
    assert (task["processing_duration_seconds"], task["completed_by"]) == (0, "worker-1")
    assert task["progress_percentage"] == (100 if status == "completed" else 0)
    assert task["failure_reason"] == {"completed": None, "failed": "outside"}.get(status, status)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_final_status_set_from_outside_moves_dependents(queue: Any, status: str) -> None:
    """Dependents do not care who ended their parent."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])
    await queue.claim_one()

    await queue.set_status(parent, status)

    assert await queue.statuses(child) == ["queued" if status == "completed" else "cancelled"]


async def test_task_given_back_by_hand_is_claimable_again(queue: Any) -> None:
    """`SET status = 'queued'` on a stuck task is what operators do."""
    task_id = await queue.add()
    first = await queue.claim_one()

    async with queue.listening("task_ready") as wakes:
        await queue.set_status(task_id, "queued")
        assert await wakes.heard() == ["text"]

    task = await queue.row(task_id)
    assert (task["completed_by"], task["completed_at"]) == (None, None)
    second = await queue.claim_one()
    assert second.attempt == 2
    assert second.lease_token > first.lease_token


async def test_claim_by_hand_gets_a_lease(queue: Any) -> None:
    """An UPDATE to processing is held to the type's time limit, like any claim."""
    task_id = await queue.add()

    await queue.database.execute(
        "UPDATE processing_queue SET status = 'processing', locked_by = 'old-gpu' WHERE id = $1",
        task_id,
    )

    task = await queue.row(task_id)
    assert (task["locked_by"], task["attempt"]) == ("old-gpu", 1)
    assert task["lease_token"] is not None
    assert task["lock_expires_at"] - task["started_at"] == timedelta(seconds=600)


async def test_claim_by_hand_may_name_its_own_end(queue: Any) -> None:
    """The existing functions set lock_expires_at themselves; theirs is kept."""
    task_id = await queue.add()

    task = await queue.database.fetchrow(
        "UPDATE processing_queue SET status = 'processing', lock_expires_at = now() + interval '5 min' "
        "WHERE id = $1 RETURNING lock_expires_at - now() AS left",
        task_id,
    )

    assert timedelta(minutes=4) < task["left"] <= timedelta(minutes=5)


async def test_redriven_task_starts_afresh(queue: Any) -> None:
    """Counters of the first life do not count against the second."""
    task_id = await queue.add(max_retries=0)
    await queue.fail(await queue.claim_one())
    await queue.database.execute(
        "UPDATE processing_queue SET retry_count = 0, lost_count = 2 WHERE id = $1", task_id
    )

    await queue.set_status(task_id, "queued")

    task = await queue.row(task_id)
    assert (task["status"], task["retry_count"], task["lost_count"]) == ("queued", 0, 0)
    assert (task["completed_at"], task["failure_reason"], task["progress_percentage"]) == (
        None,
        None,
        0,
    )
    assert task["claimable_at"] > task["created_at"]


async def test_redrive_may_wait(queue: Any) -> None:
    """A redrive with a time in the future waits for it."""
    task_id = await queue.add()
    await queue.set_status(task_id, "failed")

    await queue.database.execute(
        "UPDATE processing_queue SET status = 'queued', next_retry_at = now() + interval '1 hour'"
    )

    assert await queue.statuses(task_id) == ["retry"]


async def test_waiting_retry_queued_by_hand_is_claimable_now(queue: Any) -> None:
    """Who sets a waiting task to queued does not mean later."""
    now = await queue.database.fetchval("SELECT reveille_now()")
    task_id = await queue.add(next_retry_at=now + timedelta(hours=1))

    await queue.set_status(task_id, "queued")

    task = await queue.row(task_id)
    assert (task["status"], task["next_retry_at"]) == ("queued", None)


async def test_retry_without_a_time_is_due_at_once(queue: Any) -> None:
    """A plain UPDATE to retry does not strand the task."""
    task_id = await queue.add()

    async with queue.listening("timer_changed") as timers:
        await queue.set_status(task_id, "retry")
        assert await timers.heard() == [""]

    task = await queue.row(task_id)
    assert task["next_retry_at"] <= await queue.database.fetchval("SELECT reveille_now()")


async def test_unknown_status_is_refused(queue: Any) -> None:
    """A word that no service knows would make the task invisible."""
    task_id = await queue.add()

    with pytest.raises(asyncpg.CheckViolationError, match="processing_queue_status_known"):
        await queue.set_status(task_id, "done")


async def test_deleted_running_task_stops_its_worker(queue: Any) -> None:
    """The holder hears it, and finds on its next write that nothing is there."""
    task_id = await queue.add()
    claim = await queue.claim_one()

    async with queue.listening("task_cancel") as cancels:
        await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", task_id)
        assert await cancels.heard() == [str(task_id)]

    assert await queue.store.settle([End(claim=claim, outcome=Done())]) == {}
    assert not await queue.store.save_checkpoint(claim, "slide-1", {})


async def test_completion_from_outside_drops_the_checkpoints(queue: Any) -> None:
    """What a finished task no longer needs is not kept."""
    task_id = await queue.add()
    await queue.store.save_checkpoint(await queue.claim_one(), "slide-1", {"a": 1})

    await queue.set_status(task_id, "completed")

    assert await queue.database.fetchval("SELECT count(*) FROM task_checkpoints") == 0
    await queue.set_status(task_id, "queued")
    assert await queue.store.load_checkpoints(task_id) == {}


async def test_update_of_other_columns_leaves_the_lease_alone(queue: Any) -> None:
    """Only a status that changes takes a task away from its holder."""
    await queue.add()
    claim = await queue.claim_one()

    async with queue.listening("task_cancel") as cancels:
        await queue.database.execute(
            "UPDATE processing_queue SET company_id = 'acme', status = 'processing'"
        )
        assert await cancels.heard() == []

    await queue.end(claim)
    assert await queue.statuses(claim.task_id) == ["completed"]


async def test_queued_task_that_is_postponed_waits(queue: Any) -> None:
    """`next_retry_at` means not before, whoever sets it; taken back, the task is due at once."""
    task_id = await queue.add()
    postpone = "UPDATE processing_queue SET next_retry_at = now() + $1::interval"

    async with queue.listening("timer_changed") as timers:
        await queue.database.execute(postpone, timedelta(hours=2))
        assert await queue.statuses(task_id) == ["retry"]
        assert await timers.heard() == [""]
        await queue.database.execute(postpone, timedelta(hours=1))
        assert await timers.heard() == [""], "nobody looks before the time that was set first"
        await queue.database.execute("UPDATE processing_queue SET next_retry_at = NULL")
        assert await timers.heard() == [""]

    task = await queue.row(task_id)
    assert task["next_retry_at"] <= await queue.database.fetchval("SELECT reveille_now()")


@pytest.mark.parametrize("status", ["queued", "retry", "blocked"])
async def test_time_that_never_comes_is_refused_in_any_live_state(queue: Any, status: str) -> None:
    """On a blocked task it would refuse the completion of the parent."""
    parent = await queue.add()
    task_id = await queue.add(depends_on=[parent] if status == "blocked" else None)
    await queue.set_status(task_id, status)

    with pytest.raises(asyncpg.CheckViolationError, match="within the next 100 years"):
        await queue.database.execute(
            "UPDATE processing_queue SET next_retry_at = 'infinity' WHERE id = $1", task_id
        )
    await queue.set_status(parent, "completed")


async def test_task_of_another_type_goes_to_its_pool(queue: Any) -> None:
    """A worker of the old pool has no handler for it."""
    task_id = await queue.add("visual_analysis")
    retype = "UPDATE processing_queue SET task_type = $1"

    async with queue.listening("task_ready") as ready:
        await queue.database.execute(retype, "template_analysis")
        assert await ready.heard() == ["text"]

    assert (await queue.row(task_id))["pool"] == "text"
    with pytest.raises(asyncpg.CheckViolationError, match='unknown task_type "poetry"'):
        await queue.database.execute(retype, "poetry")


async def test_failed_task_set_to_completed_has_no_reason_of_failure(queue: Any) -> None:
    """What a service completes has none either."""
    task_id = await queue.add()
    await queue.set_status(task_id, "failed")

    await queue.set_status(task_id, "completed")

    assert (await queue.row(task_id))["failure_reason"] is None
