"""What the end, the redrive and the deletion of a parent mean for those who depend on it."""

from typing import Any

import pytest


async def test_failed_parent_cancels_all_the_way_down_with_the_reason(queue: Any) -> None:
    """Nobody waits for what will never come, and each row says why."""
    parent = await queue.add("visual_analysis")
    child = await queue.add(depends_on=[parent])
    grandchild = await queue.add(depends_on=[child])

    await queue.fail(await queue.claim_one(), error="the PDF has no pages")

    assert await queue.statuses(parent, child, grandchild) == ["failed", "cancelled", "cancelled"]
    first, second = await queue.row(child), await queue.row(grandchild)
    assert first["last_error"] == (
        f"cancelled because task {parent} (visual_analysis), which it depends on, "
        "failed: the PDF has no pages"
    )
    assert second["last_error"] == (
        f"cancelled because task {child} (deck_date_extraction), which it depends on, was cancelled"
    )
    assert (first["failure_reason"], first["cancelled_by_task_id"]) == ("parent_failed", parent)
    assert (second["failure_reason"], second["cancelled_by_task_id"]) == ("parent_cancelled", child)
    assert first["completed_at"] is not None


async def test_long_chain_is_cancelled_to_its_end(queue: Any) -> None:
    """A chain of 200 tasks is within the depth that triggers may nest."""
    ids = [await queue.add()]
    for _ in range(199):
        ids.append(await queue.add(depends_on=[ids[-1]]))

    await queue.set_status(ids[0], "failed")
    assert set(await queue.statuses(*ids[1:])) == {"cancelled"}
    await queue.set_status(ids[0], "queued")

    assert set(await queue.statuses(*ids[1:])) == {"blocked"}


async def test_redriven_parent_revives_those_it_cancelled(queue: Any) -> None:
    """A retry of the failed task is a retry of the pipeline; what a user cancelled stays so."""
    parent = await queue.add()
    child, unwanted = await queue.add(depends_on=[parent]), await queue.add(depends_on=[parent])
    grandchild = await queue.add(depends_on=[child])
    await queue.set_status(unwanted, "cancelled")
    await queue.set_status(parent, "failed")

    assert await queue.database.fetchval("SELECT retry_failed_task($1)", parent)

    assert await queue.statuses(parent, child, grandchild, unwanted) == [
        "queued",
        "blocked",
        "blocked",
        "cancelled",
    ]
    revived = await queue.row(child)
    assert (revived["last_error"], revived["failure_reason"], revived["completed_at"]) == (
        None,
        None,
        None,
    )
    await queue.end(await queue.claim_one())
    assert await queue.statuses(child, grandchild) == ["queued", "blocked"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_child_of_two_failed_parents_waits_for_both_redrives(
    queue: Any, order: tuple[int, int]
) -> None:
    """One revived parent does not revive a child that another one holds back."""
    parents = [await queue.add(), await queue.add()]
    child = await queue.add(depends_on=parents)
    await queue.set_status(parents[0], "failed")
    await queue.set_status(parents[1], "failed")

    await queue.set_status(parents[order[0]], "queued")
    assert await queue.statuses(child) == ["cancelled"]
    await queue.set_status(parents[order[1]], "queued")

    assert await queue.statuses(child) == ["blocked"]


async def test_redriven_child_waits_for_parents_that_still_run(queue: Any) -> None:
    """A retry of the dependent does not overtake what it depends on."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])
    await queue.set_status(child, "cancelled")

    await queue.set_status(child, "queued")
    assert await queue.statuses(child) == ["blocked"]
    await queue.set_status(parent, "completed")

    assert await queue.statuses(child) == ["queued"]


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_finished_dependency_takes_any_end(queue: Any, end: str) -> None:
    """A task that only has to come afterwards runs whatever became of its parent."""
    parent, child = await queue.add(), await queue.add()
    await queue.database.execute(
        "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, dependency_type) "
        "VALUES ($1, $2, 'finished')",
        child,
        parent,
    )

    await queue.set_status(parent, end)

    assert await queue.statuses(child) == ["queued"]


async def test_retry_of_the_parent_keeps_its_dependents_waiting(queue: Any) -> None:
    """An attempt that failed is no end."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])

    await queue.set_status(parent, "retry")

    assert await queue.statuses(child) == ["blocked"]


async def test_failed_parent_set_to_completed_frees_its_dependents(queue: Any) -> None:
    """An operator who declares a failed task done does what a success would have done."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])
    grandchild = await queue.add(depends_on=[child])
    await queue.set_status(parent, "failed")

    await queue.set_status(parent, "completed")

    assert await queue.statuses(child, grandchild) == ["queued", "blocked"]


async def test_deleted_parent_cancels_its_dependents(queue: Any) -> None:
    """A task whose parent is gone is told so."""
    parent = await queue.add()
    child = await queue.add(depends_on=[parent])

    await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", parent)

    task = await queue.row(child)
    assert (task["status"], task["failure_reason"]) == ("cancelled", "parent_deleted")
    assert task["last_error"].endswith("which it depends on, was deleted")


async def test_completed_parent_may_be_deleted(queue: Any) -> None:
    """Cleaning up finished tasks does not touch those that waited for them."""
    parent, other = await queue.add(), await queue.add()
    child = await queue.add(depends_on=[parent, other])
    await queue.set_status(parent, "completed")

    await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", parent)
    assert await queue.statuses(child) == ["blocked"]
    await queue.set_status(other, "completed")

    assert await queue.statuses(child) == ["queued"]


async def test_whole_document_can_be_deleted_in_one_statement(queue: Any) -> None:
    """A backend that deletes a document leaves nothing behind."""
    await queue.database.execute("SELECT enqueue_document(42)")
    claim = await queue.claim_one()
    await queue.store.save_checkpoint(claim, "slide-1", {})

    await queue.database.execute("DELETE FROM processing_queue WHERE document_id = 42")

    for table in ("processing_queue", "task_dependencies", "task_checkpoints", "task_attempts"):
        assert await queue.database.fetchval(f"SELECT count(*) FROM {table}") == 0, table  # noqa: S608


async def test_fan_in_of_500_is_released_by_the_last_parent(queue: Any) -> None:
    """Many parents, ended in batches, release their child exactly when the last one ends."""
    await queue.database.execute(
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT 7, 'deck_date_extraction' FROM generate_series(1, 500)"
    )
    child = await queue.database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, depends_on) "
        "SELECT 7, 'template_analysis', array_agg(id) FROM processing_queue RETURNING id"
    )
    claims = await queue.claim(await queue.server(), 500)

    for start in range(0, 499, 100):
        await queue.end(*claims[start : min(start + 100, 499)])
    assert await queue.statuses(child) == ["blocked"]
    await queue.end(claims[499])

    assert await queue.statuses(child) == ["queued"]


async def test_fan_out_of_500_is_released_and_cancelled_at_once(queue: Any) -> None:
    """One end moves any number of dependents."""
    for end, expected in (("completed", "queued"), ("failed", "cancelled")):
        parent = await queue.add()
        children = [
            row["id"]
            for row in await queue.database.fetch(
                "INSERT INTO processing_queue (document_id, task_type, depends_on) "
                "SELECT 7, 'template_analysis', ARRAY[$1::bigint] FROM generate_series(1, 500) "
                "RETURNING id",
                parent,
            )
        ]

        await queue.set_status(parent, end)

        assert set(await queue.statuses(*children)) == {expected}


async def test_batch_that_ends_parents_of_the_same_child_releases_it(queue: Any) -> None:
    """Two parents in one settle statement are both seen."""
    parents = [await queue.add(), await queue.add()]
    child = await queue.add(depends_on=parents)

    await queue.end(*await queue.claim(await queue.server(), 2))

    assert await queue.statuses(child) == ["queued"]


async def test_redriven_parent_leaves_a_dependent_whose_dedupe_key_is_taken(queue: Any) -> None:
    """The key's new holder does that work; the parent and its other dependents go on."""
    parent = await queue.add()
    replaced = await queue.add(depends_on=[parent], dedupe_key="deck-7")
    other = await queue.add(depends_on=[parent])
    await queue.set_status(parent, "failed")
    holder = await queue.add(dedupe_key="deck-7")

    await queue.set_status(parent, "queued")

    assert await queue.statuses(parent, replaced, other, holder) == [
        "queued",
        "cancelled",
        "blocked",
        "queued",
    ]
