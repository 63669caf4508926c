"""What policies are told of the past and of what lies ahead, from real rows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from autoscaler.floor import quarter_of
from autoscaler.ledger import Ledger
from autoscaler.outlook import Outlook
from autoscaler.scaling_file import read_scaling
from autoscaler.sql import statement
from autoscaler.state import PoolState, Upcoming
from reveille.testing import Database

HISTORY = """
INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at, started_at, completed_at)
SELECT 1, 'deck_date_extraction', 'completed', t, t, t + interval '5 s', t + interval '25 s'
FROM (SELECT reveille_now() - n * interval '1000 s' AS t FROM generate_series($1::integer, 1, -1) n) moments"""
STATES = (PoolState(pool="text"), PoolState(pool="visual"))
NOW = 1_000_000.0


async def told(database: Database, *states: PoolState) -> dict[str, PoolState]:
    outlook = Outlook(Ledger(database.pool), refresh_seconds=60.0)
    return await outlook.look(states or STATES, read_scaling(None), NOW)


async def test_service_times_and_gaps_come_from_tasks_that_were_done(database: Database) -> None:
    """Twenty seconds each, and from each end to the next arrival."""
    await database.execute(HISTORY, 10)
    known = await told(database)
    assert known["text"].service_seconds == {"deck_date_extraction": pytest.approx(20.0)}
    assert known["text"].idle_gaps == pytest.approx((975.0,) * 9)
    assert known["visual"].service_seconds == {}


async def test_cold_start_comes_from_the_latest_starts(database: Database) -> None:
    """From the provider's call to readiness; what never was ready says nothing."""
    await database.execute(
        "INSERT INTO containers (name, pool, slot, state, creating_at, ready_at) VALUES "
        "('a', 'text', 0, 'stopped', reveille_now() - interval '90 s', reveille_now()), "
        "('b', 'text', 1, 'failed', reveille_now() - interval '900 s', NULL)"
    )
    known = await told(database)
    assert known["text"].cold_start_seconds == pytest.approx(90.0)
    assert known["visual"].cold_start_seconds is None


async def test_pool_without_a_past_is_told_nothing(database: Database) -> None:
    """Then the scaling file's expectations hold."""
    known = (await told(database))["text"]
    assert (known.service_seconds, known.cold_start_seconds, known.idle_gaps) == ({}, None, ())


async def test_child_of_a_running_parent_is_told_to_its_pool(database: Database) -> None:
    """It becomes claimable when the parent is done; nothing else has to be."""
    parent = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis') RETURNING id"
    )
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, depends_on) "
        "VALUES (1, 'deck_date_extraction', ARRAY[$1::bigint])",
        parent,
    )
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, pool, status, epoch, last_heartbeat) "
        "VALUES ('v', 'visual_container', 'visual', 'active', 1, reveille_now())"
    )
    await database.execute(
        "UPDATE processing_queue SET status = 'processing', locked_by = 'v' WHERE id = $1", parent
    )
    busy = PoolState(pool="visual", processing=1)
    known = await told(database, PoolState(pool="text"), busy)
    (ahead,) = known["text"].upcoming
    assert isinstance(ahead, Upcoming)
    assert ahead.task_type == "deck_date_extraction"
    assert 0 < ahead.in_seconds <= read_scaling(None)["visual"].service_time
    assert known["visual"].upcoming == ()


async def test_leap_of_the_databases_clock_is_a_doubt_once(database: Database) -> None:
    """Ages that nobody waited for are no reason to do anything."""
    outlook = Outlook(Ledger(database.pool), refresh_seconds=60.0)
    scaling = read_scaling(None)
    assert (await outlook.look(STATES, scaling, NOW))["text"].doubt == ""
    for leap in (3600.0, -3600.0):
        assert "leapt by" in (await outlook.look(STATES, scaling, NOW + leap))["text"].doubt
        assert (await outlook.look(STATES, scaling, NOW + leap))["text"].doubt == ""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def test_past_is_read_in_bounded_part_however_long_it_is(database: Database) -> None:
    """Of 5000 tasks, no more than the sample asks for."""
    await database.execute(HISTORY, 5000)
    await database.execute("ANALYZE processing_queue")
    answer = await database.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement('look_experience')}", 100, 30
    )
    plan = json.loads(answer) if isinstance(answer, str) else answer
    read = [
        node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(plan[0]["Plan"])
        if node.get("Relation Name") == "processing_queue"
    ]
    assert read
    assert sum(read) <= 300


async def test_times_of_the_week_at_which_work_comes_are_learned(database: Database) -> None:
    """Every Monday at nine, once on a Tuesday: from the queue and the archive, per pool."""
    monday = datetime(2026, 1, 5, 9, 5, tzinfo=UTC)
    moments = [monday + timedelta(weeks=n) for n in range(4)]
    rows = [*moments, moments[2] + timedelta(days=1)]
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at, "
        "started_at, completed_at) SELECT 1, 'deck_date_extraction', 'completed', t, t, t, "
        "t + interval '1 min' FROM unnest($1::timestamptz[]) AS t",
        rows,
    )
    await database.set_now(monday + timedelta(weeks=4, minutes=-20))
    scaling = {
        pool: config.model_copy(update={"forecast": 0.75})
        for pool, config in read_scaling(None).items()
    }

    async def likely() -> dict[str, frozenset[int]]:
        outlook = Outlook(Ledger(database.pool), refresh_seconds=60.0)
        known = await outlook.look(STATES, scaling, NOW)
        return {pool: state.likely for pool, state in known.items()}

    nine = quarter_of(monday.timestamp())
    # Not four whole weeks on record: of the last three each has its Monday.
    assert await likely() == {"text": {nine}, "visual": frozenset()}
    await database.fetch("SELECT reveille_archive_tasks($1, 0, 100)", moments[2])
    assert await likely() == {"text": {nine}, "visual": frozenset()}
    assert (await told(database))["text"].likely == frozenset(), "only where it is asked for"
