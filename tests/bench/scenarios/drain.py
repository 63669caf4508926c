"""Drain: a backlog of tasks that do nothing, from the commit that brings it until none is left."""

import time
from collections.abc import Sequence
from typing import Any

from tests.bench.contestants import (
    BARE,
    GRAPHILE,
    OBAN,
    PGBOSS,
    PGQUEUER,
    PROCRASTINATE,
    REVEILLE,
    Contestant,
)
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage, until_empty

DRAIN_SECONDS_MAX = 120.0


def _case(contestant: Contestant, count: int, processes: int, says: str, **options: Any) -> Case:
    async def measure(stage: Stage) -> Measures:
        tasks = count // 5 if stage.short else count
        await stage.empty(contestant)
        async with (
            stage.workers(contestant, processes, **options),
            stage.connection(contestant) as connection,
        ):
            await connection.execute(contestant.many(tasks))
            began = time.monotonic()
            ended = await until_empty(connection, contestant, DRAIN_SECONDS_MAX)
        return {"per second": tasks / (ended - began)}

    return Case(name=f"{contestant.name}, {says}", measure=measure)


def _one(short: bool) -> Sequence[Case]:
    cases = [
        _case(BARE, 20_000, 1, "10 at a time", slots=10),
        _case(REVEILLE, 10_000, 1, "10 slots", slots=10),
        _case(PGQUEUER, 6_000, 1, "batches of 10", slots=20, batch=10),
        _case(GRAPHILE, 6_000, 1, "concurrency 10", slots=10),
        _case(PGBOSS, 6_000, 1, "batches of 10", slots=10, batch=10),
        _case(OBAN, 1_500, 1, "limit 10", slots=10),
        _case(PROCRASTINATE, 800, 1, "concurrency 10", slots=10),
        _case(BARE, 40_000, 1, "256 at a time", slots=256),
        _case(REVEILLE, 20_000, 1, "256 slots", slots=256),
        _case(PGQUEUER, 20_000, 1, "batches of 500", slots=1000, batch=500),
        _case(GRAPHILE, 40_000, 1, "local queue and batches of 500", slots=24, batch=500),
        _case(PGBOSS, 20_000, 1, "batches of 500", slots=500, batch=500),
    ]
    return cases[:4] if short else cases


def _four(short: bool) -> Sequence[Case]:
    cases = [
        _case(BARE, 30_000, 4, "10 at a time", slots=10),
        _case(REVEILLE, 15_000, 4, "10 slots", slots=10),
        _case(PGQUEUER, 10_000, 4, "batches of 10", slots=20, batch=10),
        _case(GRAPHILE, 20_000, 4, "concurrency 10", slots=10),
    ]
    return cases[:2] if short else cases


SCENARIOS = (
    Scenario(
        name="drain-1",
        title="Drain with one worker process",
        unit="tasks/s",
        better="more",
        cases=_one,
        rounds=2,
    ),
    Scenario(
        name="drain-4",
        title="Drain with four worker processes",
        unit="tasks/s",
        better="more",
        cases=_four,
        rounds=2,
    ),
)
