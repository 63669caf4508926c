"""From a decision to moves: which containers are taken back, drained, and what is started.

Cheapest first: a draining one is taken back before a new one is started. Slots are the lowest
free numbers, so that names are few and stable.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.container import Container
from autoscaler.state import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Containers to take back and to drain, and the slots of those to start."""

    revive: tuple[Container, ...] = ()
    drain: tuple[Container, ...] = ()
    start: tuple[int, ...] = ()


def plan(decision: Decision, containers: Sequence[Container]) -> Plan:
    """The moves that lead from the pool's live `containers` to what was decided."""
    present = [c for c in containers if c.state != "draining"]
    missing = decision.wanted - len(present)
    if missing > 0:
        revive = [c for c in containers if c.replica().revivable][:missing]
        taken = {c.slot for c in containers}
        free = (slot for slot in range(len(taken) + missing) if slot not in taken)
        start = [slot for slot, _ in zip(free, range(missing - len(revive)), strict=False)]
        return Plan(revive=tuple(revive), start=tuple(start))
    by_name = {c.name: c for c in present}
    spare = [by_name[name] for name in decision.spare if name in by_name]
    return Plan(drain=tuple(spare[: max(0, -missing)]))
