"""Footprint: what the five services take when nothing happens, and how soon they serve."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.bench.contestants import REVEILLE
from tests.bench.cpu import cpu_seconds, memory_mib
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.services import SERVICES, running_services
from tests.bench.stage import Stage

IDLE_SECONDS = 10.0
SETTLE_SECONDS = 3.0


async def _measure(stage: Stage) -> dict[str, Measures]:
    """All five at once, each by itself in the table."""
    dsn = await stage.another_database(REVEILLE, "footprint")
    async with running_services(dsn, stage.scratch / "footprint") as services:
        await asyncio.sleep(SETTLE_SECONDS)
        pids = {name: running.child.process.pid for name, running in services.items()}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        await asyncio.sleep(IDLE_SECONDS)
        return {
            name: {
                "start to serving, s": services[name].start_seconds,
                "memory, MiB": memory_mib(pid),
                "CPU idle, %": 100 * (cpu_seconds(pid) - before[name]) / IDLE_SECONDS,
            }
            for name, pid in pids.items()
        }


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
    title="Footprint of the services, idle, started one after the other",
    unit="as named",
    better="less",
    cases=_cases,
    rounds=1,
    note="Serving: listening, and for a worker registered. Import: a new interpreter until its service is imported.",
)
