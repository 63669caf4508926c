"""The provider protocol on a Docker engine. Only containers with our label are seen or touched."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from autoscaler.docker_settings import DockerSettings
from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers.docker.body import (
    ALL_GPUS,
    LABEL_GPU,
    LABEL_PREFIX,
    body_of,
    free_gpu,
    image_of,
)
from autoscaler.providers.docker.engine import Engine, EngineError
from autoscaler.providers.docker.log import last_words
from autoscaler.providers.docker.pull import Pull
from autoscaler.providers.environment import worker_environment

log = structlog.get_logger(__name__)

# Beyond the grace the engine kills, which a process in an uninterruptible wait outlives.
KILL_SECONDS_MAX = 30.0
REF_LENGTH = 12  # as `docker ps` shows them

# The engine shows these states; "created" is a container that was never started, and nobody's.
_RUNNING = frozenset({"running", "restarting", "paused", "removing"})
_EXITED = frozenset({"exited", "dead"})


class DockerProvider:
    """Containers whose label says `prefix`, on the engine at `settings.docker_host`."""

    can_start = True

    def __init__(
        self,
        settings: DockerSettings,
        *,
        prefix: str,
        surroundings: Mapping[str, str],
        grace_seconds: float,
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._surroundings = surroundings
        self._grace_seconds = grace_seconds
        self._engine = Engine(settings.docker_host, cert_path=settings.docker_cert_path)
        self._pull = Pull(self._engine, settings)
        # Two containers must not be given the same GPU: one choice at a time.
        self._choosing = asyncio.Lock()
        self._pulling: dict[str, str] = {}  # name → how far its image has come

    async def create(self, spec: ContainerSpec) -> str:
        """Pull the image if that is needed, create and start the container; its id."""
        known = await self._ours(spec.name)
        if known is not None and known["State"]["Running"]:
            return _ref(known["Id"])
        if known is not None:  # an end that nobody saw, or a start that was cut short
            await self._remove(known["Id"])
        await self._have_image(spec)
        async with self._choosing:
            gpu = await self._choose_gpu()
            container_id = await self._create(spec, gpu)
            await self._start(container_id)
        return _ref(container_id)

    async def _have_image(self, spec: ContainerSpec) -> None:
        def tell(words: str) -> None:
            self._pulling[spec.name] = words

        try:
            await self._pull.ensure(image_of(spec, self._settings), tell)
        finally:
            self._pulling.pop(spec.name, None)

    async def stop(self, name: str) -> None:
        """SIGTERM, after the grace SIGKILL, then remove it."""
        known = await self._ours(name)
        if known is None:
            return
        seconds = self._grace_seconds + KILL_SECONDS_MAX
        try:
            await self._engine.post(
                f"/containers/{known['Id']}/stop",
                seconds_max=seconds,
                t=str(max(1, round(self._grace_seconds))),
            )
        except EngineError as error:
            if error.status != 404:
                raise
        await self._remove(known["Id"])

    async def list(self) -> Sequence[ProviderContainer]:
        """Everything that runs or ran under our label, and what waits for its image."""
        shown = await self._labelled()
        described = [await self._describe(container) for container in shown]
        coming = [
            ProviderContainer(name=name, ref="", state="running", stage="pulling", detail=words)
            for name, words in self._pulling.items()
        ]
        return [*coming, *(container for container in described if container is not None)]

    async def close(self) -> None:
        """Containers go on."""
        await self._engine.close()

    async def _ours(self, name: str) -> dict[str, Any] | None:
        """The container of that name. Raises ProviderError if it is somebody else's."""
        try:
            known: dict[str, Any] = await self._engine.get(f"/containers/{name}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        if (known["Config"].get("Labels") or {}).get(LABEL_PREFIX) != self._prefix:
            raise ProviderError(
                f"a container named {name} exists that is not Reveille's; remove it, or set "
                "REVEILLE_CONTAINER_PREFIX to another word"
            )
        return known

    async def _labelled(self) -> Sequence[dict[str, Any]]:
        filters = json.dumps({"label": [f"{LABEL_PREFIX}={self._prefix}"]})
        shown: Sequence[dict[str, Any]] = await self._engine.get(
            "/containers/json", all="true", filters=filters
        )
        return shown

    async def _create(self, spec: ContainerSpec, gpu: str | None) -> str:
        body = body_of(
            spec,
            self._settings,
            prefix=self._prefix,
            environment=worker_environment(self._surroundings, spec),
            gpu=gpu,
            stop_seconds=self._grace_seconds,
        )
        try:
            created = await self._engine.post("/containers/create", body, name=spec.name)
        except EngineError as error:
            raise ProviderError(f"{spec.name} could not be created: {error}") from None
        for warning in created.get("Warnings") or ():
            log.warning("docker_warns", container=spec.name, warning=warning)
        container_id: str = created["Id"]
        return container_id

    async def _start(self, container_id: str) -> None:
        try:
            await self._engine.post(f"/containers/{container_id}/start")
        except ProviderError as error:
            await self._remove(container_id)
            raise _start_trouble(str(error)) from None

    async def _remove(self, container_id: str) -> None:
        """With its anonymous volumes. One that is being removed already is as good as removed."""
        try:
            await self._engine.delete(f"/containers/{container_id}", force="true", v="true")
        except EngineError as error:
            if error.status not in {404, 409}:
                raise

    async def _choose_gpu(self) -> str | None:
        devices = self._settings.docker_gpus
        if not devices or ALL_GPUS in devices:
            return ALL_GPUS if devices else None
        taken = {
            gpu: container["Names"][0].lstrip("/")
            for container in await self._labelled()
            if (gpu := container["Labels"].get(LABEL_GPU)) and container["State"] not in _EXITED
        }
        gpu = free_gpu(devices, taken)
        if gpu is None:
            holders = ", ".join(f"{device} by {name}" for device, name in sorted(taken.items()))
            raise ProviderError(f"no GPU is free: {holders}", trouble="capacity")
        return gpu

    async def _describe(self, shown: Mapping[str, Any]) -> ProviderContainer | None:
        name, ref = shown["Names"][0].lstrip("/"), _ref(shown["Id"])
        if shown["State"] in _RUNNING:
            return ProviderContainer(name=name, ref=ref, state="running")
        if shown["State"] not in _EXITED:
            return None
        try:
            detail = await self._end_of(shown["Id"])
        except EngineError as error:
            if error.status == 404:  # removed since the list was made
                return None
            raise
        return ProviderContainer(name=name, ref=ref, state="exited", detail=detail)

    async def _end_of(self, container_id: str) -> str:
        """How it ended, and its last words."""
        state = (await self._engine.get(f"/containers/{container_id}/json"))["State"]
        how = (
            "killed for its memory" if state.get("OOMKilled") else f"exit code {state['ExitCode']}"
        )
        logged = await self._engine.read(
            f"/containers/{container_id}/logs", stdout="true", stderr="true", tail="10"
        )
        return "; ".join(filter(None, (how, state.get("Error"), last_words(logged))))


def _ref(container_id: str) -> str:
    return container_id[:REF_LENGTH]


def _start_trouble(said: str) -> ProviderError:
    if "could not select device driver" in said:
        return ProviderError(
            "no GPU: this Docker engine cannot hand out GPUs; install the NVIDIA container toolkit, "
            "or unset REVEILLE_DOCKER_GPUS",
            trouble="unknown",
        )
    return ProviderError(f"it could not be started: {said}")
