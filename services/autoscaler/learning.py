"""What a pool's past says about its next hours: pure sums over what was measured.

`observe` fills them from rows, the simulator from its own run, so both tell a policy the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from operator import attrgetter

from autoscaler.state import PoolState, Upcoming

# A replica or a task that takes longer than expected may be done any moment, but not at once.
OVERDUE_SHARE = 0.1
UPCOMING_MAX = 200
NEWEST_WEIGHT = 0.1
IN_SECONDS = attrgetter("in_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A task with others blocked behind it. `running_seconds` is None while it waits;
    `behind` are the types of those that it will set free.
    """

    task_type: str
    running_seconds: float | None
    behind: Sequence[str]


def remaining_seconds(expected: float, elapsed: float) -> float:
    """How long something takes that was expected to take so long and has for so long."""
    return max(expected - elapsed, expected * OVERDUE_SHARE)


def service_seconds(state: PoolState, task_type: str, fallback: float) -> float:
    """Of a type; one that was not measured takes the mean of those that were."""
    known = state.service_seconds
    if task_type in known:
        return known[task_type]
    return sum(known.values()) / len(known) if known else fallback


def upcoming_of(
    parents: Sequence[Parent], free_in: Sequence[float], state: PoolState, fallback: float
) -> list[Upcoming]:
    """When the dependents of `parents` (in the order of claiming) become claimable, soonest first.

    `state` is the pool that works on the parents, `free_in` in how many seconds each of its slots
    is free; a parent that no slot is in sight for announces nothing.
    """
    slots = list(free_in)
    heapify(slots)
    soon: list[Upcoming] = []
    for parent in parents:
        expected = service_seconds(state, parent.task_type, fallback)
        if parent.running_seconds is not None:
            at = remaining_seconds(expected, parent.running_seconds)
        elif slots:
            at = slots[0] + expected
            heapreplace(slots, at)
        else:
            continue
        soon += [Upcoming(name, at) for name in parent.behind]
        if len(soon) >= UPCOMING_MAX:
            break
    return sorted(soon, key=IN_SECONDS)


def smoothed(mean: float | None, newest: float) -> float:
    """An exponentially weighted mean that starts at the first value."""
    return newest if mean is None else mean + NEWEST_WEIGHT * (newest - mean)
