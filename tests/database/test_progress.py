"""progress.sql and the checkpoints: what a running task says of itself."""

import asyncio
from typing import Any

from reveille.store import Step
from reveille.testing import Database


async def steps(database: Database) -> list[dict[str, Any]]:
    return await database.fetch(
        "SELECT processing_queue_id, step_name, step_status, progress_percentage, message, step_data "
        "FROM processing_progress ORDER BY id"
    )


async def test_report_writes_the_latest_and_every_step(queue: Any) -> None:
    """The task's row shows where it is; processing_progress shows how it got there."""
    task_id = await queue.add()
    claim = await queue.claim_one()

    said = await queue.store.report(
        [
            Step(claim=claim, percentage=10, name="render", message="page 1", data={"page": 1}),
            Step(claim=claim, percentage=20, name="analyse", message="page 2", status="started"),
        ]
    )

    task = await queue.row(task_id)
    assert said.ours == {claim.lease_token}
    assert (task["progress_percentage"], task["current_step"], task["progress_message"]) == (
        20,
        "analyse",
        "page 2",
    )
    assert task["last_progress_update"] >= task["started_at"]
    assert [
        (s["step_name"], s["step_status"], s["step_data"]) for s in await steps(queue.database)
    ] == [
        ("render", "completed", {"page": 1}),
        ("analyse", "started", None),
    ]


async def test_report_without_a_record_adds_no_row(queue: Any) -> None:
    """A moving percentage need not fill a table."""
    task_id = await queue.add()
    claim = await queue.claim_one()

    await queue.store.report([Step(claim=claim, percentage=33, name="analyse", record=False)])

    assert (await queue.row(task_id))["progress_percentage"] == 33
    assert await steps(queue.database) == []


async def test_report_of_a_task_that_was_taken_away_writes_nothing(queue: Any) -> None:
    """In a batch only the tasks that are still held are written, and their tokens come back."""
    server = await queue.server()
    lost, kept = await queue.add(), await queue.add()
    claims = await queue.claim(server, 2)
    await queue.set_status(lost, "queued")
    await queue.claim_one(await queue.server("worker-2"))

    said = await queue.store.report(
        [Step(claim=claim, percentage=50, name="analyse") for claim in claims]
    )

    assert said.ours == {claims[1].lease_token}
    assert (await queue.row(lost))["progress_percentage"] == 0
    assert [s["processing_queue_id"] for s in await steps(queue.database)] == [kept]


async def test_report_leaves_out_a_row_that_somebody_keeps_locked(queue: Any) -> None:
    """It is named as still held and not written; the others' reports do not wait for it."""
    server = await queue.server()
    locked, free = await queue.add(), await queue.add()
    claims = await queue.claim(server, 2)
    taken, kept = ({c.task_id: c for c in claims}[i] for i in (locked, free))
    report = [Step(claim=claim, percentage=50, name="analyse") for claim in claims]
    async with queue.database.connect() as forgotten, forgotten.transaction():
        await forgotten.execute("SELECT 1 FROM processing_queue WHERE id = $1 FOR UPDATE", locked)
        async with asyncio.timeout(5):
            said = await queue.store.report(report)

    assert (said.ours, said.locked) == ({taken.lease_token, kept.lease_token}, {taken.lease_token})
    assert [s["processing_queue_id"] for s in await steps(queue.database)] == [free]
    assert (await queue.row(locked))["progress_percentage"] == 0
    assert not (await queue.store.report(report)).locked
    assert (await queue.row(locked))["progress_percentage"] == 50


async def test_report_of_too_much_is_cut_to_what_the_columns_hold(queue: Any) -> None:
    """A handler's slip in one task must not fail the batch of all."""
    task_id = await queue.add()
    claim = await queue.claim_one()

    await queue.store.report([Step(claim=claim, percentage=140, name="x" * 400, message="a\0b")])

    task = await queue.row(task_id)
    assert (task["progress_percentage"], len(task["current_step"])) == (100, 255)
    assert "\0" not in task["progress_message"]
    (step,) = await steps(queue.database)
    assert step["progress_percentage"] == 100


async def test_checkpoint_survives_the_attempt(queue: Any) -> None:
    """The next attempt goes on where this one was interrupted; a completed task keeps none."""
    task_id = await queue.add()
    first = await queue.claim_one()
    assert await queue.store.save_checkpoint(first, "slide-1", {"title": "Hi"})
    assert await queue.store.save_checkpoint(first, "slide-1", {"title": "Hello"})
    await queue.set_status(task_id, "queued")
    second = await queue.claim_one()

    assert await queue.store.load_checkpoints(task_id) == {"slide-1": {"title": "Hello"}}
    await queue.end(second)
    assert await queue.store.load_checkpoints(task_id) == {}


async def test_checkpoint_with_a_stale_lease_is_refused(queue: Any) -> None:
    """A zombie cannot overwrite what its successor has found."""
    task_id = await queue.add()
    stale = await queue.claim_one()
    await queue.set_status(task_id, "queued")
    fresh = await queue.claim_one()
    await queue.store.save_checkpoint(fresh, "slide-1", "new")

    assert not await queue.store.save_checkpoint(stale, "slide-1", "old")
    assert await queue.store.load_checkpoints(task_id) == {"slide-1": "new"}


async def test_progress_is_announced_only_while_somebody_listens(queue: Any) -> None:
    """task_changed costs the commit lock, so nobody pays for it when nobody listens."""
    task_id = await queue.add()
    claim = await queue.claim_one()
    async with queue.listening("task_changed") as changes, queue.database.connect() as gateway:
        await queue.store.report([Step(claim=claim, percentage=10, name="a")])
        assert await changes.heard() == []

        await gateway.execute("SELECT pg_advisory_lock(5395020, 2)")
        await queue.store.report([Step(claim=claim, percentage=20, name="a")])
        await queue.store.report([Step(claim=claim, percentage=20, name="b")])
        await queue.end(claim)
        assert await changes.heard() == [
            f'{{"id" : {task_id}, "status" : "processing", "progress" : 20}}',
            f'{{"id" : {task_id}, "status" : "completed", "progress" : 100}}',
        ]

        await gateway.execute("SELECT pg_advisory_unlock(5395020, 2)")
        other = await queue.add()
        await queue.set_status(other, "cancelled")
        assert await changes.heard() == []


async def test_every_kind_of_change_is_announced_to_a_listener(queue: Any) -> None:
    """Insert, block, cancel and delete can all be followed live."""
    async with queue.listening("task_changed") as changes, queue.database.connect() as gateway:
        await gateway.execute("SELECT pg_advisory_lock(5395020, 2)")
        parent = await queue.add()
        child = await queue.add(depends_on=[parent])
        await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", parent)
        heard = [
            await queue.database.fetchval("SELECT $1::text::jsonb", p)
            for p in await changes.heard()
        ]

    assert sorted((h["id"], h["status"]) for h in heard) == [
        (parent, "deleted"),
        (parent, "queued"),
        (child, "blocked"),
        (child, "cancelled"),
    ]
