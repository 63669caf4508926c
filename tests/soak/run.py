"""One soak from beginning to end."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from tests.soak.load import Load
from tests.soak.sample import Sample, Sampler, Waits, waits_of
from tests.soak.stage import Setting, Stage, stage_for

from reveille.testing import eventually

SCRAPE_SECONDS = 15.0  # as Prometheus does
BROWSE_SECONDS = 2.0
SETTLE_SECONDS_MAX = 120.0
PAGES = ("/api/tasks?limit=50", "/api/queue", "/api/servers", "/healthz")
# What became claimable after its INSERT: retries, dependents, scheduled tasks.
REQUEUED = """
SELECT extract(epoch FROM started_at - claimable_at)::double precision AS seconds
FROM processing_queue_all
WHERE claimable_at > created_at AND started_at >= claimable_at AND (claimable_at BETWEEN $1 AND $2) = $3
ORDER BY 1
"""
LIVE = (
    "SELECT count(*) FROM processing_queue WHERE status NOT IN ('completed', 'failed', 'cancelled')"
)
COUNTS = "SELECT status, count(*) AS tasks FROM processing_queue_all GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """See Kept."""

    ends: dict[str, int]
    requeued: dict[str, Waits | None]
    wrong: list[str]


async def soak(setting: Setting, folder: Path, keep: Callable[[Sample], None]) -> Count:
    """A whole run."""
    async with stage_for(setting, folder) as stage:
        load = Load(stage.backend, stage.ledger, rate=setting.rate)
        began = time.monotonic()
        around = [
            asyncio.create_task(load.run()),
            asyncio.create_task(_scrape(stage)),
            asyncio.create_task(_browse(stage)),
        ]
        try:
            await _sample(stage, Sampler(stage, began), began, keep)
            load.stop.set()
            await around[0]
        finally:
            for task in around:
                task.cancel()
            await asyncio.gather(*around, return_exceptions=True)
        return await _count(stage)


async def _sample(
    stage: Stage, sampler: Sampler, began: float, keep: Callable[[Sample], None]
) -> None:
    setting = stage.setting
    open_now, number = False, 0
    while (elapsed := time.monotonic() - began) < setting.seconds:
        wanted = setting.reader_from_seconds <= elapsed < setting.reader_until_seconds
        if wanted and not open_now:
            await stage.open_reader()
        if open_now and not wanted:
            await stage.close_reader()
        open_now = wanted
        number += 1
        await asyncio.sleep(max(0.0, began + number * setting.sample_seconds - time.monotonic()))
        keep(await sampler.take(reader=open_now))


async def _requeued(stage: Stage) -> dict[str, Waits | None]:
    """How long they waited, without the reader and beside it."""
    found = {}
    for name, beside in (("without", False), ("beside", True)):
        rows = await stage.admin.fetch(REQUEUED, *stage.read_between, beside)
        found[name] = waits_of([row["seconds"] for row in rows])
    return found


async def _count(stage: Stage) -> Count:
    """When all has ended."""
    wrong = [
        f"{name} ended by itself: {c.log_tail(3)}"
        for name, c in stage.children.items()
        if not c.alive
    ]

    async def ended() -> bool:
        return bool(await stage.admin.fetchval(LIVE) == 0)

    with suppress(AssertionError):
        await eventually(ended, within_seconds=SETTLE_SECONDS_MAX)
    if left := await stage.admin.fetchval(LIVE):
        wrong.append(f"{left} tasks have not ended")
    rows = await stage.admin.fetch(COUNTS)
    ends = {row["status"]: row["tasks"] for row in rows}
    ledger = stage.ledger
    if sum(ends.values()) != ledger.committed:
        wrong.append(f"{ledger.committed} tasks acknowledged, {sum(ends.values())} are there")
    if ledger.doubled:
        wrong.append(f"{ledger.doubled} attempts began twice")
    if ledger.acknowledged:
        wrong.append(f"{len(ledger.acknowledged)} acknowledged tasks never began")
    # A second attempt is only for those that asked for one.
    again = await stage.admin.fetchval(
        "SELECT count(*) FROM processing_queue_all WHERE attempt > 1"
    )
    if ledger.again != again:
        wrong.append(f"{ledger.again} second attempts began, the rows say {again}")
    return Count(ends=ends, requeued=await _requeued(stage), wrong=wrong)


async def _scrape(stage: Stage) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_SECONDS)) as http:
        while True:
            for port in stage.ports.values():
                await _get(http, f"http://127.0.0.1:{port}/metrics")
            await asyncio.sleep(SCRAPE_SECONDS)


async def _browse(stage: Stage) -> None:
    url = f"http://127.0.0.1:{stage.ports['queue_gateway']}"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_SECONDS)) as http:
        while True:
            for page in PAGES:
                await _get(http, url + page)
            await asyncio.sleep(BROWSE_SECONDS)


async def _get(http: aiohttp.ClientSession, url: str) -> None:
    with suppress(aiohttp.ClientError, TimeoutError):
        async with http.get(url) as answer:
            await answer.read()
