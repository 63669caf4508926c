"""container_segments, cost_ledger, cost_segments: every second that was paid for, and what for."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from reveille.costs import costs_between, costs_of_document, costs_of_month
from reveille.testing import Database

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
USD_PER_HOUR = 3.6  # a thousandth of a dollar a second

# A task of the test: type, seconds from Monday at which it began and ended.
Work = tuple[str, float, float]


def at(seconds: float) -> datetime:
    return MONDAY + timedelta(seconds=seconds)


async def add_container(
    database: Database, *, begins: float, ready: float | None, ends: float, state: str = "stopped"
) -> int:
    container_id: int = await database.fetchval(
        "INSERT INTO containers (name, pool, slot, provider, state, server_id, price_usd_per_hour, intended_at, "
        "creating_at, ready_at, ended_at) VALUES ('c', 'text', 0, 'process', 'ready', 's', $4, $1, $1, $2, $3) "
        "RETURNING id",
        at(begins),
        None if ready is None else at(ready),
        None if state == "ready" else at(ends),
        USD_PER_HOUR,
    )
    return container_id


async def end(database: Database, container_id: int) -> None:
    await database.execute("UPDATE containers SET state = 'stopped' WHERE id = $1", container_id)


async def add_work(database: Database, work: Sequence[Work], *, document_id: int = 1) -> list[int]:
    """Tasks that the server `s` has completed."""
    ids = []
    for task_type, begins, ends in work:
        ids.append(
            await database.fetchval(
                "INSERT INTO processing_queue (document_id, task_type) VALUES ($1, $2) RETURNING id",
                document_id,
                task_type,
            )
        )
        await database.execute(
            "UPDATE processing_queue SET status = 'completed', completed_by = 's' WHERE id = $1",
            ids[-1],
        )
        await database.execute(
            "UPDATE processing_queue SET started_at = $2, completed_at = $3, completed_by = 's' "
            "WHERE id = $1",
            ids[-1],
            at(begins),
            at(ends),
        )
    return ids


async def seconds_of(database: Database) -> dict[tuple[int, str, str], float]:
    """By day of the month, segment and task type."""
    rows = await database.fetch("SELECT day, segment, task_type, seconds FROM cost_segments")
    return {(r["day"].day, r["segment"], r["task_type"]): r["seconds"] for r in rows}


def by_hand(
    begins: float, ready: float, ends: float, work: Sequence[Work]
) -> dict[tuple[int, str, str], float]:
    """The same, moment by moment."""
    moments = {begins, min(max(ready, begins), ends), ends, *(86_400.0 * n for n in range(4))}
    moments |= {moment for _, *times in work for moment in times}
    found: dict[tuple[int, str, str], float] = defaultdict(float)
    for start, stop in pairwise(sorted(m for m in moments if begins <= m <= ends)):
        day = at(start).day
        types = [kind for kind, began, ended in work if began <= start and ended >= stop]
        for kind in types:
            found[day, "busy", kind] += (stop - start) / len(types)
        if not types:
            found[day, "boot" if start < ready else "idle", ""] += stop - start
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_seconds_are_those_that_a_count_by_hand_finds(database: Database, seed: int) -> None:
    """Tasks side by side, before the row said ready, beyond the end, and past midnight."""
    chance = random.Random(seed)
    begins, ends = chance.uniform(0, 80_000), chance.uniform(90_000, 200_000)
    ready = begins + chance.uniform(0, 20_000)
    types = ("deck_date_extraction", "startup_name_extraction")
    work = []
    for _ in range(chance.randrange(30)):
        began = chance.uniform(begins - 1000, ends)
        work.append((chance.choice(types), began, began + chance.uniform(1, 9000)))
    container_id = await add_container(database, begins=begins, ready=ready, ends=ends)
    await add_work(database, work)
    await end(database, container_id)

    found = await seconds_of(database)

    assert found == pytest.approx(by_hand(begins, ready, ends, work), abs=0.01)
    assert sum(found.values()) == pytest.approx(ends - begins, abs=0.001)
    cost = await database.fetchrow("SELECT * FROM container_costs")
    assert cost is not None
    assert cost["cost_usd"] == pytest.approx(0.001 * (ends - begins))
    assert cost["billed_seconds"] == pytest.approx(
        cost["boot_seconds"] + cost["busy_seconds"] + cost["idle_seconds"]
    )


async def test_attempts_that_came_to_nothing_are_paid_for_once(queue: Any) -> None:
    """A retry is busy time; an attempt that failed for good stands in two tables and counts once."""
    database = queue.database
    container_id = await add_container(database, begins=0, ready=100, ends=1000)
    await database.set_now(at(200))
    task_id = await queue.add(max_retries=0)
    server = await queue.server("s")
    (claim,) = await queue.claim(server)
    await database.set_now(at(300))
    await queue.fail(claim)
    await end(database, container_id)

    rows = await database.fetch("SELECT task_id FROM task_attempts")
    assert [row["task_id"] for row in rows] == [task_id]
    found = await seconds_of(database)
    assert found[2, "busy", "deck_date_extraction"] == pytest.approx(100)


async def test_task_that_is_being_worked_on_counts_until_now(queue: Any) -> None:
    """What runs is in the costs before it has ended."""
    database = queue.database
    await add_container(database, begins=0, ready=100, ends=0, state="ready")
    await database.set_now(at(200))
    await queue.add()
    await queue.claim(await queue.server("s"))
    await database.set_now(at(260))
    assert await seconds_of(database) == pytest.approx(
        {(2, "boot", ""): 100, (2, "idle", ""): 100, (2, "busy", "deck_date_extraction"): 60}
    )


async def test_ledger_outlives_the_tasks_and_follows_a_corrected_price(database: Database) -> None:
    """What was paid for stays known when nobody remembers the task."""
    container_id = await add_container(database, begins=0, ready=100, ends=1000)
    await add_work(database, [("deck_date_extraction", 200, 500)])
    await end(database, container_id)
    booked = await seconds_of(database)
    await database.execute("DELETE FROM processing_queue")
    assert await seconds_of(database) == booked
    await database.execute("UPDATE containers SET idle_since = NULL")
    assert await seconds_of(database) == booked

    await add_work(database, [("deck_date_extraction", 200, 500)])
    await database.execute("UPDATE containers SET price_usd_per_hour = 7.2")
    assert await database.fetchval("SELECT sum(cost_usd) FROM cost_ledger") == pytest.approx(2)
    assert await seconds_of(database) == booked


async def test_archived_tasks_are_seen(database: Database) -> None:
    """A container that is kept warm outlives its tasks' time in the queue."""
    await add_container(database, begins=0, ready=100, ends=0, state="ready")
    await database.set_now(at(1000))
    await add_work(database, [("deck_date_extraction", 200, 500)])
    before = await seconds_of(database)
    moved = await database.fetchval("SELECT moved FROM reveille_archive_tasks($1, 0, 10)", at(900))
    assert moved == 1
    assert await seconds_of(database) == before
    assert before[2, "busy", "deck_date_extraction"] == pytest.approx(300)


async def test_sums_by_pool_type_day_and_document_agree(database: Database) -> None:
    """One statement, several ways to add it up; a month is the sum of its days."""
    container_id = await add_container(database, begins=80_000, ready=80_100, ends=90_000)
    await add_work(database, [("deck_date_extraction", 81_000, 82_000)], document_id=1)
    mine = await add_work(
        database,
        [("startup_name_extraction", 81_500, 82_500), ("deck_date_extraction", 86_000, 87_000)],
        document_id=2,
    )
    await end(database, container_id)
    await database.set_now(at(400_000))

    month = await costs_of_month(database.pool, None, 800)
    text = next(pool for pool in month.pools if pool.pool == "text")
    assert month.cost_usd == pytest.approx(10)
    assert sum(day.cost_usd for day in month.days) == pytest.approx(10)
    assert [round(d.billed_seconds) for d in month.days] == [0, 6400, 3600, 0, 0, 0]
    assert text.boot_usd + text.busy_usd + text.idle_usd == pytest.approx(text.cost_usd)
    assert text.busy_seconds == pytest.approx(2500)
    types = {kind.task_type: kind.busy_seconds for kind in month.task_types}
    assert types == pytest.approx({"deck_date_extraction": 1750, "startup_name_extraction": 750})

    documents = [await costs_of_document(database.pool, n) for n in (1, 2, 3)]
    assert [round(d.busy_seconds) for d in documents] == [750, 1750, 0]
    assert sum(d.cost_usd for d in documents) == pytest.approx(text.busy_usd)
    assert [task.task_id for task in documents[1].tasks] == mine

    cut = await costs_between(database.pool, at(80_000), at(85_000), 0)
    assert cut.cost_usd == pytest.approx(5)
