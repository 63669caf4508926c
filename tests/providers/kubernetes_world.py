"""A cluster's stand-in for the conformance suite and the provider's own tests."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.providers.kubernetes_fake import BOOT_SECONDS, NAMESPACE, PULL_SECONDS, FakeCluster

from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.providers.kubernetes import KubernetesProvider

INSTALLATION = "here"
SURROUNDINGS = {"DATABASE_URL": "postgresql://there", "HOME": "/root"}


class KubernetesWorld:
    """The stand-in. A pod's container is started again when it ends."""

    restarts_ended = True

    def __init__(
        self, url: str, cluster: FakeCluster, token_file: Path, runner: web.AppRunner
    ) -> None:
        self.url = url
        self.cluster = cluster
        self.token_file = token_file
        self._runner = runner

    def settings(self, **changes: Any) -> KubernetesSettings:
        """Those of an autoscaler in this cluster."""
        given = {
            "kubernetes_url": self.url,
            "kubernetes_namespace": NAMESPACE,
            "kubernetes_token_file": self.token_file,
            **changes,
        }
        return KubernetesSettings(**given)

    def open(
        self,
        *,
        installation: str = INSTALLATION,
        surroundings: Mapping[str, str] = SURROUNDINGS,
        **changes: Any,
    ) -> KubernetesProvider:
        """On the cluster's clock: no pause takes time."""
        return KubernetesProvider(
            self.settings(**changes),
            prefix="reveille",
            installation=installation,
            surroundings=surroundings,
            sleep=self.cluster.sleep,
            clock=self.cluster.now,
        )

    async def until_running(self, name: str) -> None:
        """As long as a pull and a boot take."""
        self.cluster.pass_time(PULL_SECONDS + BOOT_SECONDS)
        assert name in self.cluster.running()

    async def running(self) -> set[str]:
        """As the cluster has it."""
        return self.cluster.running()

    async def environment(self, name: str) -> Mapping[str, str]:
        """From the pod that was made of the Deployment."""
        return self.cluster.pod_of(name).environment

    async def end(self, name: str) -> None:
        """It is started again at once."""
        self.cluster.end_container(name)

    async def add_foreign(self, name: str) -> None:
        """In the same namespace."""
        self.cluster.add(name)

    async def break_down(self) -> None:
        """Nobody listens any more."""
        await self._runner.cleanup()


@asynccontextmanager
async def kubernetes_world(folder: Path) -> AsyncIterator[KubernetesWorld]:
    """On a free port of loopback."""
    cluster = FakeCluster()
    token_file = folder / "token"
    token_file.write_text("first-token\n")
    async with serving(cluster) as (url, runner):
        yield KubernetesWorld(url, cluster, token_file, runner)


@asynccontextmanager
async def serving(cluster: FakeCluster) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """The API server over HTTP: its base URL."""
    runner = web.AppRunner(cluster.application(), shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}", runner
    finally:
        cluster.hold.set()
        await runner.cleanup()
