"""pgqueuer, with asyncpg and uvloop as its documentation advises."""

import asyncio
import json
import os
import sys
import time
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries


async def install(dsn: str) -> None:
    """The schema, with its own tuning of autovacuum."""
    connection = await asyncpg.connect(dsn)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


async def work(dsn: str, options: dict[str, Any]) -> None:
    """One queue manager."""
    connection = await asyncpg.connect(dsn)
    queue = PgQueuer(AsyncpgDriver(connection))
    report = options.get("report", False)

    @queue.entrypoint("other" if options.get("other") else "noop")
    async def noop(_job: Any) -> None:
        if report:
            os.write(1, f"{time.monotonic_ns()}\n".encode())

    async def say_ready() -> None:
        await asyncio.sleep(1.0)
        os.write(1, b"ready\n")

    saying = asyncio.create_task(say_ready())
    await queue.run(batch_size=options.get("batch", 10))
    await saying


def main() -> None:
    """One verb."""
    verb, dsn, options = sys.argv[1:]
    uvloop.run(install(dsn) if verb == "install" else work(dsn, json.loads(options)))


if __name__ == "__main__":
    main()
