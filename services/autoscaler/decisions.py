"""Decisions made, kept and applied, pool by pool."""

import time
from collections.abc import Mapping, Sequence

import structlog

from autoscaler.catalogue import Catalogue
from autoscaler.config import AutoscalerSettings
from autoscaler.container import Container
from autoscaler.decide import decide
from autoscaler.ledger import Ledger, Row, Spending
from autoscaler.observe import inputs_of, scaling_in_force, state_of
from autoscaler.offers import Choice, Failures, PricedOffer, choose
from autoscaler.plan import plan
from autoscaler.scaling_file import PoolScaling
from autoscaler.shadows import Shadows
from autoscaler.sightings import name_of
from autoscaler.state import Decision, PoolState
from reveille.errors import ConfigurationError

log = structlog.get_logger(__name__)

FORGET_SECONDS = 3600.0  # between two passes over old decisions
PAUSE_SECONDS_MIN = 0.01  # a timer that rounding calls due a moment early


class Decisions:
    """The pure part between the rows that it reads and the rows that it writes."""

    def __init__(
        self,
        settings: AutoscalerSettings,
        scaling: Mapping[str, PoolScaling],
        ledger: Ledger,
        catalogue: Catalogue,
    ) -> None:
        self._settings = settings
        self._scaling = scaling
        self._ledger = ledger
        self._catalogue = catalogue
        self._shadows = Shadows(
            ledger, settings.shadow_policies, stale_seconds=settings.decision_seconds
        )
        self._forget_at = float("-inf")  # monotonic
        self._stored: dict[str, tuple[bool, float]] = {}  # pool → held, monotonic time

    async def make(
        self,
        row: Row,
        known: PoolState,
        containers: Sequence[Container],
        spending: Spending | None,
        failures: Sequence[Failures],
    ) -> tuple[bool, float]:
        """Decide for the pool of `row`, of which so much is `known`, and apply it: whether rows
        changed, and in how many seconds the decision could differ without any news.
        """
        pool: str = row["name"]
        never = self._settings.backstop_seconds
        if pool not in self._scaling:
            return False, never
        try:
            scaling = scaling_in_force(self._scaling[pool], row)
        except ConfigurationError as error:
            log.warning("pool_held", pool=pool, error=str(error))
            return False, never
        priced = self._catalogue.priced(scaling, self._settings.provider)
        choice = choose(pool, priced, failures, scaling)
        state = state_of(
            known,
            row,
            policy=scaling.policy,
            can_start=self._catalogue.can_start(scaling, self._settings.provider),
            choice=choice,
            spending=spending,
            ends_highest_first=self._catalogue.ends_highest_first(scaling, self._settings.provider),
        )
        decision = decide(state, row["now"], scaling)
        if self._worth_storing(state, decision) and not await self._ledger.add_decision(
            pool,
            scaling.policy,
            len(state.present),
            decision,
            inputs_of(state, decision, scaling),
        ):
            return True, 0.0  # deposed: the next look says so
        moved = await self._apply(pool, choice, decision, containers)
        await self._shadows.decide(state, row["now"], scaling)
        again = decision.look_again_seconds
        return moved, never if again is None else max(again, PAUSE_SECONDS_MIN)

    async def forget(self) -> None:
        """Delete decisions that are older than is kept, now and then."""
        if time.monotonic() < self._forget_at:
            return
        while await self._ledger.forget_decisions(self._settings.decision_days * 86_400.0):
            pass
        self._forget_at = time.monotonic() + FORGET_SECONDS

    def _worth_storing(self, state: PoolState, decision: Decision) -> bool:
        """Every change, of the number, the memory or the guard; and now and then a calm one."""
        now = time.monotonic()
        was_held, stored_at = self._stored.get(state.pool, (False, float("-inf")))
        held = bool(decision.held)
        stale = now - stored_at >= self._settings.decision_seconds
        worth = (
            decision.wanted != len(state.present)
            or dict(decision.memory) != dict(state.memory)
            or held != was_held
            or (stale and bool(state.depth or state.replicas))
        )
        if worth:
            self._stored[state.pool] = (held, now)
        return worth

    async def _apply(
        self,
        pool: str,
        choice: Choice,
        decision: Decision,
        containers: Sequence[Container],
    ) -> bool:
        moves = plan(decision, containers)
        moved = False
        for container in moves.revive:
            moved |= await self._ledger.revive(container, decision.reason)
        for container in moves.drain:
            moved |= await self._ledger.drain(container, decision.reason)
        if choice.offer is not None:
            for slot in moves.start:
                moved |= await self._intend(pool, slot, choice.offer, decision)
        if moved:
            log.info("scaled", pool=pool, wanted=decision.wanted, reason=decision.reason)
        return moved

    async def _intend(self, pool: str, slot: int, offer: PricedOffer, decision: Decision) -> bool:
        return await self._ledger.intend(
            name_of(self._settings.container_prefix, pool, slot),
            pool=pool,
            slot=slot,
            offer=offer,
            reason=decision.reason,
            waited_for=decision.waited_for,
        )
