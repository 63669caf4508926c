"""The marginal policy: a table, and properties."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decide import decide
from autoscaler.scaling_file import PoolScaling
from autoscaler.state import PoolState, Replica, Waiting

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


def test_long_tasks_as_measured_bring_more_replicas() -> None:
    """The forecast goes by what was measured, not by what was configured."""
    state = pool(waiting=waiting(3), service_seconds={"t": 400.0})
    assert decide(state, NOW, SCALING).wanted == 3


def test_idle_replica_is_kept_for_as_long_as_a_cold_start() -> None:
    """Ski rental: then keeping it has cost what a new start would."""
    kept = decide(pool(replicas=(replica("a", "idle", idle_seconds=119.0),)), NOW, SCALING)
    assert (kept.wanted, kept.look_again_seconds) == (1, 1.0)
    gone = decide(pool(replicas=(replica("a", "idle", idle_seconds=120.0),)), NOW, SCALING)
    assert (gone.wanted, gone.spare) == (0, ("a",))


def test_cold_start_is_measured_and_remembered() -> None:
    """The memory names who is on the way; the first to be ready sets the expectation."""
    on_the_way = decide(pool(replicas=(replica("a", "starting"),)), NOW, SCALING)
    assert on_the_way.memory == {"starting": ["a"]}
    ready = replica("a", "idle", age_seconds=45.0, idle_seconds=5.0)
    measured = decide(pool(replicas=(ready,), memory=on_the_way.memory), NOW, SCALING)
    assert measured.memory == {"cold_start_seconds": 40.0}
    assert measured.look_again_seconds == 35.0


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
    lambda least, extra, cold: PoolScaling(
        policy="marginal", min_replicas=least, max_replicas=least + extra, cold_start=cold
    ),
    st.integers(0, 3),
    st.integers(1, 4),
    st.floats(1, 600),
)
states = st.builds(
    PoolState,
    pool=st.just("visual"),
    waiting=tasks,
    processing=st.integers(0, 6),
    replicas=replicas,
    service_seconds=st.one_of(st.just({}), st.builds(lambda s: {"t": s}, st.floats(0.1, 1e4))),
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


@given(states, scalings)
def test_growth_is_never_followed_by_shrinking_within_a_cold_start(
    state: PoolState, scaling: PoolScaling
) -> None:
    """What was just added is on its way or freshly ready, and neither may go."""
    decision = decide(state, NOW, scaling)
    added = decision.wanted - len(state.present)
    if added <= 0 or state.revivable:
        return
    fresh = tuple(
        replica(f"new-{n}", "idle", age_seconds=0.9 * scaling.cold_start, free_slots=1)
        for n in range(added)
    )
    later = decide(pool(replicas=fresh), NOW + scaling.cold_start, scaling)
    assert later.spare == ()
