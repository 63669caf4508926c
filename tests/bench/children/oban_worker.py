"""oban for Python, with uvloop as its own command line has it."""

import asyncio
import json
import os
import sys
import time
from typing import Any

import uvloop
from oban import Oban, job
from oban.schema import install as install_schema

REPORT = False


@job(queue="default")
async def noop() -> None:
    """A task."""
    if REPORT:
        os.write(1, f"{time.monotonic_ns()}\n".encode())


async def install(dsn: str) -> None:
    """The schema."""
    pool = await Oban.create_pool(dsn)
    await install_schema(pool)
    await pool.close()


async def work(dsn: str, options: dict[str, Any]) -> None:
    """One instance with one queue."""
    global REPORT  # noqa: PLW0603 - the job is a function of the module
    REPORT = options.get("report", False)
    pool = await Oban.create_pool(dsn)
    queue = "other" if options.get("other") else "default"
    async with Oban(pool=pool, queues={queue: options.get("slots", 10)}):
        await asyncio.sleep(1.0)
        os.write(1, b"ready\n")
        await asyncio.Event().wait()


def main() -> None:
    """One verb. Its worker names in rows are those of the module as it is imported."""
    verb, dsn, options = sys.argv[1:]
    uvloop.run(install(dsn) if verb == "install" else work(dsn, json.loads(options)))


if __name__ == "__main__":
    from tests.bench.children import oban_worker

    oban_worker.main()
