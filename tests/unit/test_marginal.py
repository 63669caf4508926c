"""The marginal policy: a table; and properties of every policy."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decide import decide
from autoscaler.policies import POLICIES
from autoscaler.policies.schedule import last_behind, last_of
from autoscaler.scaling_file import Budget, PoolScaling
from autoscaler.state import PoolState, Replica, Unlisted, Upcoming, Waiting

NOW = 10_000.0
SCALING = PoolScaling(policy="marginal")  # goal 300 s, cold start 120 s, tasks of 60 s, at most 3


def waiting(count: int, *, age_seconds: float = 0.0, priority: int = 1) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(task_id=n + 1, task_type="t", priority=priority, age_seconds=age_seconds)
        for n in range(count)
    )


def pool(**known: Any) -> PoolState:
    return PoolState(pool="visual", **known)


def replica(name: str, phase: Any, **known: Any) -> Replica:
    return Replica(name=name, phase=phase, **known)


def test_first_replica_starts_for_a_lone_task_at_once() -> None:
    """Nothing would serve it otherwise, and waiting longer saves nothing."""
    assert decide(pool(waiting=waiting(1)), NOW, SCALING).wanted == 1


def test_backlog_that_meets_the_goal_on_one_replica_starts_no_second() -> None:
    """Four tasks behind a cold start: the last starts after 120 + 3 x 60 = 300 s."""
    assert decide(pool(waiting=waiting(4)), NOW, SCALING).wanted == 1
    assert decide(pool(waiting=waiting(5)), NOW, SCALING).wanted == 2


def test_second_replica_that_would_come_too_late_is_not_started() -> None:
    """The goal is missed either way, and the busy one is done before a new one is ready."""
    state = pool(
        waiting=waiting(1, age_seconds=290.0), processing=1, replicas=(replica("a", "busy"),)
    )
    assert decide(state, NOW, SCALING).wanted == 1


def test_goal_that_is_missed_by_far_makes_a_start_worth_less_gain() -> None:
    """A second replica gains 180 s of a cold start of 300 s: too little at 480 s, worth it at 750 s."""
    at = {"service_seconds": {"t": 180.0}, "cold_start_seconds": 300.0}
    up = (replica("a", "starting"),)
    few = pool(waiting=waiting(2), replicas=up, **at)
    assert decide(few, NOW, SCALING).wanted == 1
    late = pool(waiting=waiting(2, age_seconds=270.0), replicas=up, **at)
    assert decide(late, NOW, SCALING).wanted == 2


def test_long_tasks_as_measured_bring_more_replicas() -> None:
    """The forecast goes by what was measured, not by what was configured."""
    state = pool(waiting=waiting(3), service_seconds={"t": 400.0})
    assert decide(state, NOW, SCALING).wanted == 3


LARGE = SCALING.model_copy(update={"max_replicas": 1000})


def deep(tasks: int, *, up: int = 0, **known: Any) -> PoolState:
    """A pool with 500 tasks of 8 s in the list and so many behind them; `up` are busy."""
    return pool(
        waiting=waiting(500),
        unlisted=(Unlisted(task_type="t", tasks=tasks, age_seconds=0.0),) if tasks else (),
        processing=up,
        replicas=tuple(replica(f"r-{n}", "busy") for n in range(up)),
        service_seconds={"t": 8.0},
        cold_start_seconds=120.0,
        **known,
    )


def test_tasks_behind_the_listed_ones_bring_replicas() -> None:
    """20,000 tasks of 8 s in the 180 s between a cold start and the goal are the work of 889."""
    decision = decide(deep(19_500), NOW, LARGE)
    assert 840 <= decision.wanted <= 889
    assert "the last of 20000 would wait" in decision.reason
    assert decide(deep(0), NOW, LARGE).wanted < 100


def test_reason_counts_the_tasks_ahead_that_it_is_about() -> None:
    """Five that come at once after their parent: "the last of 0" would name none of them."""
    decision = decide(pool(upcoming=(Upcoming("t", 1.0),) * 5), NOW, SCALING)
    assert decision.wanted == 2
    assert decision.reason.startswith("the last of 5 would wait")


def test_backlog_that_those_who_are_up_meet_the_goal_with_starts_no_more() -> None:
    """600 slots do 20,000 tasks of 8 s within 267 s; 500 would need 320 s."""
    assert decide(deep(19_500, up=600), NOW, LARGE).wanted == 600
    assert decide(deep(19_500, up=500), NOW, LARGE).wanted > 500


def test_unlisted_tasks_never_pass_the_maximum() -> None:
    """A million of them either."""
    assert decide(deep(1_000_000), NOW, LARGE).wanted == 1000


def test_replica_that_would_hardly_work_is_not_started_for_a_long_backlog() -> None:
    """With a cold start of 600 s a thousand replicas would start the last at 600 s and no sooner."""
    state = replace(deep(2_000, up=20), cold_start_seconds=600.0)
    wanted = decide(state, NOW, LARGE).wanted
    assert 20 < wanted < 40


slots = st.lists(st.floats(0, 1000), min_size=1, max_size=20)
listed = st.lists(st.tuples(st.just(0.0), st.just(0.0), st.floats(0.1, 100)), max_size=10)


@given(slots, listed, st.integers(1, 300), st.floats(0.1, 100))
def test_tasks_that_are_counted_start_as_if_each_were_scheduled(
    free_in: list[float], work: list[tuple[float, float, float]], tasks: int, seconds: float
) -> None:
    """The short way to the start of the last is no estimate."""
    _, start = last_of(free_in, [*work, *[(0.0, 0.0, seconds)] * tasks])
    assert last_behind(free_in, work, tasks, seconds) == pytest.approx(start, abs=1e-6)


def test_idle_replica_is_kept_for_as_long_as_a_cold_start() -> None:
    """Ski rental: then keeping it has cost what a new start would."""
    kept = decide(pool(replicas=(replica("a", "idle", idle_seconds=119.0),)), NOW, SCALING)
    assert (kept.wanted, kept.look_again_seconds) == (1, 1.0)
    gone = decide(pool(replicas=(replica("a", "idle", idle_seconds=120.0),)), NOW, SCALING)
    assert (gone.wanted, gone.spare) == (0, ("a",))


def test_cold_start_as_measured_decides_how_long_to_keep() -> None:
    """Not what the scaling file expected."""
    ready = replica("a", "idle", age_seconds=45.0, idle_seconds=5.0)
    decision = decide(pool(replicas=(ready,), cold_start_seconds=40.0), NOW, SCALING)
    assert (decision.wanted, decision.look_again_seconds) == (1, 35.0)


def test_gaps_that_are_mostly_short_keep_a_replica_for_them_and_no_longer() -> None:
    """What did not come within the usual gap comes much later: the rest would be thrown away."""
    gaps = (40.0,) * 8 + (50_000.0,) * 2
    fresh = pool(replicas=(replica("a", "idle", idle_seconds=35.0),), idle_gaps=gaps)
    assert decide(fresh, NOW, SCALING).wanted == 1
    late = pool(replicas=(replica("a", "idle", idle_seconds=43.0),), idle_gaps=gaps)
    assert decide(late, NOW, SCALING).wanted == 0


def test_gaps_that_are_all_long_let_a_replica_go_at_once() -> None:
    """Nothing has ever come soon."""
    state = pool(replicas=(replica("a", "idle", idle_seconds=1.0),), idle_gaps=(50_000.0,) * 9)
    assert decide(state, NOW, SCALING).wanted == 0


def test_replica_of_a_burst_goes_when_the_burst_is_over() -> None:
    """The last one is kept for the next task; two more would wait for nothing."""
    idle = tuple(replica(name, "idle", idle_seconds=20.0) for name in "abc")
    decision = decide(pool(replicas=idle), NOW, SCALING)
    assert (decision.wanted, decision.spare) == (1, ("a", "b"))


def test_work_known_ahead_starts_a_replica_so_that_it_is_ready_in_time() -> None:
    """A cold start before the parent is done, not earlier."""
    soon = pool(upcoming=(Upcoming(task_type="t", in_seconds=119.0),))
    decision = decide(soon, NOW, SCALING)
    assert (decision.wanted, decision.waited_for) == (1, None)
    assert decision.reason == "work known ahead comes in 119 s"
    later = decide(pool(upcoming=(Upcoming(task_type="t", in_seconds=150.0),)), NOW, SCALING)
    assert (later.wanted, later.look_again_seconds) == (0, 30.0)


def test_work_known_ahead_keeps_one_idle_replica() -> None:
    """A new one could not be there in time."""
    idle = (replica("a", "idle", idle_seconds=500.0, free_slots=1),)
    ahead = (Upcoming(task_type="t", in_seconds=60.0),)
    assert decide(pool(replicas=idle, upcoming=ahead), NOW, SCALING).wanted == 1
    assert decide(pool(replicas=idle), NOW, SCALING).wanted == 0


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_facts_in_doubt_change_nothing(policy: str) -> None:
    """Whatever waits or idles: no start, no stop, the words of the doubt, and another look."""
    scaling = SCALING.model_copy(update={"policy": policy, "min_replicas": 2})
    idle = (replica("a", "idle", idle_seconds=9999.0),)
    for state in (pool(waiting=waiting(9, priority=3)), pool(replicas=idle)):
        doubtful = replace(state, doubt="the clock jumped", memory={"above_since": 1.0})
        decision = decide(doubtful, NOW, scaling)
        assert decision.wanted == len(state.present)
        assert decision.held == "the clock jumped"
        assert decision.memory == {"above_since": 1.0}
        assert decision.look_again_seconds


def test_free_slot_elsewhere_that_is_left_unused_does_not_hold_back_the_first() -> None:
    """A dedicated server has a moment to take the task, and no longer."""
    state = {"other_servers": 1, "other_free_slots": 1}
    fresh = decide(pool(waiting=waiting(1), **state), NOW, SCALING)
    assert (fresh.wanted, fresh.look_again_seconds) == (0, 10.0)
    assert decide(pool(waiting=waiting(1, age_seconds=10.0), **state), NOW, SCALING).wanted == 1


# Properties ------------------------------------------------------------------------------------

seconds = st.floats(min_value=0, max_value=1e5, allow_nan=False)
tasks = st.lists(
    st.builds(
        Waiting,
        task_id=st.integers(1, 10**6),
        task_type=st.just("t"),
        priority=st.integers(1, 3),
        age_seconds=seconds,
    ),
    max_size=30,
).map(tuple)
replicas = st.lists(
    st.builds(
        Replica,
        name=st.uuids().map(str),
        phase=st.sampled_from(["starting", "idle", "busy", "draining"]),
        age_seconds=seconds,
        idle_seconds=seconds,
        free_slots=st.integers(0, 2),
        revivable=st.booleans(),
    ),
    max_size=6,
).map(tuple)
scalings = st.builds(
    lambda policy, least, extra, cold: PoolScaling(
        policy=policy,
        min_replicas=least,
        max_replicas=least + extra,
        cold_start=cold,
        lone_task_delay=0.0,
    ),
    st.sampled_from(sorted(POLICIES)),
    st.integers(0, 3),
    st.integers(1, 4),
    st.floats(1, 600),
)
states = st.builds(
    PoolState,
    pool=st.just("visual"),
    waiting=tasks,
    unlisted=st.just(())
    | st.tuples(
        st.builds(
            Unlisted,
            task_type=st.sampled_from(["t", "u"]),
            tasks=st.integers(1, 10**5),
            age_seconds=seconds,
        )
    ),
    processing=st.integers(0, 6),
    replicas=replicas,
    service_seconds=st.one_of(st.just({}), st.builds(lambda s: {"t": s}, st.floats(0.1, 1e4))),
    cold_start_seconds=st.none() | st.floats(1, 2000),
    idle_gaps=st.lists(seconds, max_size=20).map(tuple),
    upcoming=st.lists(
        st.builds(Upcoming, task_type=st.sampled_from(["t", "u"]), in_seconds=seconds), max_size=8
    ).map(lambda some: tuple(sorted(some, key=lambda task: task.in_seconds))),
)


@given(states, scalings)
def test_decision_stays_between_minimum_and_maximum(state: PoolState, scaling: PoolScaling) -> None:
    """What is above the maximum and busy finishes; otherwise the bounds hold."""
    wanted = decide(state, NOW, scaling).wanted
    assert min(scaling.min_replicas, len(state.present)) <= wanted
    assert wanted <= max(scaling.max_replicas, len(state.present))


@given(replicas, scalings)
def test_pool_without_tasks_never_grows_beyond_its_minimum(
    some: tuple[Replica, ...], scaling: PoolScaling
) -> None:
    """No traffic, no growth."""
    state = pool(replicas=some)
    assert decide(state, NOW, scaling).wanted <= max(len(state.present), scaling.min_replicas)


@given(states, scalings)
def test_only_idle_replicas_are_ever_spare(state: PoolState, scaling: PoolScaling) -> None:
    """Neither a busy one nor one on its way goes, and exactly as many as go are named."""
    decision = decide(state, NOW, scaling)
    phases = {r.name: r.phase for r in state.replicas}
    assert all(phases[name] == "idle" for name in decision.spare)
    assert len(decision.spare) == max(0, len(state.present) - decision.wanted)


@given(states, scalings)
def test_critical_task_without_a_slot_gets_a_replica_at_once(
    state: PoolState, scaling: PoolScaling
) -> None:
    """Unless the maximum is reached or one is on its way."""
    unserved = state.critical and not state.own_free_slots and not state.starting
    if unserved and len(state.present) < scaling.max_replicas:
        assert decide(state, NOW, scaling).wanted > len(state.present)


@given(states, scalings)
def test_lone_task_never_starves(state: PoolState, scaling: PoolScaling) -> None:
    """Whoever waits while nothing of ours is there gets a replica now."""
    if state.waiting and not state.present:
        assert decide(state, NOW, scaling).wanted >= 1


@given(states, scalings, seconds, st.integers(0, 20), st.integers(0, 20))
def test_more_waiting_tasks_never_mean_fewer_replicas_by_threshold(
    state: PoolState, scaling: PoolScaling, age: float, few: int, more: int
) -> None:
    """Monotone in the depth. What a further replica would change (marginal) need not be."""
    scaling = scaling.model_copy(update={"policy": "threshold"})
    fewer = replace(state, waiting=waiting(few, age_seconds=age))
    deeper = replace(fewer, waiting=waiting(few + more, age_seconds=age))
    assert decide(deeper, NOW, scaling).wanted >= decide(fewer, NOW, scaling).wanted


@given(states, scalings, st.floats(-1e6, 1e6))
def test_clock_that_goes_back_or_leaps_breaks_no_bound(
    state: PoolState, scaling: PoolScaling, leap: float
) -> None:
    """What an earlier clock remembered is no reason to stop what is busy or pass the maximum."""
    before = decide(state, NOW, scaling)
    after = decide(replace(state, memory=before.memory), NOW + leap, scaling)
    assert after.wanted <= max(scaling.max_replicas, len(state.present))
    phases = {r.name: r.phase for r in state.replicas}
    assert all(phases[name] == "idle" for name in after.spare)


@given(states, scalings)
def test_what_was_just_added_is_not_dropped_while_it_starts(
    state: PoolState, scaling: PoolScaling
) -> None:
    """What is on its way stays, even if the reason for it is gone."""
    decision = decide(state, NOW, scaling)
    added = decision.wanted - len(state.present)
    fresh = tuple(replica(f"new-{n}", "starting") for n in range(max(added, 0)))
    later = decide(pool(replicas=fresh), NOW + 1, scaling)
    assert later.wanted == max(len(fresh), scaling.min_replicas)
    assert later.spare == ()


@given(states, scalings)
def test_nothing_goes_while_a_task_waits(state: PoolState, scaling: PoolScaling) -> None:
    """Never fewer by mistake: a task added to a quiet pool stops no replica, whatever idles."""
    if state.waiting:
        least = min(len(state.present), max(scaling.max_replicas, scaling.min_replicas))
        assert decide(state, NOW, scaling).wanted >= least


budgets = st.builds(
    Budget.model_construct,
    soft_usd_per_month=st.floats(0, 50),
    hard_usd_per_month=st.floats(0, 50),
    usd_per_hour_max=st.floats(2, 7),
)


@given(states, scalings, budgets, st.floats(0, 50))
def test_caps_hold_and_what_they_leave_room_for_is_started(
    state: PoolState, scaling: PoolScaling, budget: Budget, spent: float
) -> None:
    """No start passes a cap, none but a critical task's the soft one; and where several are wanted
    and one can be paid for, one comes.
    """
    price, hourly, cold_start = 1.5, 2.0, scaling.cold_start / 3600
    told = replace(state, spent_usd=spent, usd_per_hour=hourly, start_usd_per_hour=price)
    free = decide(told, NOW, scaling)
    held = decide(told, NOW, scaling.model_copy(update={"budget": budget}))
    have = len(state.present)
    assert held.wanted <= free.wanted

    def pays_for(count: int, *, soft: bool) -> bool:
        usd_per_hour = hourly + count * price
        cap = budget.soft_usd_per_month if soft else budget.hard_usd_per_month
        assert cap is not None
        assert budget.usd_per_hour_max is not None
        after = spent + usd_per_hour * cold_start
        return usd_per_hour <= budget.usd_per_hour_max and spent < cap and after <= cap

    started = held.wanted - have - len(state.revivable)
    if started > 0:
        assert pays_for(started, soft=False)
        assert pays_for(started, soft=True) or (state.critical and started == 1)
    elif free.wanted > have and not state.revivable and held.wanted == have:
        assert not (pays_for(1, soft=False) and pays_for(1, soft=True))
