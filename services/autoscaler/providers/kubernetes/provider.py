"""The provider protocol on a cluster's API server. Only Deployments with our prefix and our
installation's label are seen or touched.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers.environment import identity_and_own
from autoscaler.providers.kubernetes.body import body_of, selector_of
from autoscaler.providers.kubernetes.client import KubernetesClient, Sleep
from autoscaler.providers.kubernetes.reply import (
    Deployment,
    deployment_of,
    pods_by_container,
    stage_of,
)
from autoscaler.providers.kubernetes.trouble import KubernetesError, KubernetesSilence

log = structlog.get_logger(__name__)

APPS = "apis/apps/v1"
CORE = "api/v1"
LOOKS_AFTER_CREATE = 3
LOOK_SECONDS = 0.5
LOOK_SECONDS_MAX = 5.0
# A creation that was refused so may be one that had been done before.
PERHAPS_DONE = frozenset({409, 500, 502, 503, 504})


class KubernetesProvider:
    """Deployments named `<prefix>-…` and labelled `installation`. Raises ConfigurationError where
    neither settings nor a service account say which cluster it is.
    """

    can_start = True

    def __init__(
        self,
        settings: KubernetesSettings,
        *,
        prefix: str,
        installation: str,
        surroundings: Mapping[str, str],
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        cluster = settings.cluster()
        self._settings = settings
        self._namespace = cluster.namespace
        self._prefix = f"{prefix}-"
        self._installation = installation
        self._surroundings = surroundings
        self._sleep = sleep
        self._clock = clock
        self._client = KubernetesClient(
            cluster, answer_seconds_max=settings.kubernetes_answer_seconds_max, sleep=sleep
        )

    async def create(self, spec: ContainerSpec) -> str:
        """Create the slot's Deployment from its pool's template; the uid of this life of its name."""
        known = await self._find(spec.name)
        if known is not None:
            self._require_ours(known)
            if known.server_id == spec.server_id and known.replicas and not known.deleting:
                return known.uid
            await self.stop(spec.name)  # a former life of the name, or one that was put to sleep
        body = body_of(
            spec,
            self._settings,
            await self._template(spec.pool),
            installation=self._installation,
            environment=identity_and_own(self._surroundings, spec),
        )
        try:
            return deployment_of(await self._client.post(APPS, "deployments", body)).uid
        except KubernetesError as error:
            if error.status not in PERHAPS_DONE:
                raise
            return await self._done_after_all(spec, error)
        except KubernetesSilence as error:
            return await self._done_after_all(spec, error)

    async def stop(self, name: str) -> None:
        """Delete its Deployment and wait until it is gone, which its pod is before: then its GPU is
        free.
        """
        known = await self._find(name)
        if known is None:
            return
        self._require_ours(known)
        await self._client.delete(APPS, "deployments", name, uid=known.uid)
        until = self._clock() + self._settings.kubernetes_stop_seconds_max
        pause = LOOK_SECONDS
        while (seen := await self._find(name)) is not None and seen.uid == known.uid:
            if self._clock() >= until:
                limit = self._settings.kubernetes_stop_seconds_max
                raise ProviderError(f"the pod of {name} has not ended within {limit:g} s")
            await self._sleep(pause)
            pause = min(pause * 2, LOOK_SECONDS_MAX)

    async def list(self) -> Sequence[ProviderContainer]:
        """Our Deployments, and how far their pods have come."""
        labels = selector_of(self._installation)
        deployments, pods = await asyncio.gather(
            self._client.get_all(APPS, "deployments", labels),
            self._client.get_all(CORE, "pods", labels),
        )
        pods_of = pods_by_container(pods)
        ours = [one for one in map(deployment_of, deployments) if self._is_ours(one)]
        return [_described(one, pods_of.get(one.name, [])) for one in ours]

    async def close(self) -> None:
        """Deployments go on."""
        await self._client.close()

    # Whose it is

    def _is_ours(self, deployment: Deployment) -> bool:
        named = deployment.name.startswith(self._prefix)
        return named and deployment.installation == self._installation

    def _require_ours(self, deployment: Deployment) -> None:
        if not self._is_ours(deployment):
            raise ProviderError(
                f"a Deployment named {deployment.name} exists in the namespace {self._namespace} "
                "that is not this installation's; delete it, or set REVEILLE_CONTAINER_PREFIX to "
                "another word"
            )

    async def _find(self, name: str) -> Deployment | None:
        try:
            return deployment_of(await self._client.get(APPS, "deployments", name))
        except KubernetesError as error:
            if error.status != 404:
                raise
            return None

    # What it gets

    async def _template(self, pool: str) -> object:
        name = self._settings.kubernetes_template.format(pool=pool.replace("_", "-"))
        try:
            return await self._client.get(CORE, "podtemplates", name)
        except KubernetesError as error:
            if error.status != 404:
                raise
            raise ProviderError(
                f"there is no PodTemplate {name} in the namespace {self._namespace}; "
                "docker/kubernetes/workers.yaml is an example"
            ) from None

    async def _done_after_all(self, spec: ContainerSpec, error: ProviderError) -> str:
        """The Deployment of a creation that seemed to fail, if it is there; else `error`."""
        for look in range(LOOKS_AFTER_CREATE):
            known = await self._find(spec.name)
            if known is not None:
                self._require_ours(known)
                if known.server_id == spec.server_id and not known.deleting:
                    log.warning(
                        "deployment_created_after_all", deployment=spec.name, why=str(error)
                    )
                    return known.uid
            if look + 1 < LOOKS_AFTER_CREATE:
                await self._sleep(LOOK_SECONDS * 2**look)
        raise error


def _described(deployment: Deployment, pods: Sequence[object]) -> ProviderContainer:
    name, ref = deployment.name, deployment.uid
    if not deployment.replicas and not deployment.deleting:
        return ProviderContainer(name=name, ref=ref, state="exited", detail="it is scaled to zero")
    stage, detail = stage_of(pods, deployment.complaint)
    if deployment.deleting:
        detail = "it is being deleted"
    return ProviderContainer(name=name, ref=ref, state="running", stage=stage, detail=detail)
