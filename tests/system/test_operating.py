"""An operator at work: wishes over HTTP and on the command line, with the real autoscaler and real
workers that carry them out.
"""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.system.test_scaling import QUICK, add_task, until

from queue_gateway.testing import running_gateway
from reveille.testing import Database

NAME = "reveille-text-0"


async def reveille(database: Database, *arguments: str) -> Any:
    """A command of its own process, and what it says in JSON."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from reveille.cli import main; main()", *arguments, "--json"],
        env={**os.environ, "DATABASE_URL": database.dsn},
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout)


async def test_operators_wishes_are_carried_out_by_the_autoscaler(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Start, pin, drain, start anew, stop, pause: each becomes true, and the row says why."""
    processes.start("autoscaler", **QUICK, run_dir=tmp_path / "run")
    state = "SELECT state FROM containers ORDER BY id DESC LIMIT 1"
    await reveille(database, "pools", "text", "--pause")
    await add_task(database, deck, "startup_name_extraction")
    await reveille(database, "pools", "text", "--resume")
    await until(database, "SELECT status FROM processing_queue", "completed")
    assert await database.fetchval(
        "SELECT bool_and(c.intended_at >= p.updated_at) FROM containers c JOIN pools p ON p.name = c.pool"
    )
    await reveille(database, "containers", "pin", NAME, "--reason", "a demo")
    await until(database, state, "ready")

    async with running_gateway(database.dsn) as gateway:
        (listed,) = (await gateway.get("/api/containers"))["containers"]
        assert (listed["wish"], listed["wish_reason"]) == ("keep", "a demo")
        await gateway.post(f"/api/containers/{NAME}/drain", {"reason": "a new driver"})
        await until(database, state, "stopped")
        await gateway.post(f"/api/containers/{NAME}/start", {"reason": "driver is in"})
        await gateway.post(f"/api/containers/{NAME}/pin")
        await until(database, state, "ready")
        await gateway.post(f"/api/containers/{NAME}/stop", {"reason": "enough"})
        await until(database, state, "stopped")
    reasons = [row["reason"] for row in await reveille(database, "containers", "--all")]
    assert reasons[0] == "an operator's wish: stop (enough)"
