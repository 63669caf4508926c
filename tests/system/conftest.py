"""Real processes against a real database and the stand-in model server."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_stub import rules
from model_stub.server import Stub, running_stub
from reveille.processes import Child, start_module
from reveille.testing import Database, eventually


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder starts processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


class Processes:
    """Services of one test, each a real process. All are gone when the test ends."""

    def __init__(self, database: Database, stub: Stub, folder: Path) -> None:
        self._environment = {
            "DATABASE_URL": database.dsn,
            "OLLAMA_HOST": stub.url,
            "REVEILLE_LOG_JSON": "true",
            "REVEILLE_LOG_LEVEL": "debug",
        }
        self._database = database
        self._folder = folder
        self._children: list[Child] = []

    def ask_model_at(self, url: str) -> None:
        """Another model server than the stand-in, for all that is started from now on."""
        self._environment["OLLAMA_HOST"] = url

    def start(self, module: str, **settings: Any) -> Child:
        """Start `python -m module` with REVEILLE_<SETTING> variables."""
        extra = {f"REVEILLE_{name.upper()}": str(value) for name, value in settings.items()}
        log_path = self._folder / f"{module}-{len(self._children)}.log"
        child = start_module(module, environment={**self._environment, **extra}, log_path=log_path)
        self._children.append(child)
        return child

    async def worker(self, module: str, server_id: str, **settings: Any) -> Child:
        """A worker that is ready to claim."""
        child = self.start(module, server_id=server_id, **settings)

        async def active() -> bool:
            assert child.alive, child.log_tail(60)
            status = await self._database.fetchval(
                "SELECT status FROM processing_servers WHERE id = $1", server_id
            )
            return bool(status == "active")

        await eventually(active, within_seconds=30)
        return child

    def stop_all(self) -> None:
        """SIGKILL whatever still runs."""
        for child in self._children:
            if child.alive:
                os.kill(child.process.pid, signal.SIGKILL)
            child.process.wait()


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    """The stand-in model server; faults can be armed while it runs."""
    async with running_stub(answerer=rules.answer, num_parallel=8) as running:
        yield running


@pytest.fixture
async def processes(database: Database, stub: Stub, tmp_path: Path) -> AsyncIterator[Processes]:
    """Starts services."""
    started = Processes(database, stub, tmp_path)
    try:
        yield started
    finally:
        await asyncio.to_thread(started.stop_all)


@pytest.fixture
def deck() -> bytes:
    """An eleven-page deck of the project's own."""
    return (Path(__file__).parents[2] / "examples" / "cardiosense_pitch.pdf").read_bytes()
