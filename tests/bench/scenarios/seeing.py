"""Seeing: what traces and logs cost a worker, in processor time per task."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from tests.bench.contestants import REVEILLE
from tests.bench.cpu import cpu_seconds
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import Stage, until_empty

TASKS = 5_000


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Takes every span and keeps none."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _case(name: str, *, traces: bool = False, **options: Any) -> Case:
    async def measure(stage: Stage) -> Measures:
        tasks = TASKS // 5 if stage.short else TASKS
        await stage.empty(REVEILLE)
        async with _collector() as collector:
            said = {**options, "otlp": collector if traces else None}
            async with (
                stage.workers(REVEILLE, 1, slots=10, **said) as (worker,),
                stage.connection(REVEILLE) as connection,
            ):
                await connection.execute(REVEILLE.many(tasks))
                used, began = cpu_seconds(worker.process.pid), time.monotonic()
                ended = await until_empty(connection, REVEILLE, 120)
                used = cpu_seconds(worker.process.pid) - used
        return {"CPU µs per task": used * 1e6 / tasks, "tasks/s": tasks / (ended - began)}

    return Case(name=name, measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    del short
    return [
        _case("metrics alone"),
        _case("metrics and logs at info", log_level="info"),
        _case("metrics, logs and traces", log_level="info", traces=True),
    ]


SCENARIO = Scenario(
    name="seeing",
    title="Seeing: a drain of tasks that do nothing, with metrics, logs, traces (10 slots)",
    unit="as named",
    better="less",
    cases=_cases,
    rounds=2,
    note="Spans (send, queued, process, settle) go to a collector on the same cores. "
    "Beside a model call of a second, a microsecond is a millionth.",
)
