"""Footprint: what the five services take when nothing happens and when decks are worked on, and how
soon they serve.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from aiohttp import ClientSession
from tests.bench.contestants import REVEILLE
from tests.bench.cpu import cpu_seconds, memory_mib
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.services import SERVICES, running_services
from tests.bench.stage import Stage

SECONDS, SECONDS_SHORT = 10.0, 3.0  # idle, and busy
SETTLE_SECONDS = 3.0
DECKS = 20  # more than are done in that time
LOOK_SECONDS = 0.2  # how often somebody asks the gateway for its tasks meanwhile
ENQUEUE = "SELECT enqueue_document(n, 'tidewell_pitch.pdf') FROM generate_series(1, $1) n"

Pids = Mapping[str, int]


async def _measure(stage: Stage) -> dict[str, Measures]:
    """All five at once, each by itself in the table."""
    seconds = SECONDS_SHORT if stage.short else SECONDS
    dsn = await stage.another_database(REVEILLE, "footprint")
    async with running_services(dsn, stage.scratch / "footprint") as services:
        pids = {name: running.child.process.pid for name, running in services.items()}
        await asyncio.sleep(SETTLE_SECONDS)
        idle = await _processor_shares(pids, seconds)
        memory = {name: memory_mib(pid) for name, pid in pids.items()}
        async with stage.connection_to(dsn) as connection:
            await connection.execute(ENQUEUE, DECKS)
        asking = asyncio.create_task(_ask(services["queue_gateway"].url))
        await asyncio.sleep(SETTLE_SECONDS)
        busy = await _processor_shares(pids, seconds)
        asking.cancel()
        return {
            name: {
                "start to serving, s": services[name].start_seconds,
                "CPU idle, %": idle[name],
                "CPU busy, %": busy[name],
                "memory idle, MiB": memory[name],
                "memory busy, MiB": memory_mib(pid),
            }
            for name, pid in pids.items()
        }


async def _processor_shares(pids: Pids, seconds: float) -> dict[str, float]:
    """Of one core, in percent; a worker's render children are not counted."""
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    await asyncio.sleep(seconds)
    return {name: 100 * (cpu_seconds(pid) - before[name]) / seconds for name, pid in pids.items()}


async def _ask(url: str) -> None:
    """As an open board does."""
    async with ClientSession() as session:
        while True:
            async with session.get(f"{url}/api/tasks") as answer:
                await answer.read()
            await asyncio.sleep(LOOK_SECONDS)


async def _import_seconds(module: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import {module}.service", stdout=subprocess.DEVNULL
    )
    await process.wait()
    return time.perf_counter() - began


def _cases(short: bool) -> Sequence[Case]:
    del short
    known: dict[str, Measures] = {}

    def case(name: str) -> Case:
        async def measure(stage: Stage) -> Measures:
            if not known:
                known.update(await _measure(stage))
            return {**known[name], "import, s": await _import_seconds(name)}

        return Case(name=name, measure=measure)

    return [case(name) for name in SERVICES]


SCENARIO = Scenario(
    name="footprint",
    title="Footprint of the services, idle and busy, started one after the other",
    unit="as named",
    better="less",
    cases=_cases,
    rounds=1,
    note="Serving: listening, and for a worker registered. Import: a new interpreter until its service is imported. "
    "Busy: whole pipelines of decks with a stand-in model of 0.5 s a call, one slot a worker, a list of tasks "
    "asked for five times a second. Percent of one core; render children are not counted.",
)
