"""Dependents while several transactions are open: no order of commits leaves anybody waiting for nothing."""

import asyncio
from typing import Any

import pytest

ENDS = {"completed": "queued", "failed": "cancelled"}


@pytest.mark.parametrize("end", ENDS)
async def test_parent_ends_while_its_child_is_not_committed(queue: Any, end: str) -> None:
    """The parent's end cannot see the child; so the child's commit looks at the parent."""
    parent = await queue.add()
    async with queue.database.connect() as backend, backend.transaction():
        child = await queue.add(by=backend, depends_on=[parent])
        await queue.set_status(parent, end)

    assert await queue.statuses(child) == [ENDS[end]]


@pytest.mark.parametrize("end", ENDS)
async def test_child_commits_while_its_parents_end_is_not_committed(queue: Any, end: str) -> None:
    """The child's commit waits for the parent's, and then knows."""
    parent = await queue.add()
    async with queue.database.connect() as worker, queue.database.connect() as backend:
        ending, inserting = worker.transaction(), backend.transaction()
        await ending.start()
        await queue.set_status(parent, end, by=worker)
        await inserting.start()
        child = await queue.add(by=backend, depends_on=[parent])
        commit = asyncio.create_task(inserting.commit())
        await queue.until_waiting(backend)
        await ending.commit()
        await commit

    assert await queue.statuses(child) == [ENDS[end]]


async def test_parents_end_waits_for_a_child_that_is_committing(queue: Any) -> None:
    """Once the child has looked, the parent's end comes after it and sees it."""
    parent = await queue.add()
    async with queue.database.connect() as backend, queue.database.connect() as worker:
        inserting = backend.transaction()
        await inserting.start()
        child = await queue.add(by=backend, depends_on=[parent])
        await backend.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what the commit does first
        end = asyncio.create_task(queue.set_status(parent, "completed", by=worker))
        await queue.until_waiting(worker)
        await inserting.commit()
        await end

    assert await queue.statuses(child) == ["queued"]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        (("completed", "completed"), "queued"),
        (("completed", "failed"), "cancelled"),
        (("failed", "completed"), "cancelled"),
        (("failed", "failed"), "cancelled"),
    ],
)
async def test_two_parents_end_in_open_transactions(
    queue: Any, ends: tuple[str, str], expected: str
) -> None:
    """Neither sees the other's end; the second one waits at the child and looks again."""
    parents = [await queue.add(), await queue.add()]
    child = await queue.add(depends_on=parents)
    async with queue.database.connect() as one, queue.database.connect() as other:
        first, second = one.transaction(), other.transaction()
        await first.start()
        await second.start()
        await queue.set_status(parents[0], ends[0], by=one)
        end = asyncio.create_task(queue.set_status(parents[1], ends[1], by=other))
        await queue.until_waiting(other)
        await first.commit()
        await end
        await second.commit()

    assert await queue.statuses(child) == [expected]


@pytest.mark.parametrize("end", ENDS)
async def test_parent_ends_while_its_childs_redrive_is_not_committed(queue: Any, end: str) -> None:
    """The redriven child is blocked by a parent that ends before anybody can see that."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])
    await queue.set_status(child, "cancelled")
    async with queue.database.connect() as operator, queue.database.connect() as worker:
        redrive = operator.transaction()
        await redrive.start()
        await queue.set_status(child, "queued", by=operator)
        ending = asyncio.create_task(queue.set_status(parent, end, by=worker))
        await queue.until_waiting(worker)
        await redrive.commit()
        await ending

    assert await queue.statuses(child) == [ENDS[end]]


async def test_second_parent_fails_while_the_first_ones_redrive_is_not_committed(
    queue: Any,
) -> None:
    """The child that the redrive revives is cancelled by the parent that fails meanwhile."""
    first, second = await queue.add(), await queue.add()
    child = await queue.add(depends_on=[first, second])
    await queue.set_status(first, "failed")
    async with queue.database.connect() as operator, queue.database.connect() as worker:
        redrive = operator.transaction()
        await redrive.start()
        await queue.set_status(first, "queued", by=operator)
        failing = asyncio.create_task(queue.set_status(second, "failed", by=worker))
        await queue.until_waiting(worker)
        await redrive.commit()
        await failing

    task = await queue.row(child)
    assert (task["status"], task["cancelled_by_task_id"]) == ("cancelled", second)


async def test_parent_is_redriven_while_a_new_child_is_not_committed(queue: Any) -> None:
    """The child's commit cancels it, or sees the parent live again; never both halves."""
    parent = await queue.add()
    await queue.set_status(parent, "failed")
    async with queue.database.connect() as backend, queue.database.connect() as operator:
        inserting = backend.transaction()
        await inserting.start()
        child = await queue.add(by=backend, depends_on=[parent])
        await backend.execute("SET CONSTRAINTS ALL IMMEDIATE")
        redrive = asyncio.create_task(queue.set_status(parent, "queued", by=operator))
        await queue.until_waiting(operator)
        await inserting.commit()
        await redrive

    assert await queue.statuses(parent, child) == ["queued", "blocked"]


async def test_parent_is_deleted_while_its_child_is_not_committed(queue: Any) -> None:
    """The child's commit finds nobody there and says so."""
    parent = await queue.add()
    async with queue.database.connect() as backend, backend.transaction():
        child = await queue.add(by=backend, depends_on=[parent])
        await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", parent)

    assert (await queue.row(child))["failure_reason"] == "parent_deleted"
