"""What the autoscaler asks of whoever runs containers: small, so that a child process, Docker, a
GPU cloud and a cluster all fit.

Names are the idempotency keys: `create` under a name that runs already returns what runs, `stop`
of what is gone succeeds. A provider may show and touch only names that the autoscaler gave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from reveille.errors import ReveilleError


class ProviderError(ReveilleError):
    """The provider refused or could not be reached; the message says what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What to run. `server_id` is the row that the worker inside is to register."""

    name: str
    pool: str
    slot: int
    server_id: str
    gpu: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContainer:
    """What a provider says it has. `exited`: it is known and does not run any more."""

    name: str
    ref: str
    state: Literal["running", "exited"]
    detail: str = ""


class Provider(Protocol):
    """One way of running containers. Every method may raise ProviderError."""

    @property
    def can_start(self) -> bool:
        """False: what there is cannot become more, decisions to grow are held."""

    async def create(self, spec: ContainerSpec) -> str:
        """Start it unless it runs; the provider's own reference (pid, id)."""

    async def stop(self, name: str) -> None:
        """Ask it to end, wait for that, end it. Returns when it is gone and forgotten."""

    async def list(self) -> Sequence[ProviderContainer]:
        """Everything of ours that it has. Never an empty answer in place of an error."""

    async def close(self) -> None:
        """Let go of what this object holds; containers go on unless they are bound to it."""
