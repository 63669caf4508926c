"""Who is at the model server's address: its version, its models and their digests, what is loaded.

Results name the server and the digest of the weights, so this must be right also when the server
was replaced between two calls: what is known is dropped when a reply's signature says otherwise,
when a connection failed, and after some minutes.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

STAND_IN = "rules-stub"
IDENTITY_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHealth:
    """The server as it is now. `on_cpu`: loaded models that do not wholly fit the GPU's memory."""

    served_by: str
    loaded: tuple[str, ...]
    on_cpu: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the server is and which models it has. `known_at` is on time.monotonic()."""

    version: str
    digests: Mapping[str, str]
    known_at: float

    @property
    def is_stand_in(self) -> bool:
        """Whether answers are made by rules, not by a model."""
        return self.version.endswith(STAND_IN)

    @property
    def served_by(self) -> str:
        """What results say: "ollama 0.12.1" or "rules-stub"."""
        return STAND_IN if self.is_stand_in else f"ollama {self.version}"

    def has(self, model: str) -> bool:
        """Whether the model is there."""
        return canonical(model) in self.digests

    def digest(self, model: str) -> str:
        """The hex digest of the model's weights, empty when it is not there."""
        return self.digests.get(canonical(model), "")


class ModelServer:
    """The listing endpoints of one server. Raises httpx errors, ValueError, KeyError, TypeError."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._known: Identity | None = None
        self.is_stand_in = False  # as the latest reply was signed

    def forget(self) -> None:
        """Ask again next time."""
        self._known = None

    async def notice(self, response: httpx.Response) -> None:
        """The stand-in signs every reply: notice at once when another server took the address."""
        self.is_stand_in = response.headers.get("server", "") == STAND_IN
        if self._known is not None and self._known.is_stand_in != self.is_stand_in:
            self.forget()

    def recall(self, model: str | None) -> Identity | None:
        """What is known and still fresh; None when unknown, or when `model` is not listed in it."""
        known = self._known
        if known is None or time.monotonic() - known.known_at > IDENTITY_SECONDS:
            return None
        return known if model is None or known.has(model) else None

    async def identify(self) -> Identity:
        """Ask the server who it is."""
        version = str((await self._get("/api/version"))["version"])
        models = (await self._get("/api/tags"))["models"]
        digests = {canonical(one["model"]): one["digest"] for one in models}
        self._known = Identity(version, digests, time.monotonic())
        return self._known

    async def loaded(self) -> list[dict[str, Any]]:
        """The models in memory, as /api/ps lists them."""
        models: list[dict[str, Any]] = (await self._get("/api/ps"))["models"]
        return models

    async def _get(self, path: str) -> Any:
        response = await self._http.get(path)
        await self.notice(response)
        response.raise_for_status()
        return response.json()


def health_of(identity: Identity, loaded: list[dict[str, Any]]) -> ModelHealth:
    """The server's state in words that an operator needs."""
    return ModelHealth(
        served_by=identity.served_by,
        loaded=tuple(one["model"] for one in loaded),
        on_cpu=tuple(
            one["model"] for one in loaded if one.get("size_vram", 0) < one.get("size", 0)
        ),
    )


def canonical(name: str) -> str:
    """The name as /api/tags has it: no tag means `latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
