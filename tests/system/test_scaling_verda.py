"""The autoscaler as a real process against Verda's stand-in, whose containers are real workers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.providers.verda_fake import CLIENT_ID, CLIENT_SECRET, FakeDeployment, FakeVerda
from tests.providers.verda_world import serving
from tests.system.test_scaling import add_task, until

from reveille.processes import Child, start_module
from reveille.testing import Database

SCALING = """
visual_container_scaling: {offers: [{gpu: RTX 6000 Ada}]}
text_container_scaling: {offers: [{gpu: H100, spot: true}]}
"""
LOCAL = {"REVEILLE_HTTP_HOST": "127.0.0.1", "REVEILLE_HTTP_PORT": "0"}  # all share this machine
RESTART_SECONDS = 0.2


class Containers:
    """A worker process for each replica that runs; one that ends by itself is started again."""

    def __init__(self, verda: FakeVerda, folder: Path) -> None:
        self._folder = folder
        self._children: dict[str, Child] = {}
        self._modules: dict[str, tuple[str, dict[str, str]]] = {}
        self.started: list[str] = []
        verda.on_run, verda.on_end = self._run, self._end

    def _run(self, deployment: FakeDeployment) -> None:
        pool = deployment.name.split("-")[1]
        self._modules[deployment.name] = f"{pool}_worker", {**deployment.environment, **LOCAL}
        self._start(deployment.name)

    def _start(self, name: str) -> None:
        module, environment = self._modules[name]
        log_path = self._folder / f"{name}.log"
        self._children[name] = start_module(module, environment=environment, log_path=log_path)
        self.started.append(name)

    def _end(self, deployment: FakeDeployment) -> None:
        self._modules.pop(deployment.name, None)
        child = self._children.get(deployment.name)
        if child is not None:
            child.ask_to_stop()

    async def keep(self) -> None:
        """Start again what ended and was not deleted."""
        while True:
            await asyncio.sleep(RESTART_SECONDS)
            for name in [n for n in self._modules if not self._children[n].alive]:
                self._start(name)

    async def gone(self) -> None:
        """Return when no worker runs any more."""
        for child in self._children.values():
            await asyncio.to_thread(child.process.wait, 20)

    def kill(self) -> None:
        for child in self._children.values():
            if child.alive:
                child.process.kill()
            child.process.wait()


@asynccontextmanager
async def account(folder: Path) -> AsyncIterator[tuple[str, FakeVerda, Containers]]:
    """An account on this machine's clock; a cold start takes a second."""
    verda = FakeVerda(clock=time.monotonic, pull_seconds=0.5, boot_seconds=0.5)
    containers = Containers(verda, folder)
    keeping = asyncio.create_task(containers.keep())
    try:
        async with serving(verda) as (url, _):
            yield url, verda, containers
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        containers.kill()


async def test_burst_brings_deployments_up_from_zero_and_they_are_deleted_after_it(
    database: Database, processes: Any, deck: bytes, tmp_path: Path
) -> None:
    """Rows, deployments, workers, results, nothing left; and others' deployments as they were."""
    scaling = tmp_path / "scaling.yaml"
    scaling.write_text(SCALING)
    async with account(tmp_path) as (url, verda, containers):
        verda.add("somebody-else")
        processes.start("heartbeat_monitor")
        processes.start(
            "autoscaler",
            provider="verda",
            verda_url=url,
            verda_client_id=CLIENT_ID,
            verda_client_secret=CLIENT_SECRET,
            verda_image="registry.test/{pool}:1",
            scaling_file=scaling,
            lone_task_delay_seconds=0,
            scale_down_delay_seconds=1,
            look_seconds=0.5,
        )
        for task_type in ["startup_name_extraction"] * 3 + ["visual_analysis"]:
            await add_task(database, deck, task_type)
        done = "SELECT count(*) FROM processing_queue WHERE status = 'completed'"
        await until(database, done, 4, within_seconds=60)
        states = "SELECT string_agg(DISTINCT state, ' ') FROM containers"
        await until(database, states, "stopped", within_seconds=60)
        assert set(verda.deployments) == {"somebody-else"}
        await containers.gone()
        assert {"reveille-text-0", "reveille-visual-0"} == set(containers.started)
        rows = await database.fetch(
            "SELECT pool, gpu, spot, price_usd_per_hour::float8 AS price, "
            "creating_at <= image_at AND image_at <= ready_at AS ordered FROM containers ORDER BY 1"
        )
        assert [tuple(row.values()) for row in rows] == [
            ("text", "H100", True, 0.88, True),
            ("visual", "RTX 6000 Ada", False, 1.0, True),
        ]
        touched = {c.split("/")[2] for c in verda.calls if c.count("/") > 1}
        assert "somebody-else" not in touched
