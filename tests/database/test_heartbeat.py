"""heartbeat.sql: what a server's sign of life does, and what it is told."""

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from reveille.sql import statement
from reveille.store import Registration
from reveille.task import Claim
from reveille.testing import eventually
from reveille.worker import heart as heart_module


async def beat(
    queue: Any,
    server: Registration,
    *held: Claim,
    task_types: tuple[str, ...] | None = ("deck_date_extraction",),
    unsure: bool = True,
) -> dict[str, Any] | None:
    row: dict[str, Any] | None = await queue.database.fetchrow(
        statement("heartbeat"),
        server.server_id,
        server.epoch,
        len(held),
        [claim.task_id for claim in held],
        [claim.lease_token for claim in held],
        task_types,
        unsure,
    )
    return row


async def server_row(queue: Any) -> dict[str, Any]:
    row: dict[str, Any] = await queue.database.fetchrow("SELECT * FROM processing_servers")
    return row


async def test_heartbeat_keeps_the_server_alive(queue: Any) -> None:
    """It writes the time and the load of the one row."""
    server = await queue.server()
    before = await server_row(queue)
    await queue.add()
    claim = await queue.claim_one(server)

    answer = await beat(queue, server, claim)

    after = await server_row(queue)
    assert answer == {"status": "active", "lost": [], "waiting": False}
    assert after["last_heartbeat"] > before["last_heartbeat"]
    assert after["current_load"] == 1


async def test_heartbeat_of_a_lost_server_is_not_answered(queue: Any) -> None:
    """Who was declared lost must register anew before it counts again."""
    server = await queue.server()
    await queue.database.execute("UPDATE processing_servers SET status = 'lost'")
    before = await server_row(queue)

    assert await beat(queue, server) is None
    assert (await server_row(queue))["last_heartbeat"] == before["last_heartbeat"]


async def test_heartbeat_of_a_replaced_server_is_not_answered(queue: Any) -> None:
    """The predecessor under the same id learns that it has a successor."""
    old = await queue.server()
    await queue.server()

    assert await beat(queue, old) is None


async def test_heartbeat_says_that_the_server_is_draining(queue: Any) -> None:
    """An operator's word reaches the worker with the next beat."""
    server = await queue.server()
    await queue.database.execute("UPDATE processing_servers SET status = 'draining'")

    answer = await beat(queue, server)

    assert answer is not None
    assert answer["status"] == "draining"


async def test_heartbeat_names_the_tasks_that_were_taken_away(queue: Any) -> None:
    """Cancelled, deleted, or held under a newer lease: all are lost; the one still held is not."""
    server = await queue.server()
    ids = [await queue.add() for _ in range(4)]
    claims = await queue.claim(server, 4)
    await queue.set_status(ids[0], "cancelled")
    await queue.database.execute("DELETE FROM processing_queue WHERE id = $1", ids[1])
    await queue.set_status(ids[2], "queued")
    await queue.claim_one(server)

    answer = await beat(queue, server, *claims)

    assert answer is not None
    assert answer["lost"] == [claim.lease_token for claim in claims[:3]]


@pytest.mark.parametrize(
    ("held_back", "expected"),
    [
        ("UPDATE processing_servers SET current_load = 0", True),
        ("UPDATE pools SET paused = true WHERE name = 'text'", False),
        ("UPDATE task_types SET paused = true WHERE name = 'deck_date_extraction'", False),
        ("UPDATE processing_queue SET status = 'cancelled'", False),
    ],
)
async def test_heartbeat_says_whether_something_claimable_waits(
    queue: Any, held_back: str, expected: bool
) -> None:
    """The backstop of the wake-up: true exactly when a claim would find something."""
    server = await queue.server()
    await queue.add()
    await queue.database.execute(held_back)

    answer = await beat(queue, server)
    found = await queue.store.claim(server, ["deck_date_extraction"], 1)

    assert answer is not None
    assert answer["waiting"] is expected is bool(found)


async def test_heartbeat_does_not_count_types_that_the_server_does_not_take(queue: Any) -> None:
    """Work for others is no reason to look."""
    server = await queue.server()
    await queue.add("template_analysis")

    answer = await beat(queue, server)

    assert answer is not None
    assert not answer["waiting"]


async def test_heartbeat_out_of_turn_asks_and_queues_nothing(queue: Any) -> None:
    """It tells a load; what waits and what is due is for the next regular one."""
    server = await queue.server()
    await queue.add()
    now = await queue.database.fetchval("SELECT reveille_now()")
    due = await queue.add(next_retry_at=now + timedelta(minutes=1))
    await queue.database.set_now(now + timedelta(minutes=2))

    answer = await beat(queue, server, task_types=None)

    assert answer is not None
    assert (answer["status"], answer["waiting"]) == ("active", False)
    assert await queue.statuses(due) == ["retry"]


async def test_heartbeat_queues_retries_that_are_due(queue: Any) -> None:
    """Due tasks do not hang on the monitor alone; those that are not due stay."""
    server = await queue.server()
    now = await queue.database.fetchval("SELECT reveille_now()")
    soon = await queue.add(next_retry_at=now + timedelta(minutes=1))
    late = await queue.add(next_retry_at=now + timedelta(minutes=3))
    await queue.database.set_now(now + timedelta(minutes=2))

    await beat(queue, server)

    assert await queue.statuses(soon, late) == ["queued", "retry"]


async def test_heartbeat_gives_back_a_claim_whose_answer_was_lost(queue: Any) -> None:
    """A task that is ours in the rows and not in fact goes back, without a spent attempt, after 15 s."""
    server = await queue.server()
    task_id = await queue.add()
    known = await queue.add()
    claims = await queue.claim(server, 2)
    await beat(queue, server, claims[1])
    assert await queue.statuses(task_id, known) == ["processing", "processing"]
    await queue.database.set_now(claims[0].started_at + timedelta(seconds=16))
    await beat(queue, server, claims[1], unsure=False)
    assert await queue.statuses(task_id, known) == ["processing", "processing"]

    await beat(queue, server, claims[1])

    task = await queue.row(task_id)
    assert (task["status"], task["attempt"], task["retry_count"]) == ("queued", 0, 0)
    assert await queue.statuses(known) == ["processing"]


async def test_heartbeat_does_not_wait_for_a_row_that_somebody_keeps_locked(queue: Any) -> None:
    """A beat that times out on the row of a lost claim is none, and a living server is declared lost."""
    server = await queue.server()
    task_id = await queue.add()
    claim = await queue.claim_one(server)
    await queue.database.set_now(claim.started_at + timedelta(seconds=16))
    async with queue.database.connect() as forgotten, forgotten.transaction():
        await forgotten.execute("SELECT 1 FROM processing_queue WHERE id = $1 FOR UPDATE", task_id)
        async with asyncio.timeout(5):
            assert await beat(queue, server) is not None
        assert await queue.statuses(task_id) == ["processing"]

    await beat(queue, server)
    assert await queue.statuses(task_id) == ["queued"]


async def test_beat_that_arrives_after_the_good_bye_leaves_no_load(queue: Any) -> None:
    """It may have waited for a lock on the row while the process drained and ended."""
    server = await queue.server()
    await queue.add()
    claim = await queue.claim_one(server)
    await queue.end(claim)
    await queue.store.retire(server, "stopped")

    await beat(queue, server, claim)

    row = await server_row(queue)
    assert (row["status"], row["current_load"]) == ("inactive", 0)


async def test_lost_claims_are_looked_for_until_a_minute_after_the_failure(
    queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim whose client gave up may be committed later; afterwards beats leave the dead rows alone."""
    monkeypatch.setattr(heart_module, "DOUBT_SECONDS", 0.3)
    server = await queue.server()
    pulses: asyncio.Queue[Any] = asyncio.Queue()
    failed_at = time.monotonic()
    heart = heart_module.Heart(
        queue.database.dsn,
        server,
        interval_seconds=0.05,
        held=list,
        to_look_for=list,
        claim_failed_at=lambda: failed_at,
        on_pulse=pulses.put_nowait,
    )

    async def claimed_unheard() -> int:
        task_id: int = await queue.add()
        await queue.claim_one(server)
        await queue.database.execute(
            "UPDATE processing_queue SET locked_at = locked_at - interval '16 seconds' WHERE id = $1",
            task_id,
        )
        return task_id

    async def beaten_until(seconds: float) -> None:
        while time.monotonic() - failed_at < seconds:
            await pulses.get()

    async def given_back(task_id: int) -> bool:
        return bool(await queue.statuses(task_id) == ["queued"])

    heart.start()
    try:
        first = await claimed_unheard()
        await eventually(lambda: given_back(first))
        await queue.set_status(first, "cancelled")
        await beaten_until(0.5)
        second = await claimed_unheard()
        await beaten_until(time.monotonic() - failed_at + 0.2)
        assert await queue.statuses(second) == ["processing"]
        failed_at = time.monotonic()
        await eventually(lambda: given_back(second))
    finally:
        await heart.stop()
