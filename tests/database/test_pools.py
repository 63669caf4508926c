"""Pools and task types: pausing, resuming, moving."""

from typing import Any

import asyncpg
import pytest


@pytest.mark.parametrize(
    ("pause", "resume"),
    [
        (
            "UPDATE pools SET paused = true WHERE name = 'text'",
            "UPDATE pools SET paused = false WHERE name = 'text'",
        ),
        (
            "UPDATE task_types SET paused = true WHERE name = 'deck_date_extraction'",
            "UPDATE task_types SET paused = false WHERE name = 'deck_date_extraction'",
        ),
    ],
    ids=["pool", "task type"],
)
async def test_paused_work_waits_and_is_announced_when_resumed(
    queue: Any, pause: str, resume: str
) -> None:
    """Nobody was told of what came meanwhile; so the resume tells."""
    server = await queue.server()
    await queue.database.execute(pause)
    await queue.add()
    assert await queue.claim(server) == []

    async with queue.listening("task_ready") as wakes:
        await queue.database.execute(resume)
        assert await wakes.heard() == ["text"]
    assert len(await queue.claim(server)) == 1


async def test_operators_change_of_a_pool_reaches_the_autoscaler(queue: Any) -> None:
    """New limits count at once."""
    async with queue.listening("scaling_changed") as changes:
        await queue.database.execute("UPDATE pools SET replicas_max = 3 WHERE name = 'visual'")
        assert await changes.heard() == ["visual"]


async def test_pool_with_more_minimum_than_maximum_is_refused(queue: Any) -> None:
    """Limits that contradict each other are an operator's mistake."""
    with pytest.raises(asyncpg.CheckViolationError, match="pools_min_not_over_max"):
        await queue.database.execute("UPDATE pools SET replicas_min = 2, replicas_max = 1")


async def test_task_type_that_moves_takes_its_waiting_tasks_along(queue: Any) -> None:
    """The new pool's workers are woken, now and for tasks that are requeued later."""
    task_id = await queue.add("template_analysis")

    async with queue.listening("task_ready") as wakes:
        await queue.database.execute(
            "UPDATE task_types SET pool = 'visual' WHERE name = 'template_analysis'"
        )
        assert await wakes.heard() == ["visual"]
        await queue.claim_one()
        await queue.set_status(task_id, "queued")
        assert await wakes.heard() == ["visual"]


async def test_redrive_of_a_task_whose_type_has_moved_wakes_the_new_pool(queue: Any) -> None:
    """A task that had ended when its type moved is not announced to the old pool."""
    task_id = await queue.add("template_analysis")
    await queue.set_status(task_id, "failed")
    await queue.database.execute(
        "UPDATE task_types SET pool = 'visual' WHERE name = 'template_analysis'"
    )

    async with queue.listening("task_ready") as wakes:
        await queue.set_status(task_id, "queued")
        assert await wakes.heard() == ["visual"]


async def test_new_task_type_is_accepted_at_once(queue: Any) -> None:
    """A row in task_types is all that the database needs to know a type."""
    await queue.database.execute(
        "INSERT INTO task_types (name, pool) VALUES ('logo_check', 'visual')"
    )

    assert (await queue.row(await queue.add("logo_check")))["pool"] == "visual"
