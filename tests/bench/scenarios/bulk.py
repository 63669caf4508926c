"""Bulk: INSERT … SELECT of many rows in one transaction."""

import time
from collections.abc import Sequence

from tests.bench.contestants import BARE, NOTIFY, OTHERS, OTHERS_SHORT, REVEILLE, Contestant
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage

COUNTS = (10_000, 100_000)


def _case(contestant: Contestant, count: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        await stage.empty(contestant)
        async with stage.connection(contestant) as connection:
            began = time.perf_counter()
            await connection.execute(contestant.many(count))
            return {"seconds": time.perf_counter() - began}

    return Case(name=f"{contestant.name}, {count // 1000}k rows", measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    ours = [
        _case(c, n) for n in (COUNTS[:1] if short else COUNTS) for c in (BARE, NOTIFY, REVEILLE)
    ]
    return [*ours, *(_case(c, COUNTS[0]) for c in (OTHERS_SHORT if short else OTHERS))]


SCENARIO = Scenario(
    name="bulk",
    title="Bulk: one statement inserts many tasks",
    unit="s",
    better="less",
    cases=_cases,
)
