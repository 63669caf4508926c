"""Steps and moves carried out: rows by the ledger, containers by their provider.

Provider calls run beside the loop (operations.py) and write the row when they are done; until
then the container is left alone.
"""

from collections.abc import Mapping

import structlog

from autoscaler.container import Container
from autoscaler.ledger import Ledger, Row
from autoscaler.lifespan import Act, Step
from autoscaler.offers import PricedOffer
from autoscaler.operations import Operations
from autoscaler.provider import ContainerSpec, Provider, ProviderError, Trouble
from autoscaler.starts import report_start
from reveille.database import retrying
from reveille.semconv import LABEL_POOL
from reveille.telemetry import Telemetry

log = structlog.get_logger(__name__)


class Conductor:
    """Carries out what lifespan.py says of each container."""

    def __init__(
        self,
        ledger: Ledger,
        operations: Operations,
        providers: Mapping[str, Provider],
        telemetry: Telemetry,
    ) -> None:
        self._ledger = ledger
        self._operations = operations
        self._providers = providers
        self._telemetry = telemetry

    async def take(
        self, container: Container, step: Step, offer: PricedOffer, provider_name: str
    ) -> bool:
        """Whether a row changed at once, so that another look shows more to do. `offer` is for
        what an operator's row leaves open.
        """
        match step.act:
            case Act.CREATE:
                self._operations.start(container.name, self._create(container, offer))
                return False
            case Act.STOP | Act.FAIL:
                self._operations.start(container.name, self._end(container, step, provider_name))
                return False
            case Act.BOOTED:
                row = await self._ledger.move(container, "booting", step.reason, ref=step.ref)
            case Act.UNREADY:
                row = await self._ledger.move(container, "booting", step.reason)
            case Act.READY:
                row = await self._ready(container, step)
            case Act.KEEP:
                return await self._ledger.revive(container, step.reason)
            case Act.DRAIN:
                return await self._ledger.drain(container, step.reason, even_busy=True)
        if row is not None:
            log.info("container", container=container.name, act=step.act.value, why=step.reason)
        return row is not None

    async def _ready(self, container: Container, step: Step) -> Row | None:
        row = await self._ledger.move(
            container, "ready", step.reason, server_id=container.server_id
        )
        if row is not None and not container.was_ready:
            await report_start(self._telemetry, self._ledger, row)
        return row

    async def _create(self, container: Container, offer: PricedOffer) -> None:
        row = await self._ledger.begin(container, offer)
        if row is None:
            return
        spec = ContainerSpec(
            name=container.name,
            pool=container.pool,
            slot=container.slot,
            server_id=row["server_id"],
            gpu=row["gpu"],
            region=row["region"],
            spot=row["spot"],
        )
        try:
            ref = await self._provider(row["provider"]).create(spec)
        except ProviderError as error:
            words = str(error)
            log.warning("container_not_created", container=container.name, error=words)
            reason = f"it could not be created: {words}"
            await self._moved(container, "failed", reason, error=words, trouble=error.trouble)
            return
        log.info("container", container=container.name, act="create", ref=ref)
        await self._moved(container, "booting", "its provider has started it", ref=ref)

    async def _end(self, container: Container, step: Step, provider_name: str) -> None:
        if not await self._ledger.may_end(container, even_busy=step.even_busy):
            return  # it has moved on since the look, or somebody else leads: the next look says
        try:
            await self._provider(provider_name).stop(container.name)
        except ProviderError as error:
            # The row stays as it is, so that it is tried again.
            self._operations.failed(container.name)
            log.warning("container_not_stopped", container=container.name, error=str(error))
            self._telemetry.metrics.container_stops_failed.add(1, {LABEL_POOL: container.pool})
            return
        self._operations.succeeded(container.name)
        failed = step.act is Act.FAIL
        state = "failed" if failed else "stopped"
        row = await self._moved(
            container,
            state,
            step.reason,
            error=step.reason if failed else None,
            trouble=(step.trouble or "other") if failed else None,
        )
        log.info("container", container=container.name, act=step.act.value, why=step.reason)
        if failed and row is not None and not container.was_ready:
            await report_start(self._telemetry, self._ledger, row, error=step.reason)

    async def _moved(
        self,
        container: Container,
        to: str,
        reason: str,
        *,
        ref: str | None = None,
        error: str | None = None,
        trouble: Trouble | None = None,
    ) -> Row | None:
        """The provider has done it: the row must say so, however long the database is away."""
        everywhere = ("intended", "creating", "booting", "ready", "draining")
        also_from = ("creating",) if to == "booting" else everywhere
        return await retrying(
            lambda: self._ledger.move(
                container,
                to,
                reason,
                ref=ref,
                error=error,
                trouble=trouble,
                also_from=also_from,
            )
        )

    def _provider(self, name: str) -> Provider:
        provider = self._providers.get(name)
        if provider is None:
            known = ", ".join(sorted(self._providers))
            raise ProviderError(f"there is no provider {name!r} any more; there are {known}")
        return provider

    def end_now(self, container: Container, provider_name: str) -> None:
        """Begin to stop it, whatever it does: the autoscaler ends, and it is bound to that."""
        step = Step(act=Act.STOP, reason="the autoscaler ended", even_busy=True)
        if not self._operations.busy(container.name):
            self._operations.start(container.name, self._end(container, step, provider_name))

    async def stop_stray(self, name: str, pool: str, provider_name: str) -> None:
        """End something that runs under a name of ours and serves nobody."""
        try:
            await self._provider(provider_name).stop(name)
        except ProviderError as error:
            self._operations.failed(name)
            log.warning("stray_not_stopped", container=name, error=str(error))
            self._telemetry.metrics.container_stops_failed.add(1, {LABEL_POOL: pool})
        else:
            self._operations.succeeded(name)
            log.warning("stray_stopped", container=name)
