"""The autoscaler's loop: lead, look, let containers take their next steps, decide, apply, rest."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import structlog

from autoscaler.catalogue import Catalogue, providers_of
from autoscaler.conductor import Conductor
from autoscaler.config import AutoscalerSettings
from autoscaler.container import Container
from autoscaler.decisions import Decisions
from autoscaler.fleet import Fleet
from autoscaler.keda.published import Published
from autoscaler.leader import Leader
from autoscaler.ledger import Ledger, Row, Spending
from autoscaler.observe import seen
from autoscaler.operations import Operations
from autoscaler.outlook import Outlook
from autoscaler.provider import Provider
from autoscaler.providers import open_provider
from autoscaler.spending import SpendingGauges
from autoscaler.starts import show_pools
from autoscaler.state import CRITICAL_PRIORITY
from reveille.channels import Channel
from reveille.database import DATABASE_ERRORS
from reveille.errors import ConfigurationError
from reveille.lifecycle import Service
from reveille.pause import pause
from reveille.telemetry import Telemetry

if TYPE_CHECKING:
    from autoscaler.keda.server import KedaServer

log = structlog.get_logger(__name__)

Looked = TypeVar("Looked")

DATABASE_PAUSE_SECONDS = 0.5
# News may come thousands of times a second; it hurries a round, but no more than this often.
ROUND_SECONDS_MIN = 0.2
# Beside an old snapshot, whose dead rows every look walks over, looks take no more than a tenth of the time; for a
# critical task half of it.
REST_FACTOR, REST_SECONDS_MAX = 9.0, 60.0
# A start takes three looks in one round: intend, create, and see it under way.
PASSES_MAX = 4
END_SECONDS_MAX = 5.0


class Autoscaler(Service):
    """One autoscaler; of several one leads and the others stand by."""

    name = "autoscaler"

    def __init__(self, settings: AutoscalerSettings, telemetry: Telemetry) -> None:
        super().__init__(settings, telemetry)
        self.scaler_settings = settings
        self.scaling = settings.scaling()  # early: a wrong file is told before anything runs
        self.providers: dict[str, Provider] = {}
        self.keda: KedaServer | None = None
        self._news = asyncio.Event()
        self._heard_at = float("-inf")  # monotonic
        self._looked_seconds = 0.0  # in this round
        self._critical: set[int] = set()  # critical tasks that the last look saw

    async def setup(self) -> None:
        """Providers, listeners, gauges."""
        settings = self.scaler_settings
        self.ledger = Ledger(self.pool)
        self._open_providers()
        self.leader = Leader(self.notifier, self.ledger, settings.holder)
        self.operations = Operations(self._news.set)
        self.catalogue = Catalogue(
            self.ledger, self.providers, refresh_seconds=settings.price_seconds_max
        )
        self.fleet = Fleet(
            settings,
            self.scaling,
            ledger=self.ledger,
            providers=self.providers,
            operations=self.operations,
            conductor=Conductor(self.ledger, self.operations, self.providers, self.telemetry),
            catalogue=self.catalogue,
        )
        self.outlook = Outlook(self.ledger, refresh_seconds=settings.experience_seconds_max)
        self.decisions = Decisions(settings, self.scaling, self.ledger, self.catalogue)
        budget = next(iter(self.scaling.values())).budget  # one for all pools
        show_pools(self.telemetry.metrics, self.scaling)
        self._gauges = SpendingGauges(self.telemetry.metrics, budget)
        for channel in (Channel.TASK_READY, Channel.SERVER_CHANGED, Channel.SCALING_CHANGED):
            self.notifier.on(channel, self._on_news)
        self.notifier.on_connect(self._on_connect)
        if settings.keda_listen:
            self.keda = await self._open_keda()

    def _open_providers(self) -> None:
        settings = self.scaler_settings
        names = providers_of(list(self.scaling.values()), settings.provider)
        for name in sorted(names - self.providers.keys()):
            self.providers[name] = open_provider(name, settings, self.ledger)

    async def _open_keda(self) -> "KedaServer":
        try:
            from autoscaler.keda.server import KedaServer
        except ImportError as error:
            raise ConfigurationError(
                f"REVEILLE_KEDA_LISTEN needs the extra reveille[keda]: {error}"
            ) from None
        server = KedaServer(self.scaler_settings, Published(self.pool))
        await server.open()
        return server

    async def work(self) -> None:
        """Rounds until stopped; a database that is away is waited for."""
        while not self.stopping.is_set():
            self._news.clear()
            begun, self._looked_seconds = time.monotonic(), 0.0
            try:
                pause = await self.round()
                if self.keda is not None:
                    await self.keda.published.read()
            except DATABASE_ERRORS as error:
                log.warning("round_failed", error=str(error) or type(error).__name__)
                pause = DATABASE_PAUSE_SECONDS
            ended, soonest = time.monotonic(), begun + ROUND_SECONDS_MIN
            await self._rest(pause)
            await self._hold_back(max(soonest, ended + self._looked_seconds), hurry=False)
            rest = min(self._looked_seconds * REST_FACTOR, REST_SECONDS_MAX)
            await self._hold_back(ended + rest, hurry=True)
        await self._end()

    async def round(self) -> float:
        """What there is to do now; seconds until the next round, if nothing is heard."""
        if not await self.leader.try_to_lead():
            return self.scaler_settings.standby_seconds
        await asyncio.gather(self.fleet.list_providers(), self.catalogue.refresh())
        await self.decisions.forget()
        for _ in range(PASSES_MAX):
            pools, containers = await self._timed(self.ledger.look())
            self._critical = _critical_in(pools)
            if not all(row["leading"] for row in pools):
                self.leader.step_down()
                return 0.0
            moved, pause = await self._pass(pools, containers)
            if not moved:
                return pause
        return 0.0

    async def _pass(
        self, pools: Sequence[Row], containers: Sequence[Container]
    ) -> tuple[bool, float]:
        """One look's worth of steps and decisions: whether rows changed, and the next pause."""
        if await self.fleet.attend(pools, containers):
            return True, 0.0
        spending = await self._look_spending()
        failures = await self.ledger.look_failures()
        moved, pauses = False, [self._pause(pools, containers)]
        owned = {row["name"]: [c for c in containers if c.pool == row["name"]] for row in pools}
        states = [seen(row, owned[row["name"]]) for row in pools]
        known = await self._timed(self.outlook.look(states, self.scaling, pools[0]["now"]))
        for row in pools:
            name = row["name"]
            changed, again_seconds = await self.decisions.make(
                row, known[name], owned[name], spending, failures
            )
            if changed:  # what one pool has begun, the next one's budget knows of
                moved, spending = True, await self._look_spending()
            pauses.append(again_seconds)
        return moved, min(pauses)

    async def _timed(self, look: Awaitable[Looked]) -> Looked:
        begun = time.monotonic()
        try:
            return await look
        finally:
            self._looked_seconds += time.monotonic() - begun

    async def _look_spending(self) -> Spending:
        """All pools' together."""
        pools = await self.ledger.look_spending()
        self._gauges.note(pools)
        return Spending(
            spent_usd=sum(pool.spent_usd for pool in pools.values()),
            usd_per_hour=sum(pool.usd_per_hour for pool in pools.values()),
        )

    # Rest

    def _pause(self, pools: Sequence[Row], containers: Sequence[Container]) -> float:
        """Steady states are waited out by timers and news; what moves is looked at."""
        settings = self.scaler_settings
        moving = (
            len(self.operations) > 0
            or self.fleet.has_strays
            or any(row["processing"] for row in pools)
            or any(c.state != "ready" or c.server_status != "active" for c in containers)
        )
        pause = settings.look_seconds if moving else settings.backstop_seconds
        if time.monotonic() - self._heard_at < settings.attention_seconds:
            pause = min(pause, settings.attention_seconds)
        return min(pause, self.operations.retry_in())

    def _on_news(self, _: str) -> None:
        self._heard_at = time.monotonic()
        self._news.set()

    async def _on_connect(self) -> None:
        self._news.set()

    async def _rest(self, pause_seconds: float) -> None:
        """Until news, the end, or `pause_seconds`."""
        waits = [asyncio.create_task(e.wait()) for e in (self._news, self.stopping)]
        await asyncio.wait(waits, timeout=pause_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _hold_back(self, until: float, *, hurry: bool) -> None:
        """Space rounds out; the end is not held back, nor (`hurry`) is news of a critical task."""
        while (left := until - time.monotonic()) > 0 and not self.stopping.is_set():
            if not hurry:
                await pause(left, self.stopping)
                continue
            await self._rest(left)
            if self._news.is_set():
                self._news.clear()
                begun = time.monotonic()
                if await self._is_critical_news():
                    return
                took = time.monotonic() - begun
                again = begun + max(ROUND_SECONDS_MIN, took * (1 + REST_FACTOR))
                await self._hold_back(min(again, until), hurry=False)

    async def _is_critical_news(self) -> bool:
        """Whether a critical task waits that the last look did not see. A payload does not say it."""
        try:
            return not self._critical.issuperset(await self.ledger.look_critical())
        except DATABASE_ERRORS:
            return False

    # End

    async def _end(self) -> None:
        """Containers go on without us, unless they are bound to us."""
        await self.operations.finish(END_SECONDS_MAX)
        if self.scaler_settings.process_bound and self.leader.leads:
            with suppress(*DATABASE_ERRORS):
                _, containers = await self.ledger.look()
                self.fleet.stop_everything(containers)
            grace_seconds = self.scaler_settings.grace_seconds + END_SECONDS_MAX
            await self.operations.finish(grace_seconds)

    async def close(self) -> None:
        """Close the providers, and the scaler that KEDA asks."""
        if self.keda is not None:
            await self.keda.close()
        for provider in self.providers.values():
            await provider.close()


def _critical_in(pools: Sequence[Row]) -> set[int]:
    return {
        task["task_id"]
        for row in pools
        for task in row["waiting"]
        if task["priority"] >= CRITICAL_PRIORITY
    }
