"""The autoscaler as a real process against a cluster's stand-in, whose pods are real workers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.providers.kubernetes_fake import NAMESPACE, FakeCluster, FakePod
from tests.providers.kubernetes_world import serving
from tests.system.test_scaling import add_task, until

from model_stub.server import Stub
from reveille.processes import Child, start_module
from reveille.testing import Database

RESTART_SECONDS = 0.2


class Kubelet:
    """A worker process for each pod that runs; one that ends by itself is started again."""

    def __init__(self, cluster: FakeCluster, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._pods: dict[str, FakePod] = {}
        self._children: dict[str, Child] = {}
        cluster.on_run, cluster.on_end = self._run, self._end

    def _run(self, pod: FakePod) -> None:
        self._pods[pod.name] = pod
        self._start(pod)

    def _start(self, pod: FakePod) -> None:
        self._children[pod.name] = start_module(
            f"{pod.deployment.split('-')[1]}_worker",
            environment={**pod.environment, **self._environment},
            log_path=self._folder / f"{pod.name}.log",
        )

    def _end(self, pod: FakePod) -> None:
        self._pods.pop(pod.name, None)
        if pod.name in self._children:
            self._children[pod.name].ask_to_stop()

    async def keep(self) -> None:
        """Start again what ended and was not deleted."""
        while True:
            await asyncio.sleep(RESTART_SECONDS)
            for pod in [p for p in self._pods.values() if not self._children[p.name].alive]:
                self._start(pod)

    def kill(self) -> None:
        for child in self._children.values():
            if child.alive:
                child.process.kill()
            child.process.wait()


@asynccontextmanager
async def cluster_of(
    folder: Path, environment: dict[str, str]
) -> AsyncIterator[tuple[str, FakeCluster]]:
    """A cluster on this machine's clock; a cold start takes a second."""
    cluster = FakeCluster(clock=time.monotonic, pull_seconds=0.5, boot_seconds=0.5, end_seconds=0.5)
    kubelet = Kubelet(cluster, folder, environment)
    keeping = asyncio.create_task(kubelet.keep())
    try:
        async with serving(cluster) as (url, _):
            yield url, cluster
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping
        kubelet.kill()


async def test_tasks_bring_pods_up_from_zero_and_they_are_gone_after_them(
    database: Database, processes: Any, stub: Stub, deck: bytes, tmp_path: Path
) -> None:
    """Rows, Deployments, pods, workers, results, nothing left but what is somebody else's."""
    token_file = tmp_path / "token"
    token_file.write_text("first-token")
    environment = {
        "DATABASE_URL": database.dsn,
        "OLLAMA_HOST": stub.url,
        "REVEILLE_HTTP_HOST": "127.0.0.1",
        "REVEILLE_HTTP_PORT": "0",  # all share this machine
        "REVEILLE_DRAIN_SECONDS": "2",
    }
    async with cluster_of(tmp_path, environment) as (url, cluster):
        somebodys = cluster.add("reveille-elsewhere-0")
        processes.start("heartbeat_monitor")
        processes.start(
            "autoscaler",
            provider="kubernetes",
            kubernetes_url=url,
            kubernetes_namespace=NAMESPACE,
            kubernetes_token_file=token_file,
            lone_task_delay_seconds=0,
            scale_down_delay_seconds=1,
            look_seconds=0.5,
        )
        for _ in range(3):
            await add_task(database, deck, "startup_name_extraction")
        await until(
            database,
            "SELECT count(*) FROM processing_queue WHERE status = 'completed'",
            3,
            within_seconds=60,
        )
        await until(
            database, "SELECT bool_and(state = 'stopped') FROM containers", True, within_seconds=60
        )
        assert list(cluster.deployments.values()) == [somebodys]
        phases = await database.fetchrow(
            "SELECT bool_and(gpu_at >= creating_at AND image_at >= gpu_at AND ready_at >= image_at) AS ok "
            "FROM containers"
        )
    assert phases == {"ok": True}
