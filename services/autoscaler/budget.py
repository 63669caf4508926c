"""The budget guard: what would be spent if more were started, against the caps. Pure.

Checked before every increase. A start is charged with what all containers cost until it could
work, so that a cap is not passed by containers that never did anything.
"""

from autoscaler.scaling_file import PoolScaling
from autoscaler.state import Decision, PoolState


def over_budget(state: PoolState, decision: Decision, config: PoolScaling) -> str | None:
    """Which cap the decision would pass, in words; None: none."""
    budget = config.budget
    caps = (budget.soft_usd_per_month, budget.hard_usd_per_month, budget.usd_per_hour_max)
    if all(cap is None for cap in caps):
        return None
    if state.spent_usd is None:
        return "what this month has cost is not known"
    more = decision.wanted - len(state.present) - len(state.revivable)
    usd_per_hour = state.usd_per_hour + max(0, more) * state.start_usd_per_hour
    if budget.usd_per_hour_max is not None and usd_per_hour > budget.usd_per_hour_max:
        return (
            f"all containers would cost ${usd_per_hour:.2f} an hour, "
            f"the cap is ${budget.usd_per_hour_max:.2f}"
        )
    committed = usd_per_hour * config.cold_start / 3600
    hard = _passes("hard", budget.hard_usd_per_month, state.spent_usd, committed)
    soft = _passes("soft", budget.soft_usd_per_month, state.spent_usd, committed)
    # What is urgent is one container's worth: the rest of the queue can wait.
    return hard or (None if decision.urgent and more <= 1 else soft)


def _passes(kind: str, cap: float | None, spent: float, committed: float) -> str | None:
    if cap is None or (spent < cap and spent + committed <= cap):
        return None
    if spent >= cap:
        return f"${spent:.2f} spent this month, the {kind} cap is ${cap:.2f}"
    return (
        f"${spent:.2f} spent this month and ${committed:.2f} more until a new one could work, "
        f"the {kind} cap is ${cap:.2f}"
    )
