"""A real cluster for the conformance suite, where one is offered to it.

REVEILLE_TEST_KUBERNETES_URL, …_TOKEN and …_CA_FILE name an API server and an administrator of it; the
suite makes a namespace of its own there and deletes it. A node has to run pods of any image
(REVEILLE_TEST_KUBERNETES_IMAGE, default a pause image) as non-root.
"""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from tests.providers.kubernetes_world import INSTALLATION

from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.providers.kubernetes import KubernetesProvider
from autoscaler.providers.kubernetes.body import CONTAINER
from reveille.testing import eventually

BASE = "REVEILLE_TEST_KUBERNETES_"
WITHIN_SECONDS = 60.0


class KubernetesCluster:
    """A namespace of it, seen with an administrator's eyes."""

    restarts_ended = True

    def __init__(self, session: aiohttp.ClientSession, namespace: str) -> None:
        self._session = session
        self._url = os.environ[f"{BASE}URL"]
        self._namespace = namespace

    def open(self) -> KubernetesProvider:
        """Over the same API server."""
        return KubernetesProvider(
            KubernetesSettings(
                kubernetes_url=self._url,
                kubernetes_namespace=self._namespace,
                kubernetes_token=os.environ[f"{BASE}TOKEN"],  # type: ignore[arg-type]
                kubernetes_ca_file=_ca_file(),
            ),
            prefix="reveille",
            installation=INSTALLATION,
            surroundings={},
        )

    async def until_running(self, name: str) -> None:
        """As its kubelet says."""

        async def runs() -> bool:
            return name in await self.running()

        await eventually(runs, within_seconds=WITHIN_SECONDS)

    async def running(self) -> set[str]:
        """Deployments whose pod has started."""
        return {
            pod["metadata"]["labels"].get(CONTAINER) or pod["metadata"]["labels"]["app"]
            for pod in await self._pods()
            if any(one.get("started") for one in pod["status"].get("containerStatuses", ()))
            and "deletionTimestamp" not in pod["metadata"]
        }

    async def environment(self, name: str) -> Mapping[str, str]:
        """Of the pod that its ReplicaSet made."""
        (pod,) = [p for p in await self._pods() if p["metadata"]["labels"].get(CONTAINER) == name]
        return {e["name"]: e.get("value", "") for e in pod["spec"]["containers"][0]["env"]}

    async def end(self, name: str) -> None:
        """Its pod is deleted; the ReplicaSet makes another."""
        (pod,) = [p for p in await self._pods() if p["metadata"]["labels"].get(CONTAINER) == name]
        await self.ask(
            "DELETE", f"api/v1/namespaces/{self._namespace}/pods/{pod['metadata']['name']}"
        )

    async def add_foreign(self, name: str) -> None:
        """In the same namespace."""
        pod = {"metadata": {"labels": {"app": name}}, "spec": _inside()}
        body = {
            "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": pod},
        }
        await self.ask("POST", f"apis/apps/v1/namespaces/{self._namespace}/deployments", body)
        await self.until_running(name)

    async def break_down(self) -> None:
        """Others use it too."""
        pytest.skip("a cluster of others is not stopped")

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """A call as the administrator."""
        async with self._session.request(method, f"{self._url}/{path}", json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def _pods(self) -> list[Any]:
        found = await self.ask("GET", f"api/v1/namespaces/{self._namespace}/pods")
        items: list[Any] = found["items"]
        return items


@asynccontextmanager
async def kubernetes_cluster(_: Path) -> AsyncIterator[KubernetesCluster]:
    """With a template for each pool."""
    if f"{BASE}URL" not in os.environ:
        pytest.skip(f"{BASE}URL names no API server")
    namespace = f"reveille-test-{uuid4().hex[:8]}"
    headers = {"Authorization": f"Bearer {os.environ[f'{BASE}TOKEN']}"}
    ca_file = _ca_file()
    tls = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file))
    async with aiohttp.ClientSession(headers=headers, connector=tls) as session:
        cluster = KubernetesCluster(session, namespace)
        await cluster.ask("POST", "api/v1/namespaces", {"metadata": {"name": namespace}})
        try:
            for pool in ("text", "visual"):
                template = {
                    "metadata": {"name": f"reveille-{pool}-worker"},
                    "template": {"metadata": {"labels": {"app": pool}}, "spec": _inside()},
                }
                await cluster.ask("POST", f"api/v1/namespaces/{namespace}/podtemplates", template)
            yield cluster
        finally:
            await cluster.ask("DELETE", f"api/v1/namespaces/{namespace}")


def _inside() -> dict[str, Any]:
    image = os.environ.get(f"{BASE}IMAGE", "registry.k8s.io/pause:3.10")
    return {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "containers": [{"name": "worker", "image": image}],
    }


def _ca_file() -> Path | None:
    named = os.environ.get(f"{BASE}CA_FILE")
    return Path(named) if named else None
