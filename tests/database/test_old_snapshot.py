"""Beside an old snapshot, when vacuum may remove nothing: looks that begin at a floor stay short."""

from typing import Any

import pytest

from heartbeat_monitor.sql import statement as monitor_statement
from reveille.database import PLAN_ONCE
from reveille.sql import statement

TASK_TYPE = "deck_date_extraction"
ENDED = 3_000
FILL = (
    "INSERT INTO processing_queue (document_id, task_type) "
    "SELECT n, 'deck_date_extraction' FROM generate_series(1, $1::integer) n"
)
EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"


async def pages_read(connection: Any, sql: str, *arguments: Any) -> int:
    """How many pages of tables and indexes a statement looks at; its changes are undone."""
    transaction = connection.transaction()
    await transaction.start()
    ((plan,),) = [await connection.fetchval(f"{EXPLAIN} {sql}", *arguments)]
    await transaction.rollback()
    return int(plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"])


async def test_look_at_a_floor_does_not_walk_over_dead_rows(queue: Any) -> None:
    """Three thousand tasks came and went while somebody read: the next claim sees none of them."""
    server = await queue.server()
    database = queue.database
    async with database.connect() as reader, database.connect() as connection:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM processing_queue")
        await connection.execute(FILL, ENDED)
        for status in ("processing", "completed"):
            await connection.execute("UPDATE processing_queue SET status = $1", status)
        wanted = await queue.add(TASK_TYPE)
        for name, value in PLAN_ONCE.items():
            await connection.execute(f"SET {name} = '{value}'")
        look = ("worker-1", server.epoch, [TASK_TYPE], 10, 60.0)

        from_the_beginning = await pages_read(connection, statement("claim"), *look)
        at_the_floor = await pages_read(
            connection, statement("claim_above"), *look, [wanted] * 3, [wanted]
        )

        assert from_the_beginning > 2 * at_the_floor, (from_the_beginning, at_the_floor)
        lowest = await queue.store.lowest_claimable([TASK_TYPE, "template_analysis"])
        assert set(lowest.values()) == {wanted}
        assert len(lowest) == 6


async def test_monitor_that_sees_work_does_not_ask_what_is_queued(queue: Any) -> None:
    """It looks again soon anyway, and the answer is a walk over all that was ever claimable."""
    database = queue.database
    look = monitor_statement("look")
    async with database.connect() as reader, database.connect() as connection:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM processing_queue")
        await connection.execute(FILL, ENDED)
        await connection.execute("UPDATE processing_queue SET status = 'completed'")
        idle = await pages_read(connection, look, 86_400.0, 30.0, 0)
        await connection.execute(FILL, 1)
        await connection.execute(
            "UPDATE processing_queue SET status = 'processing' WHERE status = 'queued'"
        )

        assert 10 * await pages_read(connection, look, 86_400.0, 30.0, 0) < idle


async def test_monitor_that_begins_at_a_lease_token_does_not_walk_over_dead_rows(
    queue: Any,
) -> None:
    """What was held once and has ended is left out, what is held now is seen."""
    database = queue.database
    look = monitor_statement("look")
    async with database.connect() as reader, database.connect() as connection:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM processing_queue")
        await connection.execute(FILL, ENDED)
        for status in ("processing", "completed"):
            await connection.execute("UPDATE processing_queue SET status = $1", status)
        await connection.execute(FILL, 1)
        await connection.execute(
            "UPDATE processing_queue SET status = 'processing' WHERE status = 'queued'"
        )
        seen = await connection.fetchrow(look, 86_400.0, 30.0, 0)
        again = await connection.fetchrow(look, 86_400.0, 30.0, seen["first_token"])

        assert again["processing"] == seen["processing"] == 1
        from_the_beginning = await pages_read(connection, look, 86_400.0, 30.0, 0)
        at_the_token = await pages_read(connection, look, 86_400.0, 30.0, seen["first_token"])
        assert 5 * at_the_token < from_the_beginning, (from_the_beginning, at_the_token)


async def test_look_at_floors_takes_the_best_above_them(queue: Any) -> None:
    """Priority first, then age, for each type and priority from its own floor on."""
    server = await queue.server()
    below = await queue.add(TASK_TYPE, priority=3)
    plain = await queue.add(TASK_TYPE)
    other = await queue.add("template_analysis")
    high = await queue.add(TASK_TYPE, priority=2)
    floors = {(TASK_TYPE, 1): plain, (TASK_TYPE, 3): below + 1, ("template_analysis", 1): other + 1}

    turn = await queue.store.turn(server, [TASK_TYPE, "template_analysis"], 2, (), floors=floors)

    assert [claim.task_id for claim in turn.claims] == [high, plain]
    assert await queue.statuses(below, other) == ["queued", "queued"]


@pytest.mark.parametrize("paused", ["pools", "task_types"])
async def test_look_at_floors_takes_nothing_that_is_paused(queue: Any, paused: str) -> None:
    """An operator's pause holds for every way of looking."""
    server = await queue.server()
    await queue.add(TASK_TYPE)
    await queue.database.execute(f"UPDATE {paused} SET paused = true")  # noqa: S608

    turn = await queue.store.turn(server, [TASK_TYPE], 2, (), floors={(TASK_TYPE, 1): 1})

    assert turn.claims == []
