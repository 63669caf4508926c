"""Seeing: what traces and logs cost a worker, in processor time per task."""

import asyncio
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
CALL_SECONDS, CALLS = 0.05, 600  # slots that are full of calls far shorter than a model's


@asynccontextmanager
async def _collector(*, answers: bool = True) -> AsyncIterator[str]:
    """Takes every span and keeps none, or takes connections and never answers."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        if not answers:
            await asyncio.Event().wait()
        return web.Response()

    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _case(
    name: str, *, tasks: int = TASKS, traces: bool = False, answers: bool = True, **options: Any
) -> Case:
    async def measure(stage: Stage) -> Measures:
        count = tasks // 5 if stage.short else tasks
        await stage.empty(REVEILLE)
        async with _collector(answers=answers) as collector:
            said = {**options, "otlp": collector if traces else None}
            async with (
                stage.workers(REVEILLE, 1, slots=10, **said) as (worker,),
                stage.connection(REVEILLE) as connection,
            ):
                await connection.execute(REVEILLE.many(count))
                used, began = cpu_seconds(worker.process.pid), time.monotonic()
                ended = await until_empty(connection, REVEILLE, 120)
                used = cpu_seconds(worker.process.pid) - used
        return {"CPU µs per task": used * 1e6 / count, "tasks/s": count / (ended - began)}

    return Case(name=name, measure=measure)


ALL = {"log_level": "info", "traces": True}


def _cases(short: bool) -> Sequence[Case]:
    cases = [
        _case("nothing", blind=True),
        _case("metrics"),
        _case("metrics, one trace in a hundred", traces=True, ratio=0.01),
        _case("metrics, logs at info", log_level="info"),
        _case("metrics, logs, traces", **ALL),
        _case("metrics, logs, traces, collector away", answers=False, **ALL),
        _case("calls of 50 ms: nothing", tasks=CALLS, seconds=CALL_SECONDS, blind=True),
        _case("calls of 50 ms: metrics, logs, traces", tasks=CALLS, seconds=CALL_SECONDS, **ALL),
    ]
    return [cases[0], cases[4]] if short else cases


SCENARIO = Scenario(
    name="seeing",
    title="Seeing: what metrics, logs and traces cost a worker with ten full slots",
    unit="as named",
    better="less",
    cases=_cases,
    rounds=1,
    note="Spans (send, queued, process, settle) go to a collector on the same cores. "
    "The first cases drain tasks that do nothing, the last two tasks with one call of 50 ms: 200/s at the most.",
)
