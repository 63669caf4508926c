"""claim.sql and settle.sql, alone and as one statement."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from reveille.outcome import Done, Reject, Release, ResultRow, Retry
from reveille.store import End, Registration, ServerEntry, Store
from reveille.task import Claim

TYPES = ("deck_date_extraction", "startup_name_extraction")


@pytest.fixture
def store(database: Any) -> Store:
    return Store(database.pool, backoff_base_seconds=10, backoff_max_seconds=10)


async def register(
    store: Store, server_id: str = "worker-1", status: str = "active"
) -> Registration:
    return await store.register(
        ServerEntry(
            server_id=server_id,
            server_type="text_container",
            pool="text",
            task_types=TYPES,
            slots=2,
            version="test",
            status=status,
        )
    )


async def enqueue(database: Any, task_type: str = TYPES[0], **columns: Any) -> int:
    names = ["document_id", "task_type", *columns]
    marks = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    task_id: int = await database.fetchval(
        f"INSERT INTO processing_queue ({', '.join(names)}) VALUES ({marks}) RETURNING id",  # noqa: S608
        7,
        task_type,
        *columns.values(),
    )
    return task_id


async def row(database: Any, task_id: int) -> dict[str, Any]:
    found: dict[str, Any] = await database.fetchrow(
        "SELECT * FROM processing_queue WHERE id = $1", task_id
    )
    return found


async def claim_one(store: Store, registration: Registration) -> Claim:
    (claim,) = await store.claim(registration, TYPES, 1)
    return claim


async def test_claim_takes_the_highest_priority_then_the_oldest(
    database: Any, store: Store
) -> None:
    """Critical before high before normal, and first come first served among equals."""
    registration = await register(store)
    normal = await enqueue(database)
    high = await enqueue(database, TYPES[1], priority=2)
    critical = await enqueue(database, priority=3)
    later = await enqueue(database)

    claims = await store.claim(registration, TYPES, 3)

    assert [claim.task_id for claim in claims] == [critical, high, normal]
    assert (await row(database, later))["status"] == "queued"


async def test_claim_leaves_other_types_alone(database: Any, store: Store) -> None:
    """A server is given only the task types that it takes."""
    registration = await register(store)
    await enqueue(database, "template_analysis", priority=3)

    assert await store.claim(registration, TYPES, 5) == []


async def test_claims_of_two_servers_never_overlap(database: Any, store: Store) -> None:
    """However many claim at the same time, each task is handed out once."""
    registrations = [await register(store, f"worker-{n}") for n in range(6)]
    ids = {await enqueue(database, TYPES[n % 2]) for n in range(60)}

    batches = await asyncio.gather(
        *(store.claim(registrations[n % 6], TYPES, 5) for n in range(12))
    )
    rest = []
    while more := await store.claim(registrations[0], TYPES, 50):
        rest += more
    claimed = [claim.task_id for batch in [*batches, rest] for claim in batch]

    assert sorted(claimed) == sorted(ids)


async def test_claim_by_a_server_that_is_not_active_gets_nothing(
    database: Any, store: Store
) -> None:
    """A starting, draining or lost server is given no work."""
    registration = await register(store, status="starting")
    await enqueue(database)

    assert await store.claim(registration, TYPES, 1) == []


async def test_claim_with_an_old_epoch_gets_nothing(database: Any, store: Store) -> None:
    """A server whose row was taken over by a successor cannot claim any more."""
    old = await register(store)
    await register(store)
    await enqueue(database)

    assert await store.claim(old, TYPES, 1) == []


async def test_claim_of_a_paused_pool_gets_nothing_until_it_is_resumed(
    database: Any, store: Store
) -> None:
    """Pausing a pool holds its tasks where they are."""
    registration = await register(store)
    await enqueue(database)
    await database.execute("UPDATE pools SET paused = true WHERE name = 'text'")
    assert await store.claim(registration, TYPES, 1) == []
    await database.execute("UPDATE pools SET paused = false WHERE name = 'text'")

    assert len(await store.claim(registration, TYPES, 1)) == 1


async def test_done_completes_the_task_and_writes_its_results_once(
    database: Any, store: Store
) -> None:
    """Results appear with the completing transaction, and a second completion adds nothing."""
    registration = await register(store)
    task_id = await enqueue(database)
    claim = await claim_one(store, registration)
    result = ResultRow(
        "extraction_results", {"kind": "deck_date", "value": "May 2026", "model": "m"}
    )
    end = End(claim=claim, outcome=Done(results=[result], metadata={"tokens": 3}))

    first = await store.settle([end])
    second = await store.settle([end])

    task = await row(database, task_id)
    assert (first, second) == ({task_id: "completed"}, {})
    assert (task["status"], task["progress_percentage"], task["locked_by"]) == (
        "completed",
        100,
        None,
    )
    assert (task["processing_metadata"], task["completed_by"]) == ({"tokens": 3}, "worker-1")
    assert await database.fetchval("SELECT count(*) FROM extraction_results") == 1


async def test_late_completion_with_a_stale_lease_changes_nothing(
    database: Any, store: Store
) -> None:
    """A worker that was declared dead and wakes up cannot finish its successor's task."""
    zombie = await register(store, "zombie")
    await enqueue(database)
    stale = await claim_one(store, zombie)
    await database.execute("UPDATE processing_servers SET status = 'lost' WHERE id = 'zombie'")
    await database.execute("SELECT * FROM reveille_recover_tasks()")
    fresh = await claim_one(store, await register(store, "successor"))
    result = ResultRow("extraction_results", {"kind": "deck_date", "value": "stale", "model": "m"})

    settled = await store.settle([End(claim=stale, outcome=Done(results=[result]))])

    task = await row(database, stale.task_id)
    assert settled == {}
    assert (task["status"], task["locked_by"], task["lease_token"]) == (
        "processing",
        "successor",
        fresh.lease_token,
    )
    assert await database.fetchval("SELECT count(*) FROM extraction_results") == 0


async def test_retry_waits_and_then_fails_when_no_attempts_are_left(
    database: Any, store: Store
) -> None:
    """Each failed attempt waits its backoff; the last one fails the task with its reason."""
    registration = await register(store)
    task_id = await enqueue(database, max_retries=1)
    outcome = Retry(reason="model_timeout", error="no answer", after_seconds=60)

    first = await store.settle([End(claim=await claim_one(store, registration), outcome=outcome)])
    waiting = await row(database, task_id)
    await database.execute(
        "UPDATE processing_queue SET status = 'queued', next_retry_at = NULL WHERE id = $1", task_id
    )
    last = await store.settle([End(claim=await claim_one(store, registration), outcome=outcome)])

    failed = await row(database, task_id)
    assert (first, last) == ({task_id: "retry"}, {task_id: "failed"})
    assert 59 < (waiting["next_retry_at"] - waiting["started_at"]).total_seconds() < 62
    assert (failed["last_error"], failed["failure_reason"], failed["retry_count"]) == (
        "no answer",
        "model_timeout",
        1,
    )
    assert (
        await database.fetchval("SELECT count(*) FROM task_attempts WHERE task_id = $1", task_id)
        == 2
    )


async def test_reject_fails_at_once(database: Any, store: Store) -> None:
    """What can never succeed is not tried again."""
    registration = await register(store)
    task_id = await enqueue(database)
    claim = await claim_one(store, registration)

    await store.settle([End(claim=claim, outcome=Reject(reason="not_a_pdf", error="not a PDF"))])

    task = await row(database, task_id)
    assert (task["status"], task["retry_count"], task["last_error"]) == ("failed", 0, "not a PDF")


async def test_release_gives_the_task_back_without_spending_an_attempt(
    database: Any, store: Store
) -> None:
    """A drain costs the task nothing: neither a retry nor an attempt number."""
    registration = await register(store)
    task_id = await enqueue(database)
    claim = await claim_one(store, registration)

    await store.settle([End(claim=claim, outcome=Release())])

    task = await row(database, task_id)
    assert (task["status"], task["attempt"], task["retry_count"]) == ("queued", 0, 0)
    assert (await claim_one(store, registration)).attempt == 1


async def test_turn_settles_and_claims_in_one_transaction(database: Any, store: Store) -> None:
    """Ends and new claims share a statement and both come back to the right place."""
    registration = await register(store)
    ids = [await enqueue(database) for _ in range(4)]
    claims = await store.claim(registration, TYPES, 2)

    turn = await store.turn(
        registration, TYPES, 2, [End(claim=claim, outcome=Done()) for claim in claims]
    )

    assert turn.settled == {ids[0]: "completed", ids[1]: "completed"}
    assert [claim.task_id for claim in turn.claims] == ids[2:]


async def test_claim_plan_uses_the_claim_index_at_size(database: Any, store: Store) -> None:
    """With many rows of other types in the table a claim reads the claimable index, never the table."""
    await register(store)
    await database.execute("ALTER TABLE processing_queue DISABLE TRIGGER USER")
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at) "
        "SELECT n, CASE n % 2 WHEN 0 THEN 'template_analysis' ELSE 'visual_analysis' END, 'queued', now(), now() "
        "FROM generate_series(1, 50000) n"
    )
    await database.execute("ALTER TABLE processing_queue ENABLE TRIGGER USER")
    await enqueue(database)
    await database.execute("ANALYZE processing_queue")
    from reveille.sql import statement

    async with database.pool.acquire() as connection:
        plan = await connection.fetchval(
            f"EXPLAIN (FORMAT JSON) {statement('claim')}", "worker-1", 1, list(TYPES), 2, 60.0
        )

    text = json.dumps(plan)
    assert "processing_queue_claimable" in text
    assert not [node for node in _nodes(plan[0]["Plan"]) if _scans_the_queue(node)]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _scans_the_queue(node: dict[str, Any]) -> bool:
    return node["Node Type"] == "Seq Scan" and node.get("Relation Name") == "processing_queue"
