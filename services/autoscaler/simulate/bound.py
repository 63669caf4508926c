"""The cost that no policy can beat, even one that knows the future: a certified lower bound.

With a cold start of S seconds that is paid for, and every task started within W seconds, a session
that serves a set of tasks lasts at least max(their work, last arrival - first arrival - W + the
shortest task). Sessions that overlap form clusters over consecutive arrivals, so the cheapest
split of the arrivals into clusters, each of m sessions, is a lower bound for any number of
replicas and any order. No optimal session outlasts a gap of more than S + W + the longest task
(stopping and starting anew is cheaper), so the arrivals fall into blocks that stand alone.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, floor

from autoscaler.simulate.load import Task

BLOCK_MAX = 3000  # a larger block (quadratic work) is bounded by its work and one cold start


def lower_bound_seconds(tasks: Sequence[Task], cold_start: float, wait_goal: float) -> float:
    """Replica seconds, cold starts included; `tasks` by arrival."""
    if not tasks:
        return 0.0
    gap = cold_start + wait_goal + max(task.service_s for task in tasks)
    return sum(_block(block, cold_start, wait_goal) for block in _blocks(tasks, gap))


def _blocks(tasks: Sequence[Task], gap: float) -> Iterator[Sequence[Task]]:
    begin = 0
    for place, (before, after) in enumerate(pairwise(tasks), start=1):
        if after.arrival_s - before.arrival_s >= gap:
            yield tasks[begin:place]
            begin = place
    yield tasks[begin:]


def _block(tasks: Sequence[Task], cold_start: float, wait_goal: float) -> float:
    if len(tasks) > BLOCK_MAX:
        return cold_start + sum(task.service_s for task in tasks)
    shortest = min(task.service_s for task in tasks)
    least = [0.0]
    for last in range(len(tasks)):
        work, best = 0.0, float("inf")
        for first in range(last, -1, -1):
            work += tasks[first].service_s
            span = tasks[last].arrival_s - tasks[first].arrival_s + shortest
            best = min(best, least[first] + _cluster(work, span, cold_start, wait_goal))
        least.append(best)
    return least[-1]


def _cluster(work: float, span: float, cold_start: float, wait_goal: float) -> float:
    """The least cost of a cluster over its number of sessions; one is best unless waiting is
    longer than a cold start.
    """
    one = cold_start + max(work, span - wait_goal)
    if cold_start >= wait_goal or span - wait_goal <= work:
        return one
    sessions = (span - work) / wait_goal
    some = {max(1, floor(sessions)), max(1, ceil(sessions))}
    return min(m * cold_start + max(work, span - m * wait_goal) for m in some)
