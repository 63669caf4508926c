"""The cost that no policy can beat, even one that knows the future: a certified lower bound.

With a cold start of S seconds that is paid for, and every task started within W seconds, a session
that serves a set of tasks lasts at least max(their work, last arrival - first arrival - W + the
shortest task). Sessions that overlap form clusters over consecutive arrivals, so the cheapest
split of the arrivals into clusters, each of m sessions, is a lower bound for any number of
replicas and any order. No optimal session outlasts a gap of more than S + W + the longest task
(stopping and starting anew is cheaper), so the arrivals fall into blocks that stand alone.

A task that another one sets free may come at any moment from that one's arrival and work on, until
it has waited for W, too. So its arrival is the earliest moment, and its W the sum of both: the
bound then holds for the pipeline, whatever the policy did with the parents.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import ceil, floor

from autoscaler.simulate.load import Load

# A larger block (its cost is quadratic) is bounded by its work and one cold start …
BLOCK_MAX, BLOCK_MAX_LEAST = 3000, 50
STEPS_MAX = 20_000_000  # … and so are smaller ones, where there are so many that it would take long

Arrival = tuple[float, float]  # when, and how much work, in seconds


def lower_bound_seconds(tasks: Sequence[Arrival], cold_start: float, wait_goal: float) -> float:
    """Replica seconds, cold starts included; `tasks` by arrival."""
    if not tasks:
        return 0.0
    gap = cold_start + wait_goal + max(work for _, work in tasks)
    most = max(BLOCK_MAX_LEAST, min(BLOCK_MAX, STEPS_MAX // len(tasks)))
    return sum(
        _block(block, cold_start, wait_goal)
        if len(block) <= most
        else cold_start + sum(work for _, work in block)
        for block in _blocks(tasks, gap)
    )


def pool_bound_seconds(
    load: Load, cold_starts: Mapping[str, float], wait_goals: Mapping[str, float]
) -> dict[str, float]:
    """Replica seconds of each pool of a load, cold starts included."""
    tasks: dict[str, list[Arrival]] = {pool: [] for pool in load.pools}
    waits = dict.fromkeys(tasks, 0.0)
    for number, task in enumerate(load.tasks):
        pool = load.pool_of(task.task_type)
        tasks[pool].append((task.arrival_s, task.service_s))
        waits[pool] = max(waits[pool], wait_goals[pool])
        for follower in load.followers[number] if load.followers else ():
            behind = load.pool_of(follower.task_type)
            tasks[behind].append((task.arrival_s + task.service_s, follower.service_s))
            waits[behind] = max(waits[behind], wait_goals[pool] + wait_goals[behind])
    return {
        pool: lower_bound_seconds(sorted(some), cold_starts[pool], waits[pool])
        for pool, some in tasks.items()
    }


def _blocks(tasks: Sequence[Arrival], gap: float) -> Iterator[Sequence[Arrival]]:
    begin = 0
    for place, ((before, _), (after, _)) in enumerate(pairwise(tasks), start=1):
        if after - before >= gap:
            yield tasks[begin:place]
            begin = place
    yield tasks[begin:]


def _block(tasks: Sequence[Arrival], cold_start: float, wait_goal: float) -> float:
    shortest = min(work for _, work in tasks)
    least = [0.0]
    for last in range(len(tasks)):
        work, best = 0.0, float("inf")
        for first in range(last, -1, -1):
            work += tasks[first][1]
            span = tasks[last][0] - tasks[first][0] + shortest
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
