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


async def _measure(stage: Stage, wanted: str) -> Measures:
    """All five are started for each of them: what is measured is one."""
    dsn = await stage.another_database(REVEILLE, f"footprint_{wanted}")
    async with running_services(dsn, stage.scratch / wanted) as services:
        await asyncio.sleep(SETTLE_SECONDS)
        pid = services[wanted].child.process.pid
        used = cpu_seconds(pid)
        await asyncio.sleep(IDLE_SECONDS)
        used = cpu_seconds(pid) - used
        return {
            "start to serving, s": services[wanted].start_seconds,
            "import, s": await _import_seconds(wanted),
            "memory, MiB": memory_mib(pid),
            "CPU idle, %": 100 * used / IDLE_SECONDS,
        }


async def _import_seconds(module: str) -> float:
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import {module}.service", stdout=subprocess.DEVNULL
    )
    await process.wait()
    return time.perf_counter() - began


def _case(name: str) -> Case:
    async def measure(stage: Stage) -> Measures:
        return await _measure(stage, name)

    return Case(name=name, measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    return [_case(name) for name in (SERVICES[-1:] if short else SERVICES)]


SCENARIO = Scenario(
    name="footprint",
    title="Footprint of the services, idle, started one after the other",
    unit="as named",
    better="less",
    cases=_cases,
    rounds=1,
    note="Serving: listening, and for a worker registered. Import: a new interpreter until its service is imported.",
)
