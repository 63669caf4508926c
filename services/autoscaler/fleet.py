"""The containers of all pools: what providers run, the next steps, strays, idleness."""

import time
from collections.abc import Mapping, Sequence

import structlog

from autoscaler.conductor import Conductor
from autoscaler.config import AutoscalerSettings
from autoscaler.container import Container
from autoscaler.ledger import Ledger, Row
from autoscaler.lifespan import next_step
from autoscaler.operations import Operations
from autoscaler.provider import Provider, ProviderContainer, ProviderError
from autoscaler.scaling_file import PoolScaling
from autoscaler.sightings import Sightings, slot_of

log = structlog.get_logger(__name__)

# Lists in a row that must show a stray: a list may be older than the row that ended it.
ADOPT_COUNTS_MIN = 2
STOP_COUNTS_MIN = 3


class Fleet:
    """Carries every container through its life; how many there should be is decided elsewhere."""

    def __init__(
        self,
        settings: AutoscalerSettings,
        scaling: Mapping[str, PoolScaling],
        *,
        ledger: Ledger,
        providers: Mapping[str, Provider],
        operations: Operations,
        conductor: Conductor,
    ) -> None:
        self._settings = settings
        self._scaling = scaling
        self._ledger = ledger
        self._providers = providers
        self._operations = operations
        self._conductor = conductor
        spacing = settings.look_seconds / 2
        self._sightings = {name: Sightings(spacing_seconds=spacing) for name in providers}
        self._listings: dict[str, Sequence[ProviderContainer] | None] = {}

    async def list_providers(self) -> None:
        """Ask every provider once; `attend` takes the answers in."""
        for name, provider in self._providers.items():
            try:
                self._listings[name] = await provider.list()
            except ProviderError as error:
                log.warning("provider_silent", provider=name, error=str(error))
                self._listings[name] = None

    async def attend(self, pools: Sequence[Row], containers: Sequence[Container]) -> bool:
        """Let each container take its next step; whether rows changed at once."""
        self._note_sightings(containers)
        moved = await self._adopt_or_stop_strays([row["name"] for row in pools])
        moved |= await self._take_steps(containers)
        await self._note_idle(containers)
        return moved

    @property
    def has_strays(self) -> bool:
        """Whether something runs that no row knows of."""
        return any(sightings.strays() for sightings in self._sightings.values())

    def provider_of(self, pool: str) -> str:
        """The name of a pool's provider."""
        scaling = self._scaling.get(pool)
        return (scaling.provider if scaling else None) or self._settings.provider

    def stop_everything(self, containers: Sequence[Container]) -> None:
        """Begin to end them all, whatever they do."""
        for container in containers:
            provider = container.provider or self.provider_of(container.pool)
            self._conductor.end_now(container, provider)

    def _note_sightings(self, containers: Sequence[Container]) -> None:
        """Once per list: further passes of a round see the same one."""
        listings, self._listings = self._listings, {}
        for name, listing in listings.items():
            known = [c.name for c in containers if (c.provider or self.provider_of(c.pool)) == name]
            self._sightings[name].note(listing, known, time.monotonic())

    async def _take_steps(self, containers: Sequence[Container]) -> bool:
        moved = False
        for container in containers:
            scaling = self._scaling.get(container.pool)
            if scaling is None or self._operations.busy(container.name):
                continue
            provider = container.provider or self.provider_of(container.pool)
            unseen = Sightings(spacing_seconds=0.0)  # its provider is not configured any more
            sighting = self._sightings.get(provider, unseen).of(container.name)
            step = next_step(container, sighting, self._settings.life_limits(scaling))
            if step is not None:
                moved |= await self._conductor.take(container, step, scaling, provider)
        return moved

    async def _adopt_or_stop_strays(self, pools: Sequence[str]) -> bool:
        """What runs under names of ours without a row: a crash between two steps, or a row that
        was removed. One with a live worker is adopted, the rest is stopped.
        """
        adopted = False
        for provider, sightings in self._sightings.items():
            strays = {
                stray: count
                for stray, count in sightings.strays().items()
                if count >= ADOPT_COUNTS_MIN and not self._operations.busy(stray.name)
            }
            if not strays:
                continue
            servers = await self._ledger.look_strays([stray.name for stray in strays])
            for stray, count in strays.items():
                place = slot_of(stray.name, self._settings.container_prefix, pools)
                if place is None or place[0] not in self._scaling:
                    continue
                server = servers.get(stray.name)
                if server is not None and stray.state == "running":
                    adopted |= await self._adopt(stray, place, provider, server)
                elif count >= STOP_COUNTS_MIN:
                    work = self._conductor.stop_stray(stray.name, provider)
                    self._operations.start(stray.name, work)
        return adopted

    async def _adopt(
        self, stray: ProviderContainer, place: tuple[str, int], provider: str, server: Row
    ) -> bool:
        pool, slot = place
        log.warning("container_adopted", container=stray.name, server_id=server["server_id"])
        return await self._ledger.adopt(
            stray.name,
            pool=pool,
            slot=slot,
            provider=provider,
            ref=stray.ref,
            server_id=server["server_id"],
            started_at=server["started_at"],
            gpu=self._scaling[pool].gpu,
            price_usd_per_hour=self._scaling[pool].price_usd_per_hour,
        )

    async def _note_idle(self, containers: Sequence[Container]) -> None:
        changes = [
            (c.container_id, not c.held)
            for c in containers
            if c.state == "ready" and c.idle_noted != (not c.held)
        ]
        if changes:
            await self._ledger.note_idle(changes)
