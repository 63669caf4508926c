"""How a dependency is declared, and which ones are refused."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest


async def edge(
    queue: Any, child: int, parent: int, kind: str | None = None, *, by: Any = None
) -> None:
    await (by or queue.database).execute(
        "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, dependency_type) "
        "VALUES ($1, $2, $3)",
        child,
        parent,
        kind,
    )


async def test_depends_on_blocks_the_task_until_its_parents_complete(queue: Any) -> None:
    """The column is enough: rows and state follow by themselves."""
    first, second = await queue.add(), await queue.add()
    child = await queue.add(depends_on=[second, first, first])
    assert await queue.statuses(child) == ["blocked"]
    assert await queue.parents(child) == {first: "completion", second: "completion"}

    await queue.set_status(first, "completed")
    assert await queue.statuses(child) == ["blocked"]
    await queue.set_status(second, "completed")

    task = await queue.row(child)
    assert task["status"] == "queued"
    assert task["claimable_at"] > task["created_at"]


@pytest.mark.parametrize("shape", ["number", "string", "list", "strings"])
async def test_depends_on_in_the_options_is_understood(queue: Any, shape: str) -> None:
    """The existing backend names parents there, as one id or a list, as numbers or strings."""
    parent = await queue.add()
    wanted = {"number": parent, "string": str(parent), "list": [parent], "strings": [str(parent)]}

    child = await queue.add(processing_options={"depends_on": wanted[shape], "other": 1})

    assert await queue.parents(child) == {parent: "completion"}
    assert (await queue.row(child))["depends_on"] == [parent]


@pytest.mark.parametrize("nothing", [None, [], [None]])
async def test_empty_depends_on_blocks_nothing(queue: Any, nothing: Any) -> None:
    """No parents, however that is written, means a claimable task."""
    in_options = await queue.add(processing_options={"depends_on": nothing})
    in_column = await queue.add(depends_on=nothing)

    assert await queue.statuses(in_options, in_column) == ["queued", "queued"]


@pytest.mark.parametrize("wrong", ["deck", "1,2", 1.5, True, {"id": 1}, [[1]], [{"id": 1}], 10**30])
async def test_depends_on_that_is_no_id_is_refused(queue: Any, wrong: Any) -> None:
    """A dependency that was meant and not understood must not run the task too early."""
    with pytest.raises(asyncpg.InvalidParameterValueError, match="a task id or a list of task ids"):
        await queue.add(processing_options={"depends_on": wrong})


async def test_rows_in_the_same_transaction_block_the_task(queue: Any) -> None:
    """The third way to declare: rows of task_dependencies beside the task."""
    parent = await queue.add()
    async with queue.database.connect() as connection, connection.transaction():
        child = await queue.add(by=connection)
        await edge(queue, child, parent, "success_only", by=connection)
    assert await queue.statuses(child) == ["blocked"]

    await queue.set_status(parent, "completed")

    assert await queue.statuses(child) == ["queued"]


async def test_edge_that_was_declared_already_is_replaced(queue: Any) -> None:
    """A backend that fills the column and inserts the row gets one edge, of the row's type."""
    parent = await queue.add()
    async with queue.database.connect() as connection, connection.transaction():
        child = await queue.add(by=connection, processing_options={"depends_on": parent})
        await edge(queue, child, parent, "finished", by=connection)

    assert await queue.parents(child) == {parent: "finished"}
    assert await queue.statuses(child) == ["blocked"]


async def test_edge_without_a_type_means_completion(queue: Any) -> None:
    """The type may be left out or be NULL."""
    parent, child = await queue.add(), await queue.add()

    await edge(queue, child, parent)

    assert await queue.parents(child) == {parent: "completion"}


async def test_unknown_dependency_type_is_refused(queue: Any) -> None:
    """A type that nobody knows would never be satisfied as it was meant."""
    parent, child = await queue.add(), await queue.add()

    with pytest.raises(asyncpg.CheckViolationError, match="task_dependencies_type_known"):
        await edge(queue, child, parent, "afterwards")


async def test_unknown_parent_is_refused(queue: Any) -> None:
    """The task is not inserted, and the message names the missing parent."""
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="task 999, which does not exist"):
        await queue.add(depends_on=[999])

    assert await queue.database.fetchval("SELECT count(*) FROM processing_queue") == 0


async def test_self_reference_is_refused(queue: Any) -> None:
    """A task that waits for itself would wait for ever."""
    task_id = await queue.add()
    with pytest.raises(asyncpg.CheckViolationError, match="cannot depend on itself"):
        await edge(queue, task_id, task_id)
    with pytest.raises(asyncpg.CheckViolationError, match="cannot depend on itself"):
        await queue.add(id=500, depends_on=[500])


@pytest.mark.parametrize("backwards", [False, True])
async def test_circle_is_refused_whichever_edge_closes_it(queue: Any, backwards: bool) -> None:
    """Three tasks in a ring: the last edge fails, be it to an earlier or to a later task."""
    a, b, c = [await queue.add() for _ in range(3)]
    ring = [(b, a), (c, b), (a, c)]
    if backwards:
        ring.reverse()
    await edge(queue, *ring[0])
    await edge(queue, *ring[1])

    with pytest.raises(asyncpg.CheckViolationError, match="which depends on it already"):
        await edge(queue, *ring[2])


async def test_circle_of_two_open_transactions_is_refused(queue: Any) -> None:
    """Neither sees the other's edge; still only one of them commits."""
    a, b = await queue.add(), await queue.add()
    async with queue.database.connect() as one, queue.database.connect() as other:
        first, second = one.transaction(), other.transaction()
        await first.start()
        await second.start()
        await edge(queue, a, b, by=one)
        await edge(queue, b, a, by=other)
        results = await asyncio.gather(first.commit(), second.commit(), return_exceptions=True)

    assert sorted(type(r).__name__ for r in results) == ["DeadlockDetectedError", "NoneType"]
    assert await queue.database.fetchval("SELECT count(*) FROM task_dependencies") == 1


@pytest.mark.parametrize("status", ["processing", "completed", "failed", "cancelled"])
async def test_dependency_of_a_task_that_runs_or_ran_is_refused(queue: Any, status: str) -> None:
    """Too late: the message says in which transaction the row belongs."""
    parent, child = await queue.add(), await queue.add()
    await queue.set_status(child, status)

    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match=f"is {status} already"):
        await edge(queue, child, parent)


async def test_parent_that_is_done_does_not_block(queue: Any) -> None:
    """A dependent that comes after its parent's completion is claimable at once."""
    parent = await queue.add()
    await queue.set_status(parent, "completed")

    assert await queue.statuses(await queue.add(depends_on=[parent])) == ["queued"]


async def test_parent_that_has_failed_cancels_the_newcomer(queue: Any) -> None:
    """A dependent that comes after its parent's failure is told so, not left waiting."""
    parent = await queue.add()
    await queue.set_status(parent, "failed")

    child = await queue.row(await queue.add(depends_on=[parent]))

    assert (child["status"], child["cancelled_by_task_id"]) == ("cancelled", parent)


async def test_scheduled_task_with_parents_waits_for_both(queue: Any) -> None:
    """When its parents are done a task still waits for its time."""
    now = await queue.database.fetchval("SELECT clock_timestamp()")
    parent = await queue.add()
    child = await queue.add(depends_on=[parent], next_retry_at=now + timedelta(hours=1))
    assert await queue.statuses(child) == ["blocked"]

    await queue.set_status(parent, "completed")

    assert await queue.statuses(child) == ["retry"]


async def test_edge_taken_away_frees_the_task(queue: Any) -> None:
    """An operator's DELETE of the last outstanding edge makes the task claimable."""
    one, two = await queue.add(), await queue.add()
    child = await queue.add(depends_on=[one, two])
    await queue.database.execute("DELETE FROM task_dependencies WHERE depends_on_task_id = $1", one)
    assert await queue.statuses(child) == ["blocked"]

    await queue.database.execute("DELETE FROM task_dependencies")

    assert await queue.statuses(child) == ["queued"]


async def test_enqueue_document_inserts_the_whole_pipeline(queue: Any) -> None:
    """Eleven tasks, parents first: all behind the visual analysis, the specialised ones also behind healthcare."""
    ids = [
        row["enqueue_document"]
        for row in await queue.database.fetch(
            "SELECT enqueue_document(42, 'uploads/42/deck.pdf', 'acme', 2, '{\"a\": 1}', $1)",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
    ]

    rows = [await queue.row(task_id) for task_id in ids]
    types = {row["task_type"]: row["id"] for row in rows}
    visual, healthcare = types["visual_analysis"], types["healthcare_classification"]
    assert ids == sorted(ids)
    assert len(types) == 11
    assert [row["status"] for row in rows] == ["queued"] + ["blocked"] * 10
    assert {(r["document_id"], r["company_id"], r["priority"]) for r in rows} == {(42, "acme", 2)}
    assert {row["file_path"] for row in rows} == {"uploads/42/deck.pdf"}
    assert len({row["traceparent"] for row in rows}) == 1
    for name, task_id in types.items():
        wanted = {visual, healthcare} if name.startswith("specialized") else {visual}
        assert set(await queue.parents(task_id)) == (set() if name == "visual_analysis" else wanted)


async def test_enqueue_document_needs_only_the_document(queue: Any) -> None:
    """All other arguments have defaults, and each may be given by name."""
    await queue.database.execute("SELECT enqueue_document(42)")
    await queue.database.execute("SELECT enqueue_document(document_id => 43, priority => 3)")

    assert await queue.database.fetch(
        "SELECT document_id, priority, count(*) FROM processing_queue GROUP BY 1, 2 ORDER BY 1"
    ) == [
        {"document_id": 42, "priority": 1, "count": 11},
        {"document_id": 43, "priority": 3, "count": 11},
    ]
