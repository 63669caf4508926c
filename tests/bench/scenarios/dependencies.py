"""Dependencies: what it costs to release tasks that wait for others."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.bench.contestants import REVEILLE
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage

INSERT = "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis') RETURNING id"
MANY = """\
INSERT INTO processing_queue (document_id, task_type) SELECT n, 'visual_analysis' FROM generate_series(1, $1::int) n
RETURNING id"""
CHILDREN = """\
INSERT INTO processing_queue (document_id, task_type, depends_on)
SELECT n, 'visual_analysis', ARRAY[$1::bigint] FROM generate_series(1, $2::int) n"""
CHILD = """\
INSERT INTO processing_queue (document_id, task_type, depends_on)
VALUES (1, 'visual_analysis', $1::bigint[]) RETURNING id"""
END = "UPDATE processing_queue SET status = 'completed' WHERE id = ANY ($1::bigint[])"
STATUS = "SELECT count(*) FROM processing_queue WHERE status = 'blocked'"
BATCH = 100  # ends that travel together

Shape = Callable[[Any, int], Awaitable[float]]  # milliseconds per edge


async def _fan_out(connection: Any, size: int) -> float:
    parent = await connection.fetchval(INSERT)
    await connection.execute(CHILDREN, parent, size)
    began = time.perf_counter()
    await connection.execute(END, [parent])
    return (time.perf_counter() - began) * 1000 / size


async def _chain(connection: Any, size: int) -> float:
    ids = [await connection.fetchval(INSERT)]
    for _ in range(size):
        ids.append(await connection.fetchval(CHILD, [ids[-1]]))
    began = time.perf_counter()
    for one in ids[:-1]:
        await connection.execute(END, [one])
    return (time.perf_counter() - began) * 1000 / size


async def _fan_in(connection: Any, size: int) -> float:
    parents = [row["id"] for row in await connection.fetch(MANY, size)]
    await connection.fetchval(CHILD, parents)
    began = time.perf_counter()
    for at in range(0, size, BATCH):
        await connection.execute(END, parents[at : at + BATCH])
    return (time.perf_counter() - began) * 1000 / size


async def _alone(connection: Any, size: int) -> float:
    ids = [row["id"] for row in await connection.fetch(MANY, size)]
    began = time.perf_counter()
    for at in range(0, size, BATCH):
        await connection.execute(END, ids[at : at + BATCH])
    return (time.perf_counter() - began) * 1000 / size


def _case(name: str, shape: Shape, size: int) -> Case:
    async def measure(stage: Stage) -> Measures:
        await stage.empty(REVEILLE)
        async with stage.connection(REVEILLE) as connection:
            each = await shape(connection, size // 10 if stage.short else size)
            assert await connection.fetchval(STATUS) == 0
        return {"per edge": each}

    return Case(name=name, measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    del short
    return [
        _case("nobody waits, ends by hundreds", _alone, 10_000),
        _case("fan-out of 10,000: the parent's end", _fan_out, 10_000),
        _case("chain of 1,000: each end by itself", _chain, 1_000),
        _case("fan-in of 10,000: ends by hundreds", _fan_in, 10_000),
    ]


SCENARIO = Scenario(
    name="dependencies",
    title="Dependencies: time per edge that an end satisfies, statuses set by plain UPDATE",
    unit="ms",
    better="less",
    cases=_cases,
    rounds=2,
)
