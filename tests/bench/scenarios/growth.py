"""Growth: what a task costs the database when many have gone before it."""

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.bench.contestants import REVEILLE
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.scenarios.claim import SERVER
from tests.bench.stage import Stage

from reveille.database import PLAN_ONCE
from reveille.sql import together

HISTORY = """\
INSERT INTO processing_queue (document_id, task_type, status, created_at, claimable_at, started_at, completed_at,
    progress_percentage, priority, pool, max_retries, attempt, traceparent)
SELECT n / 10, (ARRAY['visual_analysis', 'slide_feedback', 'template_analysis'])[1 + n % 3], 'completed', now(), now(),
    now(), now(), 100, 1, 'visual', 3, 1, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
FROM generate_series(1, $1::bigint) n"""
ROWS_MAX = 1_000_000  # of one statement
TURNS, TAKEN = 200, 10


async def _turns(connection: Any) -> list[float]:
    """Milliseconds of each turn: ten end, ten are claimed."""
    turn = together("claim", "settle")
    held: list[tuple[int, int]] = []
    times = []
    for _ in range(TURNS):
        ids, tokens = [task for task, _ in held], [token for _, token in held]
        nothing = [None] * len(held)
        began = time.perf_counter()
        rows = await connection.fetch(
            turn,
            *("bench", 1, ["visual_analysis"], TAKEN, 60.0),
            *(ids, tokens, ["done"] * len(held), nothing, nothing),
            *([1.0] * len(held), nothing, nothing, nothing),
        )
        times.append((time.perf_counter() - began) * 1000 / TAKEN)
        held = [(row["task_id"], row["lease_token"]) for row in rows if row["task_id"]]
    return times


def _case(count: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        await stage.empty(REVEILLE)
        async with stage.connection(REVEILLE) as connection:
            await connection.execute(
                "SET session_replication_role = replica"
            )  # no triggers: faster
            for first in range(0, count, ROWS_MAX):
                await connection.execute(HISTORY, min(ROWS_MAX, count - first))
            await connection.execute("SET session_replication_role = origin")
            await connection.execute("VACUUM ANALYZE processing_queue")
            await connection.execute("CHECKPOINT")
            await connection.execute(SERVER)
            began = time.perf_counter()
            await connection.execute(REVEILLE.many(TURNS * TAKEN))
            enqueued = (time.perf_counter() - began) * 1000 / (TURNS * TAKEN)
            for name, value in PLAN_ONCE.items():
                await connection.execute(f"SET {name} = '{value}'")
            times = await _turns(connection)
        return {"enqueued": enqueued, "claimed and ended": median(times[10:])}

    return Case(name=f"{count:,} rows of history", measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    return [_case(10**power) for power in ((2, 4) if short else (2, 4, 6))]


TITLE = "Growth: time per task in the database, by rows of history in the queue's table"
NOTE = "In batches: 2,000 tasks are enqueued by one statement; turns end ten and claim ten."
SCENARIOS = (
    Scenario(
        name="growth", title=TITLE, unit="ms", better="less", cases=_cases, rounds=1, note=NOTE
    ),
    Scenario(
        name="growth-long",
        title=TITLE,
        unit="ms",
        better="less",
        cases=lambda _short: [_case(10**power) for power in (2, 6, 7)],
        rounds=1,
        note=NOTE,
        only_by_name=True,
    ),
)
