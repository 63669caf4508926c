"""Decisions made, kept and applied, pool by pool."""

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from autoscaler.config import AutoscalerSettings
from autoscaler.container import Container
from autoscaler.decide import decide
from autoscaler.ledger import Ledger, Row
from autoscaler.observe import inputs_of, scaling_in_force, state_of
from autoscaler.plan import plan
from autoscaler.scaling_file import PoolScaling
from autoscaler.sightings import name_of
from autoscaler.state import Decision, PoolState
from reveille.errors import ConfigurationError

log = structlog.get_logger(__name__)

PAUSE_SECONDS_MIN = 0.01  # a timer that rounding calls due a moment early


class Decisions:
    """The pure part between the rows that it reads and the rows that it writes.

    `provider_of` names a pool's provider, `can_start` says whether that can start anything.
    """

    def __init__(
        self,
        settings: AutoscalerSettings,
        scaling: Mapping[str, PoolScaling],
        ledger: Ledger,
        *,
        provider_of: Callable[[str], str],
        can_start: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._scaling = scaling
        self._ledger = ledger
        self._provider_of = provider_of
        self._can_start = can_start
        self._stored: dict[str, tuple[bool, float]] = {}  # pool → held, monotonic time

    async def make(
        self, row: Row, containers: Sequence[Container], spent_usd: float | None
    ) -> tuple[bool, float]:
        """Decide for the pool of `row` and apply it: whether rows changed, and in how many seconds
        the decision could differ without any news.
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
        provider = self._provider_of(pool)
        state = state_of(
            row,
            containers,
            policy=scaling.policy,
            can_start=self._can_start(provider),
            spent_usd=spent_usd,
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
        moved = await self._apply(pool, scaling, provider, decision, containers)
        again = decision.look_again_seconds
        return moved, never if again is None else max(again, PAUSE_SECONDS_MIN)

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
        scaling: PoolScaling,
        provider: str,
        decision: Decision,
        containers: Sequence[Container],
    ) -> bool:
        moves = plan(decision, containers)
        moved = False
        for container in moves.revive:
            moved |= await self._ledger.revive(container, decision.reason)
        for container in moves.drain:
            moved |= await self._ledger.drain(container, decision.reason)
        for slot in moves.start:
            moved |= await self._ledger.intend(
                name_of(self._settings.container_prefix, pool, slot),
                pool=pool,
                slot=slot,
                provider=provider,
                reason=decision.reason,
                waited_for=decision.waited_for,
                gpu=scaling.gpu,
                price_usd_per_hour=scaling.price_usd_per_hour,
            )
        if moved:
            log.info("scaled", pool=pool, wanted=decision.wanted, reason=decision.reason)
        return moved
