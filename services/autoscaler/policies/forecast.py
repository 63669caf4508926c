"""When will what waits have started? List scheduling of the backlog over the slots there are."""

from collections.abc import Sequence
from heapq import heapify, heapreplace


def last_start_seconds(free_in: Sequence[float], work: Sequence[float]) -> float:
    """In how many seconds the last of `work` (seconds each, in the order of claiming) starts, if
    each takes the slot that is free first; `free_in` says in how many seconds each slot is.
    """
    if not work or not free_in:
        return 0.0 if not work else float("inf")
    slots = list(free_in)
    heapify(slots)
    for seconds in work[:-1]:
        heapreplace(slots, slots[0] + seconds)
    return slots[0]
