"""The provider protocol on Verda's API. Only deployments with our prefix and our installation's
mark are seen or touched.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence, Set

import structlog

from autoscaler.provider import ContainerSpec, Price, ProviderContainer, ProviderError, Stage
from autoscaler.providers.environment import worker_environment
from autoscaler.providers.verda.body import body_of, plain_secrets
from autoscaler.providers.verda.client import Sleep, VerdaClient
from autoscaler.providers.verda.reply import (
    CURRENCY,
    PAUSED,
    Deployment,
    deployment_of,
    gpus_of,
    prices_of,
    stage_of,
)
from autoscaler.providers.verda.trouble import VerdaError, VerdaSilence
from autoscaler.verda_settings import VerdaSettings

log = structlog.get_logger(__name__)

DEPLOYMENTS = "/container-deployments"
# After a creation whose end is not known: the API may show it late.
LOOKS_AFTER_CREATE = 3
LOOK_SECONDS = 1.0
LOOK_SECONDS_MAX = 5.0
ASKED_AT_ONCE_MAX = 4
# A replica that runs is asked after only so often: its worker's heartbeat tells sooner how it is.
RUNNING_SECONDS = 30.0
# A creation that was refused so may be one that had been done before.
PERHAPS_DONE = frozenset({400, 409, 500, 502, 503, 504})


class VerdaProvider:
    """Deployments named `<prefix>-…` and marked `installation`. Raises ConfigurationError when
    settings are missing.
    """

    can_start = True

    def __init__(
        self,
        settings: VerdaSettings,
        *,
        prefix: str,
        installation: str,
        surroundings: Mapping[str, str],
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        settings.required()
        self._settings = settings
        self._prefix = f"{prefix}-"
        self._installation = installation
        self._surroundings = surroundings
        self._sleep = sleep
        self._clock = clock
        self._client = VerdaClient(settings, sleep=sleep, clock=clock)
        self._few = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
        self._stages: dict[str, tuple[Stage, str]] = {}  # as last told, by reference
        self._asked_at: dict[str, float] = {}  # likewise
        self._strangers: set[str] = set()  # told of in the log
        self._bare: Sequence[str] = ()  # likewise

    async def create(self, spec: ContainerSpec) -> str:
        """Create the slot's deployment; the reference of this life of its name."""
        if spec.region is not None:
            raise ProviderError(
                "Verda's containers have no regions; leave region out of the offer",
                trouble="unknown",
            )
        known = await self._find(spec.name)
        if known is not None:
            self._require_ours(known)
            if known.server_id == spec.server_id and not await self._is_paused(spec.name):
                return known.ref
            await self.stop(spec.name)  # a former life of the name, or one that was put to sleep
        body = body_of(
            spec,
            self._settings,
            gpu=await self._choose_gpu(spec),
            installation=self._installation,
            environment=worker_environment(self._surroundings, spec),
        )
        self._warn_of(plain_secrets(body))
        try:
            return deployment_of(await self._client.post(DEPLOYMENTS, body)).ref
        except VerdaError as error:
            if error.status not in PERHAPS_DONE or error.trouble != "other":
                raise
            return await self._done_after_all(spec, error)
        except VerdaSilence as error:
            return await self._done_after_all(spec, error)

    async def stop(self, name: str) -> None:
        """Delete its deployment and wait until it is seen no more: then it costs nothing."""
        known = await self._find(name)
        if known is None:
            return
        self._require_ours(known)
        await self._client.delete(f"{DEPLOYMENTS}/{name}")
        until = self._clock() + self._settings.verda_stop_seconds_max
        pause = LOOK_SECONDS
        while (seen := await self._find(name)) is not None and seen.ref == known.ref:
            if self._clock() >= until:
                raise ProviderError(f"{name} was deleted and is still there")
            await self._sleep(pause)
            pause = min(pause * 2, LOOK_SECONDS_MAX)

    async def list(self) -> Sequence[ProviderContainer]:
        """Our deployments, and how far their replicas have come."""
        listed = [deployment_of(given) for given in await self._client.get_all(DEPLOYMENTS)]
        ours = [deployment for deployment in listed if self._is_ours(deployment)]
        self._forget_all_but({deployment.ref for deployment in ours})
        shown = await asyncio.gather(*(self._describe(deployment) for deployment in ours))
        return [container for container in shown if container is not None]

    async def prices(self) -> Sequence[Price]:
        """What Verda charges for one GPU of each model, on demand and spot."""
        return prices_of(await self._client.get_all("/container-types", currency=CURRENCY))

    async def close(self) -> None:
        """Deployments go on."""
        await self._client.close()

    # Whose it is

    def _is_ours(self, deployment: Deployment) -> bool:
        if not deployment.name.startswith(self._prefix):
            return False
        if deployment.installation == self._installation:
            return True
        if deployment.name not in self._strangers:
            self._strangers.add(deployment.name)
            log.warning(
                "deployment_of_another_installation",
                deployment=deployment.name,
                installation=deployment.installation,
            )
        return False

    def _require_ours(self, deployment: Deployment) -> None:
        if not self._is_ours(deployment):
            raise ProviderError(
                f"a deployment named {deployment.name} exists that is not this installation's; "
                "delete it at Verda, or set REVEILLE_CONTAINER_PREFIX to another word"
            )

    async def _find(self, name: str) -> Deployment | None:
        try:
            return deployment_of(await self._client.get(f"{DEPLOYMENTS}/{name}"))
        except VerdaError as error:
            if error.status != 404:
                raise
            return None

    # How it is

    async def _describe(self, deployment: Deployment) -> ProviderContainer | None:
        name, ref = deployment.name, deployment.ref
        try:
            stage, word = await self._stage_of_life(name, ref)
        except VerdaError as error:
            if error.status == 404:  # deleted since the list was made
                return None
            if ref not in self._stages:
                raise
            stage, word = self._stages[ref]  # it is there: that much the list has said
        if word == PAUSED:
            return ProviderContainer(name=name, ref=ref, state="exited", detail="it is paused")
        detail = "" if stage == "running" else f"Verda says {word}"
        return ProviderContainer(name=name, ref=ref, state="running", stage=stage, detail=detail)

    async def _stage_of_life(self, name: str, ref: str) -> tuple[Stage, str]:
        stage, _ = known = self._stages.get(ref, ("waiting", ""))
        asked_at = self._asked_at.get(ref, float("-inf"))
        if stage == "running" and self._clock() - asked_at < RUNNING_SECONDS:
            return known
        async with self._few:
            told = await self._stage(name)
        self._stages[ref], self._asked_at[ref] = told, self._clock()
        return told

    def _forget_all_but(self, refs: Set[str]) -> None:
        for ref in self._stages.keys() - refs:
            del self._stages[ref], self._asked_at[ref]

    async def _stage(self, name: str) -> tuple[Stage, str]:
        """The replicas decide; a deployment calls itself unhealthy while it boots. Where they say
        that none runs, its own status may say why.
        """
        stage, word = stage_of(await self._client.get_all(f"{DEPLOYMENTS}/{name}/replicas"))
        if stage == "waiting":
            word = await self._status(name) or word
        return stage, word

    async def _status(self, name: str) -> str:
        given = await self._client.get(f"{DEPLOYMENTS}/{name}/status")
        return str(given.get("status") or "") if isinstance(given, dict) else ""

    async def _is_paused(self, name: str) -> bool:
        return await self._status(name) == PAUSED

    # What it gets

    async def _choose_gpu(self, spec: ContainerSpec) -> str:
        gpus = gpus_of(await self._client.get_all("/serverless-compute-resources"))
        free = {gpu for gpu, available in gpus.items() if available}
        if spec.gpu is None:
            prices = sorted(await self.prices(), key=lambda price: price.usd_per_hour)
            cheapest = next((p.gpu for p in prices if p.gpu in free and p.spot == spec.spot), None)
            if cheapest is None:
                raise ProviderError("Verda has no GPU free", trouble="capacity")
            return cheapest
        if spec.gpu not in gpus:
            raise ProviderError(
                f"Verda has no GPU {spec.gpu!r}; it has {', '.join(sorted(gpus))}",
                trouble="unknown",
            )
        if spec.gpu not in free:
            raise ProviderError(f"Verda has no {spec.gpu} free", trouble="capacity")
        return spec.gpu

    def _warn_of(self, bare: Sequence[str]) -> None:
        if bare and bare != self._bare:
            log.warning(
                "secrets_in_clear_text",
                variables=bare,
                remedy="name them in REVEILLE_VERDA_SECRETS",
            )
        self._bare = bare

    async def _done_after_all(self, spec: ContainerSpec, error: ProviderError) -> str:
        """The deployment of a creation that seemed to fail, if it is there; else `error`."""
        for look in range(LOOKS_AFTER_CREATE):
            known = await self._find(spec.name)
            if known is not None and self._is_ours(known) and known.server_id == spec.server_id:
                log.warning("deployment_created_after_all", deployment=spec.name, error=str(error))
                return known.ref
            if look + 1 < LOOKS_AFTER_CREATE:
                await self._sleep(LOOK_SECONDS * 2**look)
        raise error
