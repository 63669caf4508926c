"""From rows to the state that a policy is told, and to the scaling that is in force."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autoscaler.container import Container
from autoscaler.ledger import Row, Spending
from autoscaler.offers import Choice
from autoscaler.policies import POLICIES
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import Decision, PoolState, Unlisted, Waiting
from reveille.errors import ConfigurationError


def scaling_in_force(scaling: PoolScaling, row: Row) -> PoolScaling:
    """The file's scaling with the operator's row over it. One bound that the operator set moves
    the file's other one along. Raises ConfigurationError for a policy that nobody knows.
    """
    least, most = row["replicas_min"], row["replicas_max"]
    if most is None:
        most = max(scaling.max_replicas, least or 0)
    if least is None:
        least = min(scaling.min_replicas, most)
    policy = row["policy"] or scaling.policy
    if policy not in POLICIES:
        raise ConfigurationError(
            f"pools.policy of {row['name']} is {policy!r}; known are {', '.join(sorted(POLICIES))}"
        )
    return scaling.model_copy(
        update={"min_replicas": least, "max_replicas": most, "policy": policy}
    )


def seen(row: Row, containers: Sequence[Container]) -> PoolState:
    """What one look shows of a pool: tasks, replicas, other servers."""
    return PoolState(
        pool=row["name"],
        waiting=() if row["paused"] else tuple(Waiting(**task) for task in row["waiting"]),
        unlisted=() if row["paused"] else tuple(Unlisted(**part) for part in row["unlisted"]),
        processing=row["processing"],
        replicas=tuple(c.replica() for c in containers),
        other_servers=row["other_servers"],
        other_free_slots=row["other_free_slots"],
        paused=row["paused"],
    )


def state_of(
    known: PoolState,
    row: Row,
    *,
    policy: str,
    can_start: bool,
    choice: Choice,
    spending: Spending | None,
    ends_highest_first: bool = False,
) -> PoolState:
    """What is `known` of one pool (outlook.py), and what it may start; `spending` is all pools'
    together. Another policy's memory is not this one's.
    """
    return replace(
        known,
        can_start=can_start,
        ends_highest_first=ends_highest_first,
        failures=choice.failures,
        failed_seconds_ago=choice.failed_seconds_ago,
        refusal=choice.refusal,
        spent_usd=None if spending is None else spending.spent_usd,
        usd_per_hour=0.0 if spending is None else spending.usd_per_hour,
        start_usd_per_hour=0.0 if choice.offer is None else choice.offer.usd_per_hour,
        memory=row["memory"] if row["decided_by"] == policy else {},
    )


def inputs_of(state: PoolState, decision: Decision, scaling: PoolScaling) -> Mapping[str, Any]:
    """What the decision was made on, for its row: enough to ask why, and to draw it."""
    phases = [replica.phase for replica in state.replicas]
    oldest = state.oldest
    return {
        "depth": state.depth,
        "waiting": state.backlog,
        "unlisted": {part.task_type: part.tasks for part in state.unlisted},
        "processing": state.processing,
        "critical": len(state.critical),
        "oldest_seconds": None if oldest is None else round(oldest.age_seconds, 3),
        "replicas": {phase: phases.count(phase) for phase in sorted(set(phases))},
        "other_servers": state.other_servers,
        "other_free_slots": state.other_free_slots,
        "paused": state.paused,
        "cold_start_seconds": state.cold_start_seconds,
        "service_seconds": {name: round(s, 3) for name, s in state.service_seconds.items()},
        "idle_gaps": len(state.idle_gaps),
        "upcoming": len(state.upcoming),
        "upcoming_in_seconds": round(state.upcoming[0].in_seconds, 3) if state.upcoming else None,
        "failures": state.failures,
        "refusal": state.refusal,
        "spent_usd": state.spent_usd,
        "usd_per_hour": state.usd_per_hour,
        "start_usd_per_hour": state.start_usd_per_hour,
        "spare": list(decision.spare),
        "waited_for_task_id": decision.waited_for,
        "held": decision.held,
        "scaling": scaling.model_dump(),
    }
