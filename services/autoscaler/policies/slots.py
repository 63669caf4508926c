"""In how many seconds is each slot of a pool free? What list scheduling starts from."""

from typing import TYPE_CHECKING

from autoscaler.learning import remaining_seconds
from autoscaler.state import PoolState

if TYPE_CHECKING:
    from autoscaler.scaling_file import PoolScaling

# A free slot elsewhere that a task has not had by then will not take it.
OTHERS_PATIENCE_SECONDS = 10.0


def cold_start_of(state: PoolState, config: "PoolScaling") -> float:
    """As measured, else as configured."""
    return config.cold_start if state.cold_start_seconds is None else state.cold_start_seconds


def free_in_of(state: PoolState, config: "PoolScaling") -> list[float]:
    """How far a running task is is not known, so it takes one more mean; a slot elsewhere that
    is left unused counts only while it may still be taken.
    """
    oldest = state.oldest
    fresh = oldest is None or oldest.age_seconds < OTHERS_PATIENCE_SECONDS
    ready = state.own_free_slots + (state.other_free_slots if fresh else 0)
    cold_start = cold_start_of(state, config)
    known = [*state.service_seconds.values()] or [config.service_time]
    busy = max(state.processing, sum(r.phase == "busy" for r in state.present))
    return [
        *[0.0] * ready,
        *[sum(known) / len(known)] * busy,
        *[remaining_seconds(cold_start, r.age_seconds) for r in state.starting],
    ]
