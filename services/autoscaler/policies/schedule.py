"""List scheduling: each task, in the order of claiming, is begun by the slot that is free first."""

from collections.abc import Sequence
from heapq import heapify, heapreplace
from math import ceil

# A task to be scheduled: in how many seconds it may start, for how long it has waited, and takes.
Work = tuple[float, float, float]

NEVER = float("inf")
HAIR = 1.001  # rounding must not count one too many


def last_of(free_in: Sequence[float], work: Sequence[Work]) -> tuple[float, float]:
    """For how long the last will have waited when it starts, and in how many seconds that is.
    `free_in`: in how many seconds each slot is free.
    """
    return _fill(list(free_in), work) if free_in else (NEVER, NEVER)


def last_behind(
    free_in: Sequence[float], work: Sequence[Work], tasks: int, seconds: float
) -> float:
    """In how many seconds the last of so many `tasks` behind `work` starts, if each takes `seconds`.

    A slot that is free at f starts them at f, f + seconds, and so on: the last is the tasks-th of all
    those moments. Those that come a task before the moment at which all would be done, were work a fluid,
    are counted and not played; so no more than one for each slot is left, however long the backlog.
    """
    if not free_in:
        return NEVER
    slots = list(free_in)
    _fill(slots, work)
    if seconds <= 0.0:
        return min(slots)
    slots.sort()
    early = _level(slots, tasks * seconds) - HAIR * seconds
    counts = [max(0, ceil((early - free_at) / seconds)) for free_at in slots]
    slots = [free_at + count * seconds for free_at, count in zip(slots, counts, strict=True)]
    heapify(slots)
    start = slots[0]
    for _ in range(max(1, tasks - sum(counts))):
        start = slots[0]
        heapreplace(slots, start + seconds)
    return start


def _level(slots: Sequence[float], seconds: float) -> float:
    """When so much work is done if it is split at will; `slots` are sorted."""
    total, level = seconds, 0.0
    for place, free_at in enumerate(slots, start=1):
        total += free_at
        level = total / place
        if place < len(slots) and level <= slots[place]:
            break
    return level


def _fill(slots: list[float], work: Sequence[Work]) -> tuple[float, float]:
    """As last_of; `slots` is changed to when each is free after the work."""
    heapify(slots)
    start = age = 0.0
    for may_start, waited, seconds in work:
        age, start = waited, slots[0]
        if start < may_start:  # noqa: PLR1730 - max() takes half of the time of this loop
            start = may_start
        heapreplace(slots, start + seconds)
    return age + start, start
