"""The wake gate of the insert trigger: who notifies, who skips, and that nobody waits in it."""

import asyncio
from typing import Any

GATE = "SELECT pg_advisory_xact_lock(5395020, hashtext('text'))"


async def test_insert_wakes_its_pool_once_per_transaction(queue: Any) -> None:
    """Five tasks of two pools are two notifications, at the commit and not before."""
    async with queue.listening("task_ready") as wakes:
        async with queue.database.connect() as backend, backend.transaction():
            for task_type in ("deck_date_extraction", "template_analysis", "visual_analysis") * 2:
                await queue.add(task_type, by=backend)
            assert await wakes.heard() == []

        assert sorted(await wakes.heard()) == ["text", "visual"]


async def test_bulk_insert_is_one_notification(queue: Any) -> None:
    """Ten thousand rows in one statement wake a pool once."""
    async with queue.listening("task_ready") as wakes:
        await queue.database.execute(
            "INSERT INTO processing_queue (document_id, task_type, priority) "
            "SELECT n, 'deck_date_extraction', 1 + n % 3 FROM generate_series(1, 10000) n"
        )

        assert await wakes.heard() == ["text"]


async def test_rolled_back_insert_wakes_nobody(queue: Any) -> None:
    """What was not committed is not announced, and leaves the gate open."""
    async with queue.listening("task_ready") as wakes:
        async with queue.database.connect() as backend:
            transaction = backend.transaction()
            await transaction.start()
            await queue.add(by=backend)
            await backend.execute("SET CONSTRAINTS ALL IMMEDIATE")
            await transaction.rollback()
        assert await wakes.heard() == []

        await queue.add()
        assert await wakes.heard() == ["text"]


async def test_insert_skips_while_another_holds_the_gate(queue: Any) -> None:
    """The holder is about to notify; whoever comes second neither notifies nor waits."""
    async with queue.listening("task_ready") as wakes, queue.database.connect() as holder:
        async with holder.transaction():
            await holder.execute(GATE)
            async with asyncio.timeout(5):
                await queue.add()
                await queue.database.execute(
                    "INSERT INTO processing_queue (document_id, task_type) "
                    "SELECT n, 'deck_date_extraction' FROM generate_series(1, 200) n"
                )
            assert await wakes.heard() == []
            await queue.add("visual_analysis")
            assert await wakes.heard() == ["visual"]

        await queue.add()
        assert await wakes.heard() == ["text"]


async def test_critical_task_always_notifies(queue: Any) -> None:
    """Priority 3 does not rely on anybody else's notification."""
    async with (
        queue.listening("task_ready") as wakes,
        queue.database.connect() as holder,
        holder.transaction(),
    ):
        await holder.execute(GATE)
        await queue.add(priority=2)
        assert await wakes.heard() == []
        await queue.add(priority=3)
        assert await wakes.heard() == ["text"]


async def test_gate_is_held_for_the_commit_alone(queue: Any) -> None:
    """A transaction that stays open after its INSERT does not silence the others."""
    async with queue.listening("task_ready") as wakes, queue.database.connect() as slow:
        async with slow.transaction():
            await queue.add(by=slow)
            await queue.add()
            assert await wakes.heard() == ["text"]

        assert await wakes.heard() == ["text"]


async def test_blocked_and_scheduled_tasks_wake_no_worker(queue: Any) -> None:
    """Only what can be claimed is announced; a scheduled task is told to the timer."""
    parent = await queue.add()
    now = await queue.database.fetchval("SELECT reveille_now() + interval '1 hour'")
    async with queue.listening("task_ready") as wakes, queue.listening("timer_changed") as timers:
        await queue.add(depends_on=[parent])
        assert await timers.heard() == []
        await queue.add(next_retry_at=now)

        assert await wakes.heard() == []
        assert await timers.heard() == [""]


async def test_released_dependent_wakes_its_own_pool(queue: Any) -> None:
    """The end of a visual task wakes the text workers."""
    await queue.add("visual_analysis")
    await queue.database.execute(
        "INSERT INTO processing_queue (document_id, task_type, depends_on) "
        "SELECT 7, 'deck_date_extraction', array_agg(id) FROM processing_queue"
    )
    claim = await queue.claim_one()

    async with queue.listening("task_ready") as wakes:
        await queue.end(claim)
        assert await wakes.heard() == ["text"]


async def test_claim_and_completion_wake_nobody(queue: Any) -> None:
    """A notification costs the commit lock, so work that makes nothing claimable sends none."""
    await queue.add()
    async with queue.listening("task_ready") as wakes, queue.listening("timer_changed") as timers:
        await queue.end(await queue.claim_one())

        assert await wakes.heard() == []
        assert await timers.heard() == []


async def test_new_tasks_are_told_of_by_one_writer_at_a_time(queue: Any) -> None:
    """While somebody watches, an INSERT that finds another about to speak says nothing and does not wait."""
    async with queue.listening("task_changed") as changes, queue.database.connect() as watcher:
        await watcher.execute("SELECT pg_advisory_lock(5395020, 2)")
        await queue.add()
        assert len(await changes.heard()) == 1
        async with queue.database.connect() as holder, holder.transaction():
            await holder.execute("SELECT pg_advisory_xact_lock(5395020, 4)")
            async with asyncio.timeout(5):
                await queue.add()
            assert await changes.heard() == []
