"""EXPLAIN at size: what runs all the time reads an index, however much else lies in the table."""

from collections.abc import Iterator
from typing import Any

import pytest

from autoscaler.ledger import LOOK_PLAN
from autoscaler.sql import statement as autoscaler_statement
from reveille.database import PLAN_ONCE
from reveille.sql import statement, together

TYPES = ["deck_date_extraction", "startup_name_extraction"]
FILL = """\
INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at, next_retry_at,
    locked_by, lease_token, lock_expires_at, cancelled_by_task_id, processing_options, priority,
    traceparent, retry_count, error_count, max_retries, progress_percentage)
SELECT n / 11, (ARRAY['visual_analysis', 'slide_feedback', 'template_analysis', 'specialized_science'])[1 + n % 4],
    CASE WHEN n % 20 < 10 THEN 'queued' WHEN n % 20 < 13 THEN 'retry' WHEN n % 20 < 17 THEN 'completed'
         WHEN n % 20 < 19 THEN 'failed' WHEN n % 400 = 19 THEN 'processing' ELSE 'cancelled' END,
    now(), now(), now() + n * interval '1 second',
    'worker-' || n % 50, n, now() + interval '1 hour', n, '{}', 1 + n % 2,
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 0, 0, 3, 0
FROM generate_series(1, 60000) n"""
SETTLE_ARGUMENTS = ([1], [1], ["done"], [None], [None], [1.0], [None], [None], [None])
STATEMENTS = {
    "claim": (statement("claim"), ("worker-1", 1, TYPES, 2, 60.0)),
    "turn": (together("claim", "settle"), ("worker-1", 1, TYPES, 2, 60.0, *SETTLE_ARGUMENTS)),
    "claim_above": (statement("claim_above"), ("worker-1", 1, TYPES, 2, 60.0, [1] * 6, [1])),
    "turn above": (
        together("claim_above", "settle"),
        ("worker-1", 1, TYPES, 2, 60.0, [1] * 6, [1], *SETTLE_ARGUMENTS),
    ),
    "lowest_claimable": (statement("lowest_claimable"), (TYPES,)),
    "settle": (statement("settle"), SETTLE_ARGUMENTS),
    "heartbeat": (statement("heartbeat"), ("worker-1", 1, 1, [1], [1], TYPES, True)),
    "progress": (
        statement("progress"),
        (
            *([1], [1], [50], ["step"], ["message"]),
            *([1], [1], ["step"], ["completed"], [50], ["message"], [None]),
        ),
    ),
    "save_checkpoint": (statement("save_checkpoint"), (1, 1, "key", {})),
}

LITERALS = {
    "claim": "'worker-1', 1, ARRAY['deck_date_extraction', 'startup_name_extraction'], 2, 60",
    "settle": "'{1}', '{1}', '{done}', '{NULL}', '{NULL}', '{1}', '{NULL}', '{NULL}', '{NULL}'",
    "progress": "'{1}', '{1}', '{50}', '{step}', '{message}', "
    "'{1}', '{1}', '{step}', '{completed}', '{50}', '{message}', '{NULL}'",
}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of an EXPLAIN tree."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def scans_of_the_queue(plan: dict[str, Any]) -> set[tuple[str, str | None]]:
    """How processing_queue is read: node type and index."""
    return {
        (node["Node Type"], node.get("Index Name"))
        for node in nodes(plan)
        if node.get("Relation Name") == "processing_queue" and node["Node Type"] != "ModifyTable"
    }


@pytest.fixture
async def full(queue: Any) -> Any:
    """60,000 rows, half of them claimable by others; the wanted types stand last in line."""
    await queue.server()
    await queue.database.execute("ALTER TABLE processing_queue DISABLE TRIGGER USER")
    await queue.database.execute(FILL)
    await queue.database.execute("ALTER TABLE processing_queue ENABLE TRIGGER USER")
    for task_type in TYPES:
        await queue.add(task_type)
    await queue.database.execute("ANALYZE processing_queue")
    return queue


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_statements_of_the_workers_never_scan_the_queue(full: Any, mode: str) -> None:
    """With the values at hand and without: the plan is that of the index."""
    seen = {}
    async with full.database.connect() as connection:
        await connection.execute(f"SET plan_cache_mode = {mode}")
        for name, (sql, arguments) in STATEMENTS.items():
            ((plan,),) = [await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)]
            seen[name] = scans_of_the_queue(plan["Plan"])

    assert {name for name, scans in seen.items() if ("Seq Scan", None) in scans} == set()
    assert ("Index Scan", "processing_queue_claimable") in seen["claim"]
    assert ("Index Scan", "processing_queue_claimable") in seen["turn"]
    assert any(index == "processing_queue_claimable" for _, index in seen["heartbeat"])
    assert any(index == "processing_queue_due" for _, index in seen["heartbeat"])


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_what_the_autoscaler_asks_all_the_time_is_read_in_the_order_of_the_line(
    full: Any, mode: str
) -> None:
    """So that listing and counting end at their bounds, however many wait and with what statistics."""
    asked = {"look_pools": ("autoscaler", 1, 200, 50_000), "look_critical": (3, 100)}
    async with full.database.connect() as connection, connection.transaction():
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await connection.execute(LOOK_PLAN)
        for name, arguments in asked.items():
            sql = autoscaler_statement(name)
            ((plan,),) = [await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)]
            line = [
                node["Node Type"]
                for node in nodes(plan["Plan"])
                if node.get("Index Name") == "processing_queue_claimable"
            ]
            assert line, name
            assert set(line) <= {"Index Scan", "Index Only Scan"}, name
            limited = [n for n in nodes(plan["Plan"]) if n["Node Type"] == "Limit"]
            sorted_first = [m for n in limited for m in nodes(n) if m["Node Type"] == "Sort"]
            assert not sorted_first, name


async def test_claim_touches_few_pages_at_size(full: Any) -> None:
    """The wanted types stand behind 30,000 others, and the claim reads a handful of pages."""
    sql, arguments = STATEMENTS["claim"]
    await full.database.execute("UPDATE processing_servers SET epoch = 1")
    async with full.database.connect() as connection, connection.transaction():
        ((plan,),) = [
            await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
        ]

    root = plan["Plan"]
    assert root["Actual Rows"] == 2
    assert root["Shared Hit Blocks"] + root["Shared Read Blocks"] < 200


@pytest.mark.parametrize(
    ("call", "index"),
    [
        ("SELECT * FROM reveille_recover_tasks()", "processing_queue_held"),
        ("SELECT * FROM get_next_processing_task('gpu', '{\"deck_date_extraction\": true}')", None),
    ],
)
async def test_functions_never_scan_the_queue(full: Any, call: str, index: str | None) -> None:
    """What recovery and external servers run reads only what is held or claimable."""
    async with full.database.connect() as connection:
        await connection.execute(call)  # whatever is cold
        counters = (
            "SELECT seq_scan, pg_stat_force_next_flush() FROM pg_stat_user_tables "
            "WHERE relname = 'processing_queue'"
        )
        await connection.fetchrow(counters)
        before = (await connection.fetchrow(counters))["seq_scan"]
        await connection.execute(call)
        await connection.fetchrow(counters)
        after = (await connection.fetchrow(counters))["seq_scan"]

    assert after == before


async def test_plans_made_while_the_queue_is_empty_hold_when_it_is_full(queue: Any) -> None:
    """A worker plans its statements once, at its first look; nothing has been analysed since."""
    await queue.server()
    await queue.database.execute("VACUUM ANALYZE processing_queue")
    kept: dict[str, dict[str, Any]] = {}
    async with queue.database.connect() as connection:
        for name, value in PLAN_ONCE.items():
            await connection.execute(f"SET {name} = '{value}'")
        for name, values in LITERALS.items():
            await connection.execute(f"PREPARE {name} AS {statement(name)}")
            await connection.execute(f"EXECUTE {name}({values})")
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(FILL)
        await connection.execute("SET session_replication_role = origin")
        for name, values in LITERALS.items():
            plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {name}({values})")
            kept[name] = plan[0]["Plan"]

    for name, plan in kept.items():
        read = {n["Index Name"]: "Index Cond" in n for n in nodes(plan) if "Index Name" in n}
        of_the_queue = {index: bounded for index, bounded in read.items() if "queue_" in index}
        assert set(of_the_queue) <= {"processing_queue_claimable", "processing_queue_pkey"}, name
        assert all(of_the_queue.values()), (name, plan)
        assert ("Seq Scan", None) not in scans_of_the_queue(plan), name


async def test_nothing_that_workers_plan_once_is_compiled(queue: Any) -> None:
    """With sequential scans made dear, Postgres would spend seconds on machine code for a look."""
    compiled = []
    async with queue.database.connect() as connection:
        for name, value in PLAN_ONCE.items():
            await connection.execute(f"SET {name} = '{value}'")
        for name, (sql, arguments) in STATEMENTS.items():
            ((plan,),) = [await connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments)]
            if "JIT" in plan:
                compiled.append(name)

    assert compiled == []
