"""containers, container_costs, scaling_decisions: the autoscaler's memory."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

STATES = ["creating", "booting", "ready", "draining", "stopped"]


async def add(queue: Any, **columns: Any) -> int:
    columns = {
        "name": "reveille-text-0",
        "pool": "text",
        "slot": 0,
        "provider": "process",
        **columns,
    }
    marks = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    container_id: int = await queue.database.fetchval(
        f"INSERT INTO containers ({', '.join(columns)}) VALUES ({marks}) RETURNING id",  # noqa: S608
        *columns.values(),
    )
    return container_id


async def move(queue: Any, container_id: int, state: str) -> dict[str, Any]:
    row: dict[str, Any] = await queue.database.fetchrow(
        "UPDATE containers SET state = $2 WHERE id = $1 RETURNING *", container_id, state
    )
    return row


async def test_each_state_is_dated(queue: Any) -> None:
    """The row tells the container's whole life."""
    container_id = await add(queue)
    now = await queue.database.fetchval("SELECT reveille_now()")
    for minutes, state in enumerate(STATES, start=1):
        await queue.database.set_now(now + timedelta(minutes=minutes))
        row = await move(queue, container_id, state)
        assert row["state_changed_at"] == now + timedelta(minutes=minutes)

    dates = [row[n] for n in ("creating_at", "booting_at", "ready_at", "draining_at", "ended_at")]
    assert dates == [now + timedelta(minutes=n) for n in range(1, 6)]


async def test_next_state_clears_the_mark_of_being_stuck(queue: Any) -> None:
    """A container that moved on is not stuck any more."""
    container_id = await add(queue)
    await queue.database.execute("UPDATE containers SET stuck_reason = 'no worker came'")

    assert (await move(queue, container_id, "booting"))["stuck_reason"] is None


async def test_second_live_container_of_the_same_name_is_refused(queue: Any) -> None:
    """The name is the provider's idempotency key; it is free again when its holder has ended."""
    first = await add(queue)
    with pytest.raises(asyncpg.UniqueViolationError, match="containers_one_live_per_name"):
        await add(queue)
    await move(queue, first, "failed")

    assert await add(queue) != first


async def test_unknown_container_state_is_refused(queue: Any) -> None:
    """The state machine has seven states."""
    container_id = await add(queue)

    with pytest.raises(asyncpg.CheckViolationError):
        await move(queue, container_id, "running")


async def test_operators_wish_reaches_the_autoscaler(queue: Any) -> None:
    """A drain, a stop and a wanted container are announced; the autoscaler's own writes are not."""
    async with queue.listening("scaling_changed") as changes:
        container_id = await add(queue)
        await move(queue, container_id, "ready")
        assert await changes.heard() == []
        await queue.database.execute("UPDATE containers SET wish = 'drain'")
        assert await changes.heard() == ["text"]
        await queue.database.execute("UPDATE containers SET wish = NULL")
        assert await changes.heard() == []
        await add(queue, name="reveille-text-1", slot=1, provider="")
        assert await changes.heard() == ["text"]


async def test_container_costs_bills_from_creating_to_the_end(queue: Any) -> None:
    """An hour at two dollars is two dollars; what its worker was busy is told beside it."""
    container_id = await add(queue, server_id="worker-1", price_usd_per_hour=2)
    now = await queue.database.fetchval("SELECT reveille_now()")
    await queue.database.set_now(now)
    await move(queue, container_id, "creating")
    await queue.database.set_now(now + timedelta(minutes=1))
    await move(queue, container_id, "ready")
    await queue.add()
    claim = await queue.claim_one()
    await queue.database.set_now(now + timedelta(minutes=11))
    await queue.end(claim)
    await queue.database.set_now(now + timedelta(hours=1))
    await move(queue, container_id, "stopped")

    cost = await queue.database.fetchrow("SELECT * FROM container_costs")

    assert cost["cost_usd"] == pytest.approx(2)
    assert cost["billed_seconds"] == pytest.approx(3600)
    assert cost["boot_seconds"] == pytest.approx(60)
    assert cost["busy_seconds"] == pytest.approx(600)


async def test_container_that_was_only_intended_costs_nothing(queue: Any) -> None:
    """Nothing is billed before the provider was asked."""
    await add(queue, price_usd_per_hour=2)

    assert await queue.database.fetch("SELECT * FROM container_costs") == []
