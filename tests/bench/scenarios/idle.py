"""Idle: what a system with nothing to do asks of its database, all contestants side by side."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from tests.bench.contestants import CONTESTANTS, REVEILLE
from tests.bench.peers import Absent
from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.services import running_services
from tests.bench.stage import Stage

SECONDS = 60.0
# What a start does is not idleness, and Postgres counts the last of it 10 s after a connection fell idle.
SETTLE_SECONDS = 25.0
WHOLE = "reveille, five services"
COUNTED = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"


def _name(dsn: str) -> str:
    return urlsplit(dsn).path[1:]


async def _started(stage: Stage, stack: AsyncExitStack) -> dict[str, str]:
    """The database of each system that idles now."""
    names: dict[str, str] = {}
    for contestant in CONTESTANTS:
        if contestant.name == "bare":
            continue  # it looks every 20 ms, because nobody tells it anything
        try:
            names[contestant.name] = _name(await stage.dsn(contestant))
        except Absent:
            continue
        await stage.empty(contestant)
        await stack.enter_async_context(stage.workers(contestant, 1, slots=10))
    whole = await stage.another_database(REVEILLE, "whole")
    names[WHOLE] = _name(whole)
    await stack.enter_async_context(running_services(whole, stage.scratch))
    return names


async def _count(admin: Any, names: dict[str, str]) -> dict[str, int]:
    return {says: await admin.fetchval(COUNTED, name) for says, name in names.items()}


async def _autovacuum(admin: Any, said: str) -> None:
    """Its transactions count in the database where it runs, and it comes when it likes."""
    await admin.execute(f"ALTER SYSTEM SET autovacuum = {said}")
    await admin.execute("SELECT pg_reload_conf()")


async def _measure(stage: Stage) -> Measures:
    async with AsyncExitStack() as stack:
        names = await _started(stage, stack)
        admin = await asyncpg.connect(stage.postgres.dsn)
        stack.push_async_callback(admin.close)
        await _autovacuum(admin, "off")
        stack.push_async_callback(_autovacuum, admin, "on")
        await asyncio.sleep(SETTLE_SECONDS)
        before = await _count(admin, names)
        await asyncio.sleep(SECONDS)
        after = await _count(admin, names)
    return {says: (after[says] - before[says]) * 60 / SECONDS for says in names}


def _cases(short: bool) -> Sequence[Case]:
    return [] if short else [Case(name="a minute of nothing", measure=_measure)]


SCENARIO = Scenario(
    name="idle",
    title="Idle: transactions a minute",
    unit="transactions/minute",
    better="less",
    cases=_cases,
    rounds=1,
    note="A worker process of each, all at once; beside them all five services of Reveille. "
    "`notify-per-insert` is a bare LISTEN loop. Each has a database of its own, in which autovacuum "
    "is off: its transactions would count as theirs. What wakes a listener counts as one.",
)
