"""Claim: one statement that takes ten tasks, whatever else lies in the queue."""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median
from typing import Any

from tests.bench.contestants import REVEILLE
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage

from reveille.sql import statement

WANTED = ["deck_date_extraction", "startup_name_extraction"]
# The wanted types stand last in line, behind those of ten others.
FILL = """\
INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at, next_retry_at, priority, pool,
    max_retries, traceparent)
SELECT n, CASE WHEN n > $1 - $3 THEN ($2::text[])[1 + n % 2] ELSE other.names[1 + n % cardinality(other.names)] END,
    $4, now(), now(), now() + interval '1 day', 1, 'text', 3, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
FROM generate_series(1, $1::bigint) n,
     (SELECT array_agg(name::text) AS names FROM task_types WHERE NOT name = ANY ($2)) AS other"""
SERVER = """\
INSERT INTO processing_servers (id, server_type, status, epoch, pool)
VALUES ('bench', 'text_container', 'active', 1, 'text')
ON CONFLICT (id) DO UPDATE SET status = 'active', epoch = 1"""
END = """\
UPDATE processing_queue SET status = 'completed', lease_token = NULL, locked_by = NULL, completed_at = now()
WHERE id = ANY ($1)"""
TAKEN = 10


async def _fill(connection: Any, queued: int, wanted: int, scheduled: int) -> None:
    await connection.execute(REVEILLE.empty_sql)
    await connection.execute("SET session_replication_role = replica")  # no triggers: it is faster
    await connection.execute(FILL, queued, WANTED, wanted, "queued")
    if scheduled:
        await connection.execute(FILL, scheduled, WANTED, scheduled // 2, "retry")
    await connection.execute("SET session_replication_role = origin")
    await connection.execute("VACUUM ANALYZE processing_queue")
    await connection.execute("CHECKPOINT")
    await connection.execute(SERVER)


async def _claims(connection: Any, count: int) -> list[float]:
    """Milliseconds of each claim; what is claimed is ended, as in life."""
    claim = await connection.prepare(statement("claim"))
    seconds = []
    for _ in range(count):
        began = time.perf_counter()
        rows = await claim.fetch("bench", 1, WANTED, TAKEN, 60.0)
        seconds.append((time.perf_counter() - began) * 1000)
        assert len(rows) == TAKEN
        await connection.execute(END, [row["task_id"] for row in rows])
    return seconds


def _case(
    name: str, queued: int, *, scheduled: int = 0, claims: int = 50, reader: bool = False
) -> Case:
    async def measure(stage: Stage) -> Measures:
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(stage.connection(REVEILLE))
            await _fill(connection, queued, claims * TAKEN, scheduled)
            if reader:
                other = await stack.enter_async_context(stage.connection(REVEILLE))
                await stack.enter_async_context(other.transaction(isolation="repeatable_read"))
                await other.fetchval("SELECT count(*) FROM processing_queue")
            times = await _claims(connection, claims)
        return {"p50": median(times), "last tenth": median(times[-claims // 10 :])}

    return Case(name=name, measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    if short:
        return [_case("1k queued", 1_000), _case("20k queued", 20_000)]
    return [
        _case("1k queued", 1_000),
        _case("100k queued", 100_000),
        _case("100k queued, 300k scheduled", 100_000, scheduled=300_000),
        _case("1k queued, 300k scheduled", 1_000, scheduled=300_000),
        _case("20k queued", 20_000, claims=1000),
        _case("20k queued, a reader since the start", 20_000, claims=1000, reader=True),
        _case("1M queued", 1_000_000),
    ]


SCENARIOS = (
    Scenario(
        name="claim",
        title="Claim of ten tasks of two types, behind the tasks of ten others",
        unit="ms",
        better="less",
        cases=_cases,
        rounds=1,
        note="Each number is the median of 50 claims (1,000 where a reader is compared).",
    ),
)
