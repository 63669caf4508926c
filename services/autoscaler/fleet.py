"""The containers of all pools: what providers run, the next steps, strays, idleness."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial

import structlog

from autoscaler.catalogue import Catalogue
from autoscaler.conductor import Conductor
from autoscaler.config import AutoscalerSettings
from autoscaler.container import Container
from autoscaler.ledger import Ledger, Row
from autoscaler.lifespan import Sighting, next_step
from autoscaler.offers import PricedOffer
from autoscaler.operations import Operations
from autoscaler.provider import Provider, ProviderContainer, ProviderError
from autoscaler.scaling_file import PoolScaling
from autoscaler.sightings import Sightings, slot_of

log = structlog.get_logger(__name__)

# Lists in a row that must show a stray: a list may be older than the row that ended it.
ADOPT_COUNTS_MIN = 2
STOP_COUNTS_MIN = 3
LIST_SECONDS_MAX = 20.0  # one provider that does not answer must not hold up the others
STAGES_WITH_GPU = frozenset({"pulling", "starting", "running"})
STAGES_WITH_IMAGE = frozenset({"starting", "running"})


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
        catalogue: Catalogue,
    ) -> None:
        self._settings = settings
        self._scaling = scaling
        self._ledger = ledger
        self._providers = providers
        self._operations = operations
        self._conductor = conductor
        self._catalogue = catalogue
        spacing = settings.look_seconds / 2
        self._sightings = {name: Sightings(spacing_seconds=spacing) for name in providers}
        self._listings: dict[str, Sequence[ProviderContainer] | None] = {}
        self._listed_at: dict[str, float] = {}  # monotonic: when each list was asked for

    async def list_providers(self) -> None:
        """Ask every provider once, all at the same time; `attend` takes the answers in."""
        await asyncio.gather(*(self._list(name) for name in self._providers))

    async def _list(self, name: str) -> None:
        self._listed_at[name] = time.monotonic()
        try:
            async with asyncio.timeout(LIST_SECONDS_MAX):
                self._listings[name] = await self._providers[name].list()
        except (ProviderError, TimeoutError) as error:
            log.warning("provider_silent", provider=name, error=str(error) or "no answer in time")
            self._listings[name] = None

    async def attend(self, pools: Sequence[Row], containers: Sequence[Container]) -> bool:
        """Let each container take its next step; whether rows changed at once."""
        self._note_sightings(containers)
        moved = await self._adopt_or_stop_strays([row["name"] for row in pools])
        await self._note_stages(containers)
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
            provider = self._provider_name(container)
            self._conductor.end_now(container, provider)

    def _note_sightings(self, containers: Sequence[Container]) -> None:
        """Once per list: further passes of a round see the same one. Rows are younger than lists:
        what was created or stopped meanwhile is told wrongly by the list.
        """
        listings, self._listings = self._listings, {}
        for provider, listing in listings.items():
            known = [c.name for c in containers if self._provider_name(c) == provider]
            since = self._listed_at[provider]
            self._sightings[provider].note(
                listing,
                known,
                time.monotonic(),
                outdated=partial(self._operations.touched_since, moment=since),
            )

    def _provider_name(self, container: Container) -> str:
        return container.provider or self.provider_of(container.pool)

    async def _take_steps(self, containers: Sequence[Container]) -> bool:
        moved = False
        for container in containers:
            scaling = self._scaling.get(container.pool)
            if scaling is None or self._operations.busy(container.name):
                continue
            provider = self._provider_name(container)
            sighting = self._sighting(container, provider)
            step = next_step(container, sighting, self._settings.life_limits(scaling))
            if step is not None:
                offer = self._offer_of(container.pool, provider)
                moved |= await self._conductor.take(container, step, offer, provider)
        return moved

    def _sighting(self, container: Container, provider: str) -> Sighting:
        unseen = Sightings(spacing_seconds=0.0)  # its provider is not configured any more
        return self._sightings.get(provider, unseen).of(container.name)

    def _offer_of(self, pool: str, provider: str) -> PricedOffer:
        """For a container that no decision chose an offer for: the first that can be had of the
        provider; without any price none is charged, and its row says 0.
        """
        priced = self._catalogue.priced(self._scaling[pool], self._settings.provider)
        offers = [offer for offer in priced if isinstance(offer, PricedOffer)]
        own = [offer for offer in offers if offer.provider == provider]
        return next(iter(own), PricedOffer(provider=provider))

    async def _note_stages(self, containers: Sequence[Container]) -> None:
        """Date how far those that boot have come."""
        seen = []
        for container in containers:
            if container.state != "booting":
                continue
            stage = self._sighting(container, container.provider).stage
            gpu, image = stage in STAGES_WITH_GPU, stage in STAGES_WITH_IMAGE
            registered = container.server_id is not None
            if max(1 * gpu, 2 * image, 3 * registered) > container.stages_noted:
                seen.append((container.container_id, gpu, image, registered))
        if seen:
            await self._ledger.note_stages(seen)

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
                    work = self._conductor.stop_stray(stray.name, place[0], provider)
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
            offer=self._offer_of(pool, provider),
            ref=stray.ref,
            server_id=server["server_id"],
            started_at=server["started_at"],
        )

    async def _note_idle(self, containers: Sequence[Container]) -> None:
        changes = [
            (c.container_id, not c.held)
            for c in containers
            if c.state == "ready" and c.idle_noted != (not c.held)
        ]
        if changes:
            await self._ledger.note_idle(changes)
