"""Images fetched before a container is created, with the progress as words."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from autoscaler.docker_settings import DockerSettings
from autoscaler.provider import ProviderError
from autoscaler.providers.docker.engine import Engine, EngineError

log = structlog.get_logger(__name__)


class Pull:
    """Of one engine. Two containers of one image ask for the same layers; the engine fetches each
    layer once.
    """

    def __init__(self, engine: Engine, settings: DockerSettings) -> None:
        self._engine = engine
        self._settings = settings

    async def ensure(self, image: str, tell: Callable[[str], None]) -> None:
        """Have `image`, by the setting docker_pull, and `tell` how far it is. Raises ProviderError."""
        policy = self._settings.docker_pull
        here = await self._here(image)
        if here and policy != "always":
            return
        if policy == "never":
            raise ProviderError(
                f"no image {image} on this Docker host, and REVEILLE_DOCKER_PULL is never"
            )
        try:
            await self._fetch(image, tell)
        except EngineError as error:
            raise ProviderError(f"image {image} could not be pulled: {error}") from None

    async def _here(self, image: str) -> bool:
        try:
            await self._engine.get(f"/images/{image}/json")
        except EngineError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def _fetch(self, image: str, tell: Callable[[str], None]) -> None:
        name, tag = split_reference(image)
        progress = Progress()
        tell(f"image {image}: asked for")
        log.info("image_pull_begun", image=image)
        lines = self._engine.stream(
            "/images/create",
            seconds_max=self._settings.docker_pull_seconds_max,
            headers=self._headers(),
            fromImage=name,
            tag=tag,
        )
        async for line in lines:
            if "error" in line:
                raise ProviderError(f"image {image} could not be pulled: {line['error']}")
            if progress.note(line):
                tell(f"image {image}: {progress.percent} %")
        log.info("image_pull_done", image=image)

    def _headers(self) -> Mapping[str, str]:
        secret = self._settings.docker_registry_auth.get_secret_value()
        if not secret:
            return {}
        user, _, password = secret.partition(":")
        plain = json.dumps({"username": user, "password": password})
        return {"X-Registry-Auth": base64.urlsafe_b64encode(plain.encode()).decode()}


class Progress:
    """Bytes of the layers that were announced so far; layers are announced one after the other,
    so the share may fall now and then.
    """

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    @property
    def percent(self) -> int:
        """How much of what is known of is here."""
        total = sum(size for _, size in self._layers.values())
        return round(100 * sum(have for have, _ in self._layers.values()) / total) if total else 0

    def note(self, line: Mapping[str, Any]) -> bool:
        """Take in one line of the engine's; whether the share may have changed."""
        detail, layer = line.get("progressDetail") or {}, str(line.get("id"))
        if line.get("status") == "Downloading" and detail.get("total"):
            self._layers[layer] = (detail["current"], detail["total"])
            return True
        if line.get("status") == "Download complete":
            size = self._layers.get(layer, (0, 0))[1]
            self._layers[layer] = (size, size)
            return True
        return False


def split_reference(image: str) -> tuple[str, str]:
    """Name and tag or digest of an image; the engine takes no tag for all tags, so it gets one."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name, digest
    name, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # the colon belongs to a registry's port
        return image, "latest"
    return name, tag
