"""Wake-up: from the commit of an INSERT to the first line of the handler, in other processes."""

import asyncio
import random
import time
from collections.abc import Sequence
from statistics import quantiles

from tests.bench.contestants import NOTIFY, OTHERS, OTHERS_SHORT, REVEILLE, Contestant
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage, Worker

SEED = 20
PAUSE_SECONDS = (0.005, 0.03)
BURST_WRITERS = 20
HELD_SECONDS_MAX = 0.008
WAIT_SECONDS_MAX = 60.0


def spread(milliseconds: Sequence[float]) -> Measures:
    """Median, 99th percentile and longest."""
    cuts = quantiles(milliseconds, n=100)
    return {"p50": cuts[49], "p99": cuts[98], "longest": max(milliseconds)}


def _idle(contestant: Contestant, count: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        await stage.empty(contestant)
        pause = random.Random(SEED)
        waits: list[float] = []
        async with (
            stage.workers(contestant, 1, slots=10, report=True) as (worker,),
            stage.connection(contestant) as connection,
        ):
            statement = await connection.prepare(contestant.one_sql)
            for _ in range(count):
                await asyncio.sleep(pause.uniform(*PAUSE_SECONDS))
                await statement.fetch()
                committed = time.monotonic_ns()
                started = int(await worker.line(WAIT_SECONDS_MAX))
                waits.append(max(0, started - committed) / 1e6)
        return spread(waits)

    return Case(name=contestant.name, measure=measure)


def _burst(contestant: Contestant, bursts: int) -> Case:
    """Waits are counted per burst from the commit order: the k-th start against the k-th commit."""

    async def measure(stage: Stage) -> Measures:
        await stage.empty(contestant)
        chance = random.Random(SEED)
        waits: list[float] = []
        async with stage.workers(contestant, 1, slots=BURST_WRITERS, report=True) as (worker,):
            connections = [await stage.open_connection(contestant) for _ in range(BURST_WRITERS)]
            try:
                for _ in range(bursts):
                    holds = [chance.uniform(0, HELD_SECONDS_MAX) for _ in connections]
                    waits += await _one_burst(connections, holds, contestant, worker)
            finally:
                for connection in connections:
                    await connection.close()
        return spread(waits)

    return Case(name=contestant.name, measure=measure)


async def _one_burst(
    connections: Sequence[object], holds: Sequence[float], contestant: Contestant, worker: Worker
) -> list[float]:
    async def write(connection: object, held_seconds: float) -> int:
        async with connection.transaction():  # type: ignore[attr-defined]
            await connection.fetch(contestant.one_sql)  # type: ignore[attr-defined]
            await asyncio.sleep(held_seconds)
        return time.monotonic_ns()

    writing = [asyncio.create_task(write(c, h)) for c, h in zip(connections, holds, strict=True)]
    started = [int(await worker.line(WAIT_SECONDS_MAX)) for _ in connections]
    committed = sorted(await asyncio.gather(*writing))
    await asyncio.sleep(0.005)
    return [
        max(0, start - commit) / 1e6
        for start, commit in zip(sorted(started), committed, strict=True)
    ]


def _idle_cases(short: bool) -> Sequence[Case]:
    return [
        _idle(c, 40 if short else 120)
        for c in (NOTIFY, REVEILLE, *(OTHERS_SHORT if short else OTHERS))
    ]


def _burst_cases(short: bool) -> Sequence[Case]:
    return [_burst(c, 20 if short else 100) for c in (NOTIFY, REVEILLE)]


def _many_cases(short: bool) -> Sequence[Case]:
    return [_burst(REVEILLE, 50 if short else 5_000)]


SCENARIOS = (
    Scenario(
        name="wake-up",
        title="Wake-up of an idle worker: commit to first line of the handler",
        unit="ms",
        better="less",
        cases=_idle_cases,
        rounds=2,
        note="`notify-per-insert` is a bare LISTEN loop: the limit. A task every 5-30 ms.",
    ),
    Scenario(
        name="wake-up-bursts",
        title="Wake-up in bursts: 20 writers, transactions held open for 0-8 ms",
        unit="ms",
        better="less",
        cases=_burst_cases,
        note="The k-th start is counted against the k-th commit of its burst.",
    ),
    Scenario(
        name="wake-up-longest",
        title="The longest of 100,000 wake-ups, in such bursts",
        unit="ms",
        better="less",
        cases=_many_cases,
        rounds=1,
    ),
)
