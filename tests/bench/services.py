"""The five services as processes, with their defaults, on a database of their own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from model_stub.config import StubSettings
from model_stub.server import Stub
from reveille.processes import Child, start_module

SERVICES = ("queue_gateway", "autoscaler", "visual_worker", "text_worker", "heartbeat_monitor")
STARTED = '"service_started"'
REGISTERED = '"server_registered"'
START_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.01
CALL_SECONDS = 0.5  # of the stand-in model
ROOT = Path(__file__).parents[2]


class Running:
    """A service, and how long it took until it served."""

    def __init__(self, child: Child, seconds: float) -> None:
        self.child = child
        self.start_seconds = seconds

    @property
    def url(self) -> str:
        """Where it serves HTTP."""
        for line in self.child.log_path.read_text().splitlines():
            if STARTED in line:
                return str(json.loads(line)["url"])
        raise RuntimeError(f"{self.child.name} did not say where it serves")


@asynccontextmanager
async def running_services(dsn: str, scratch: Path) -> AsyncIterator[Mapping[str, Running]]:
    """All five, until the block ends; the autoscaler has nothing to start (provider static), and
    documents are the examples.
    """
    async with AsyncExitStack() as stack:
        stub = Stub(StubSettings(port=0, service_seconds=CALL_SECONDS))
        await stub.start()
        stack.push_async_callback(stub.stop)
        environment = {
            "DATABASE_URL": dsn,
            "OLLAMA_HOST": stub.url,
            "REVEILLE_PROVIDER": "static",
            "REVEILLE_LOG_JSON": "true",
            "REVEILLE_HTTP_PORT": "0",
            "REVEILLE_DOCUMENT_ROOT": str(ROOT / "examples"),
            "REVEILLE_DRAIN_SECONDS": "0.5",
        }
        running: dict[str, Running] = {}
        for name in SERVICES:
            running[name] = await started(name, environment, scratch / f"{name}.log")
            stack.push_async_callback(asyncio.to_thread, running[name].child.stop, wait_seconds=10)
        yield running


async def started(name: str, environment: Mapping[str, str], log: Path) -> Running:
    """One of them, when it serves; stopping its child is the caller's."""
    began = time.monotonic()
    child = start_module(name, environment=environment, log_path=log)
    mark = REGISTERED if name.endswith("worker") else STARTED
    while mark not in (log.read_text() if log.exists() else ""):
        if not child.alive or time.monotonic() - began > START_SECONDS_MAX:
            raise RuntimeError(f"{name} did not start:\n{child.log_tail()}")
        await asyncio.sleep(LOOK_SECONDS)
    return Running(child, time.monotonic() - began)
