"""The decision: the pool's policy, then the guards that hold whatever the policy says.

Never below the minimum, never above the maximum, nothing started in a paused pool, by a provider
that starts nothing, too soon after failures, or beyond the budget. Pure, like the policies.
"""

from dataclasses import replace

from autoscaler.policies import require_policy
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import Decision, PoolState


def decide(state: PoolState, now: float, config: PoolScaling) -> Decision:
    """How many replicas the pool should have. `now` is the database's clock in seconds."""
    have = len(state.present)
    decision = _within_bounds(require_policy(config.policy)(state, now, config), have, config)
    if decision.wanted <= have:
        return decision
    refusal = _refusal(state, decision, config)
    if refusal is None:
        return decision
    words, again_seconds = refusal
    return replace(
        decision,
        wanted=have,
        reason=f"{decision.reason}; held: {words}",
        waited_for=None,
        memory=decision.memory if decision.memory_if_held is None else decision.memory_if_held,
        look_again_seconds=again_seconds,
        held=words,
    )


def backoff_seconds(failures: int, config: PoolScaling) -> float:
    """How long nothing is started after so many failures in a row."""
    if failures <= 0:
        return 0.0
    grown: float = config.failure_backoff * 2.0 ** min(failures - 1, 20)
    return min(grown, config.failure_backoff_max)


def _within_bounds(decision: Decision, have: int, config: PoolScaling) -> Decision:
    if decision.wanted < config.min_replicas and have <= config.min_replicas:
        return replace(
            decision,
            wanted=config.min_replicas,
            reason=f"the minimum is {config.min_replicas}",
            spare=(),
        )
    # What is above the maximum and busy stays until it is idle: it is not chosen here.
    wanted = max(min(decision.wanted, max(config.max_replicas, have)), 0)
    wanted = max(wanted, min(have, config.min_replicas))
    return replace(decision, wanted=wanted, spare=decision.spare[: max(0, have - wanted)])


def _refusal(
    state: PoolState, decision: Decision, config: PoolScaling
) -> tuple[str, float | None] | None:
    """Why nothing more may be started, and in how many seconds that may change by itself."""
    if state.paused:
        return "the pool is paused", None
    if len(state.revivable) >= decision.wanted - len(state.present):
        return None  # nothing is started: a draining one is taken back
    if not state.can_start:
        return "its provider starts nothing", None
    if state.failed_seconds_ago is not None:
        rest = backoff_seconds(state.failures, config) - state.failed_seconds_ago
        if rest > 0:
            return f"{state.failures} failed in a row, next try in {rest:.0f} s", rest
    return _over_budget(state, decision, config)


def _over_budget(
    state: PoolState, decision: Decision, config: PoolScaling
) -> tuple[str, float | None] | None:
    soft, hard = config.budget.soft_usd_per_month, config.budget.hard_usd_per_month
    if soft is None and hard is None:
        return None
    if state.spent_usd is None:
        return "what this month has cost is not known", None
    if hard is not None and state.spent_usd >= hard:
        return f"${state.spent_usd:.2f} spent this month, the hard cap is ${hard:.2f}", None
    if soft is not None and state.spent_usd >= soft and not decision.urgent:
        return f"${state.spent_usd:.2f} spent this month, the soft cap is ${soft:.2f}", None
    return None
