"""The lock order holds: batches of workers, cancels, redrives and progress reports of the same pipelines."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from reveille.outcome import Done, Outcome, Reject, Retry
from reveille.store import End, Step
from reveille.testing import eventually

from .conftest import TASK_TYPES, Queue

DOCUMENTS = range(1, 5)
ROUNDS = 25

CANCEL = """\
UPDATE processing_queue SET status = 'cancelled' WHERE id IN (
    SELECT id FROM processing_queue WHERE document_id = $1 AND status IN ('blocked', 'queued', 'processing', 'retry')
    ORDER BY id FOR UPDATE)"""
REDRIVE = """\
UPDATE processing_queue SET status = 'queued' WHERE id IN (
    SELECT id FROM processing_queue WHERE document_id = $1 AND status IN ('failed', 'cancelled', 'completed')
    ORDER BY id FOR UPDATE)"""


def some_outcome(chance: random.Random) -> Outcome:
    return chance.choice(
        [
            Done(),
            Done(),
            Retry(reason="busy", error="busy", after_seconds=0),
            Reject(reason="bad", error="bad"),
        ]
    )


async def work(queue: Queue, server_id: str, chance: random.Random) -> None:
    """A worker whose batches mix documents: progress, then ends and claims in one statement."""
    server = await queue.server(server_id)
    held = list(await queue.claim(server, 6))
    for _ in range(ROUNDS):
        chance.shuffle(held)
        if held:
            await queue.store.report([Step(claim=c, percentage=50, name="half") for c in held])
        ends = [End(claim=claim, outcome=some_outcome(chance)) for claim in held]
        turn = await queue.store.turn(server, TASK_TYPES, 6, ends)
        held = list(turn.claims)


async def repeat(queue: Queue, statement: str, chance: random.Random) -> None:
    """An operator who cancels or redrives whole pipelines, in the lock order."""
    for _ in range(ROUNDS):
        await queue.database.execute(statement, chance.choice(DOCUMENTS))


async def eventually_blocked(queue: Queue) -> None:
    await eventually(
        lambda: queue.database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
    )


@pytest.fixture(autouse=True)
def _no_second_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadlock shall show; in production the store tries again."""

    async def once(operation: Callable[[], Awaitable[Any]], **_limits: object) -> Any:
        return await operation()

    monkeypatch.setattr("reveille.store.retrying", once)


async def test_workers_and_operators_of_the_same_pipelines_never_deadlock(queue: Queue) -> None:
    """Everybody takes rows by ascending id, parents before dependents; nobody has to be sacrificed."""
    for document_id in DOCUMENTS:
        await queue.database.execute("SELECT enqueue_document($1)", document_id)
    jobs = [work(queue, f"worker-{n}", random.Random(n)) for n in range(3)]
    jobs += [repeat(queue, CANCEL, random.Random(10)), repeat(queue, REDRIVE, random.Random(11))]

    results = await asyncio.gather(*jobs, return_exceptions=True)

    assert [r for r in results if isinstance(r, asyncpg.DeadlockDetectedError)] == []
    assert results == [None] * 5


async def test_turn_locks_what_it_ends_before_what_it_claims(queue: Queue) -> None:
    """A turn that waits for a cancel at its own task holds no claimed one that the cancel wants next."""
    first, second = await queue.add(), await queue.add()
    server = await queue.server()
    claim = await queue.claim_one(server)
    async with queue.database.connect() as operator, operator.transaction():
        await queue.set_status(first, "cancelled", by=operator)
        turn = asyncio.create_task(
            queue.store.turn(server, TASK_TYPES, 1, [End(claim=claim, outcome=Done())])
        )
        await eventually_blocked(queue)
        async with asyncio.timeout(5):
            await queue.set_status(second, "cancelled", by=operator)

    result = await turn
    assert (result.settled, list(result.claims)) == ({}, [])


async def test_ends_that_free_and_cancel_take_the_dependents_by_ascending_id(queue: Queue) -> None:
    """Of two turns whose parents share dependents crosswise, one waits for the other."""
    ends_well, ends_badly = await queue.add(), await queue.add()
    others = [await queue.add(), await queue.add()]
    cancelled = await queue.add(depends_on=[ends_badly, others[0]])
    freed = await queue.add(depends_on=[ends_well, others[1]])
    server = await queue.server()
    claims = {claim.task_id: claim for claim in await queue.claim(server, 2)}
    ends = [
        End(claim=claims[ends_well], outcome=Done()),
        End(claim=claims[ends_badly], outcome=Reject(reason="bad", error="bad")),
    ]
    async with queue.database.connect() as operator, operator.transaction():
        await operator.execute("SELECT FROM processing_queue WHERE id = $1 FOR UPDATE", cancelled)
        settling = asyncio.create_task(queue.store.settle(ends))
        await eventually_blocked(queue)
        async with asyncio.timeout(5):
            await operator.execute("SELECT FROM processing_queue WHERE id = $1 FOR UPDATE", freed)

    assert len(await settling) == 2
    assert await queue.statuses(cancelled, freed) == ["cancelled", "blocked"]


async def test_settle_takes_its_rows_by_ascending_id(queue: Queue) -> None:
    """In whatever order attempts end, a batch that waits for a row holds no later one."""
    first, second = await queue.add(), await queue.add()
    server = await queue.server()
    claims = sorted(await queue.claim(server, 2), key=lambda claim: -claim.task_id)
    async with queue.database.connect() as operator, operator.transaction():
        await queue.set_status(first, "cancelled", by=operator)
        ends = [End(claim=claim, outcome=Done()) for claim in claims]
        settling = asyncio.create_task(queue.store.settle(ends))
        await eventually_blocked(queue)
        async with asyncio.timeout(5):
            await queue.set_status(second, "cancelled", by=operator)

    assert await settling == {}
