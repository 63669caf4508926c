"""Containers that KEDA brings about: pods of one StatefulSet per pool, whose number is published.

Nothing is started or ended here. A row of `containers` is the wish, and the pod of the same number is
what comes of it; its worker says so when it registers (REVEILLE_CONTAINER_ID is the pod's name). Only
the highest pod can go, so policies may spare none below one that works.
"""

from collections.abc import Sequence

from autoscaler.ledger import Ledger
from autoscaler.provider import ContainerSpec, ProviderContainer


class KedaProvider:
    """The rows of this provider, as containers."""

    can_start = True
    ends_highest_first = True

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def create(self, spec: ContainerSpec) -> str:
        """Its row says that it is wanted. A worker that is there from a former life of the slot
        leaves, so that the one of this life registers.
        """
        await self._ledger.recall_worker(spec.name)
        return spec.name

    async def stop(self, name: str) -> None:
        """Its row ends, and with it the wish."""

    async def list(self) -> Sequence[ProviderContainer]:
        """What was asked for. How its pods are, KEDA does not say; their workers do."""
        return [
            ProviderContainer(name=name, ref=name, state="running", stage="starting")
            for name in await self._ledger.look_stacked("keda")
        ]

    async def close(self) -> None:
        """There is nothing to let go of."""
