"""Servers that are simply there: the dedicated machine, or workers that Compose keeps running.

Nothing is started and nothing is stopped. Their slots count all the same: the autoscaler reads
every live server from processing_servers, whoever started it.
"""

from collections.abc import Sequence

from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError


class StaticProvider:
    """Has no containers of ours."""

    can_start = False

    async def create(self, spec: ContainerSpec) -> str:
        """Always refused: decisions to grow are held before they come here."""
        raise ProviderError(f"{spec.name}: the static provider starts nothing")

    async def stop(self, name: str) -> None:
        """There is nothing of that name."""

    async def list(self) -> Sequence[ProviderContainer]:
        """Nothing of ours."""
        return ()

    async def close(self) -> None:
        """Nothing is held."""
