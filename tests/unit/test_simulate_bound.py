"""The lower bound against what exhaustive search finds on loads small enough for it."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.simulate.bound import Arrival, lower_bound_seconds, pool_bound_seconds
from autoscaler.simulate.load import Load, Task

LATE = float("inf")


def partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """All ways to divide tasks among sessions."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for some in partitions(rest):
        yield [[first], *some]
        for place in range(len(some)):
            yield [*some[:place], [first, *some[place]], *some[place + 1 :]]


def session_seconds(tasks: Sequence[Arrival], cold_start: float, wait_goal: float) -> float:
    """The shortest life of a replica that serves them in this order, each in time.

    It is ready when its first task begins; beginning that later only shortens the session, until
    a task would wait too long. So the first begins as late as the goals allow.
    """
    slack, work = LATE, 0.0  # how late the first may begin, and the work done before each task
    for arrival, seconds in tasks:
        slack = min(slack, arrival + wait_goal - work)
        work += seconds
    at = begun = max(tasks[0][0], slack)
    for arrival, seconds in tasks:
        at = max(at, arrival)
        if at > arrival + wait_goal + 1e-9:
            return LATE
        at += seconds
    return cold_start + at - begun


def cheapest(tasks: Sequence[Arrival], cold_start: float, wait_goal: float) -> float:
    """The least that any number of sessions in any order costs, found by trying all of them."""
    return min(
        sum(
            min(session_seconds([tasks[n] for n in order], cold_start, wait_goal) for order in some)
            for some in ([*permutations(group)] for group in groups)
        )
        for groups in partitions(range(len(tasks)))
    )


small = st.lists(
    st.tuples(st.integers(0, 900).map(float), st.integers(1, 200).map(float)),
    min_size=1,
    max_size=5,
).map(sorted)
STARTS, GOALS = st.sampled_from([20.0, 120.0, 300.0]), st.sampled_from([1.0, 60.0, 300.0])


@settings(deadline=None, max_examples=60)
@given(small, STARTS, GOALS)
def test_no_schedule_of_a_small_load_is_cheaper_than_the_bound(
    tasks: list[Arrival], cold_start: float, wait_goal: float
) -> None:
    """All divisions among replicas and all orders are tried: that is what certified means."""
    bound = lower_bound_seconds(tasks, cold_start, wait_goal)
    assert bound <= cheapest(tasks, cold_start, wait_goal) + 1e-6


def test_bound_is_what_the_best_schedule_costs_where_that_is_known() -> None:
    """A bound of nothing would hold, too: here it is met."""
    tasks = [(0.0, 50.0), (20.0, 50.0), (5000.0, 10.0)]
    assert cheapest(tasks, 100.0, 300.0) == lower_bound_seconds(tasks, 100.0, 300.0) == 310.0
    apart = [(0.0, 10.0), (400.0, 10.0)]  # one session from 300 to 410, begun as late as may be
    assert cheapest(apart, 120.0, 300.0) == lower_bound_seconds(apart, 120.0, 300.0) == 230.0


@settings(deadline=None, max_examples=40)
@given(small, STARTS, GOALS, st.lists(st.floats(0, 1), min_size=5, max_size=5))
def test_bound_of_followers_holds_however_long_their_parents_waited(
    parents: list[Arrival], cold_start: float, wait_goal: float, delays: list[float]
) -> None:
    """A policy that bunches the parents must not get below the bound of the pool behind them."""
    load = Load(
        [Task(at, seconds) for at, seconds in parents],
        [(Task(0.0, 30.0, 1, "extraction"),) for _ in parents],
        {"extraction": "text"},
    )
    both = {"visual": cold_start, "text": cold_start}
    bound = pool_bound_seconds(load, both, dict.fromkeys(both, wait_goal))["text"]
    behind = sorted(
        (at + delay * wait_goal + seconds, 30.0)
        for (at, seconds), delay in zip(parents, delays, strict=False)
    )
    assert bound <= cheapest(behind, cold_start, wait_goal) + 1e-6


@pytest.mark.parametrize("most", [1, 2, 3])
def test_larger_blocks_are_bounded_by_less_never_by_more(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is too large for the exact sum is bounded by its work and one cold start."""
    tasks = [(n * 100.0, 20.0) for n in range(8)]
    exact = lower_bound_seconds(tasks, 120.0, 300.0)
    monkeypatch.setattr("autoscaler.simulate.bound.BLOCK_MAX", most)
    monkeypatch.setattr("autoscaler.simulate.bound.BLOCK_MAX_LEAST", most)
    assert 120.0 + 160.0 == lower_bound_seconds(tasks, 120.0, 300.0) <= exact
