"""Shadow mode: other policies decide on the same facts; their decisions are kept, none is applied.

A shadow sees the replicas that the pool's own policy brought about. So it says what that policy
would do next here, not where it would have led: `reveille simulate --from-database` tells that.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autoscaler.decide import decide
from autoscaler.ledger import Ledger
from autoscaler.observe import inputs_of
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import PoolState


@dataclass(frozen=True, slots=True)
class _Last:
    wanted: int | None = None
    memory: Mapping[str, Any] | None = None
    stored_at: float = float("-inf")  # monotonic


class Shadows:
    """`stale_seconds`: how often a decision that stays the same is stored while tasks are there."""

    def __init__(self, ledger: Ledger, policies: Sequence[str], *, stale_seconds: float) -> None:
        self._ledger = ledger
        self._policies = policies
        self._stale_seconds = stale_seconds
        self._last: dict[tuple[str, str], _Last] = {}
        self._epoch = 0

    async def decide(self, state: PoolState, now: float, scaling: PoolScaling) -> None:
        """Ask every shadow but the policy in force, and keep what is new."""
        if not self._policies:
            return
        if self._epoch != self._ledger.epoch:
            await self._recall()
        for policy in self._policies:
            if policy != scaling.policy:
                told = scaling.model_copy(update={"policy": policy})
                await self._one(state, now, told)

    async def _recall(self) -> None:
        """A new leader goes on from the rows."""
        rows = await self._ledger.look_shadows(self._policies)
        self._last = {
            (row["pool"], row["policy"]): _Last(row["replicas_wanted"], row["memory"])
            for row in rows
        }
        self._epoch = self._ledger.epoch

    async def _one(self, state: PoolState, now: float, scaling: PoolScaling) -> None:
        key = (state.pool, scaling.policy)
        last = self._last.get(key, _Last())
        memory = last.memory or {}
        decision = decide(replace(state, memory=memory), now, scaling)
        moment = time.monotonic()
        stale = moment - last.stored_at >= self._stale_seconds
        calm = decision.wanted == len(state.present) and not state.depth and not state.replicas
        same = last.wanted == decision.wanted and dict(decision.memory) == dict(memory)
        if (same and not stale) or (calm and last.wanted in {None, decision.wanted}):
            return
        if await self._ledger.add_decision(
            state.pool,
            scaling.policy,
            len(state.present),
            decision,
            inputs_of(state, decision, scaling),
            applied=False,
        ):
            self._last[key] = _Last(decision.wanted, decision.memory, moment)
