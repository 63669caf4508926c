"""procrastinate, with its asynchronous connector."""

import asyncio
import json
import os
import sys
import time
from typing import Any

from procrastinate import App, PsycopgConnector


async def install(dsn: str) -> None:
    """The schema."""
    app = App(connector=PsycopgConnector(conninfo=dsn))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def work(dsn: str, options: dict[str, Any]) -> None:
    """One worker."""
    slots = options.get("slots", 10)
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=2, max_size=slots + 4))
    report = options.get("report", False)

    @app.task(name="noop")
    async def noop() -> None:
        if report:
            os.write(1, f"{time.monotonic_ns()}\n".encode())

    async def say_ready() -> None:
        await asyncio.sleep(1.0)
        os.write(1, b"ready\n")

    async with app.open_async():
        saying = asyncio.create_task(say_ready())
        queues = ["other"] if options.get("other") else None
        await app.run_worker_async(concurrency=slots, queues=queues)
        await saying


def main() -> None:
    """One verb."""
    verb, dsn, options = sys.argv[1:]
    asyncio.run(install(dsn) if verb == "install" else work(dsn, json.loads(options)))


if __name__ == "__main__":
    main()
