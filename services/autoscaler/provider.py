"""What the autoscaler asks of whoever runs containers: small, so that a child process, Docker, a
GPU cloud and a cluster all fit. `tests/services/test_provider_conformance.py` says it in tests.

Names are the idempotency keys: `create` under a name that runs already returns what runs, `stop`
of what is gone succeeds. A provider may show and touch only names that the autoscaler gave it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from reveille.errors import ReveilleError

# Why it would not: no such GPU free just now (another may be); no such GPU at all; credentials, an
# empty account or a limit, which hold for whatever else would be asked of it; anything else.
Trouble = Literal["capacity", "unknown", "account", "other"]

# Where a container is on its way up, in order: no GPU is free yet, its image is being fetched, it
# starts, it runs. Only what a provider can tell; what happens inside its worker it cannot see.
Stage = Literal["waiting", "pulling", "starting", "running"]


class ProviderError(ReveilleError):
    """The provider refused or could not be reached; the message says what it said."""

    def __init__(self, message: str, *, trouble: Trouble = "other") -> None:
        super().__init__(message)
        self.trouble: Trouble = trouble


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """What to run. `server_id` is the row that the worker inside is to register. `gpu`, `region`
    and `spot` are in the provider's words; None: whatever it has.
    """

    name: str
    pool: str
    slot: int
    server_id: str
    gpu: str | None = None
    region: str | None = None
    spot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContainer:
    """What a provider says it has. `exited`: it is known and does not run any more; one that is
    on its way up, or that is started again by itself, is `running`.
    """

    name: str
    ref: str
    state: Literal["running", "exited"]
    stage: Stage = "running"
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What an hour of one container costs, by the second."""

    gpu: str
    usd_per_hour: float
    region: str | None = None
    spot: bool = False


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


@runtime_checkable
class StackedProvider(Protocol):
    """A provider that can end only the container of a pool's highest slot."""

    @property
    def ends_highest_first(self) -> Literal[True]:
        """So it is, for all that it runs."""


@runtime_checkable
class PricedProvider(Protocol):
    """A provider that can be asked what it charges."""

    async def prices(self) -> Sequence[Price]:
        """Its price list. Raises ProviderError."""
