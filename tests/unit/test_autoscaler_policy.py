"""The threshold policy and the guards around it: a table, and properties."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decide import decide
from autoscaler.offers import backoff_seconds
from autoscaler.policies import POLICIES
from autoscaler.scaling_file import Budget, PoolScaling
from autoscaler.state import PoolState, Replica, Waiting
from reveille.wishes import POLICY_NAMES

NOW = 10_000.0
SCALING = PoolScaling(policy="threshold")  # 0-3, depth > 2 for 120 s, idle 600 s


def waiting(count: int, *, age_seconds: float = 0.0, priority: int = 1) -> tuple[Waiting, ...]:
    return tuple(
        Waiting(task_id=n + 1, task_type="t", priority=priority, age_seconds=age_seconds)
        for n in range(count)
    )


def idle(name: str = "r-0", seconds: float = 0.0, **more: Any) -> Replica:
    return Replica(name=name, phase="idle", idle_seconds=seconds, **({"free_slots": 1} | more))


def busy(name: str = "r-0") -> Replica:
    return Replica(name=name, phase="busy")


def starting(name: str = "r-0") -> Replica:
    return Replica(name=name, phase="starting", age_seconds=250.0)


def pool(**known: Any) -> PoolState:
    return PoolState(pool="visual", **known)


def test_depth_above_the_threshold_is_remembered_and_waited_out() -> None:
    """The letter of the requirement: more than 2, for 120 s."""
    first = decide(pool(waiting=waiting(3)), NOW, SCALING)
    assert (first.wanted, first.memory) == (0, {"above_since": NOW})
    assert first.look_again_seconds == 120.0
    early = decide(
        pool(waiting=waiting(3, age_seconds=119), memory=first.memory), NOW + 119, SCALING
    )
    assert early.wanted == 0
    due = decide(pool(waiting=waiting(3, age_seconds=100), memory=first.memory), NOW + 120, SCALING)
    assert due.wanted == 1
    assert due.reason == "depth 3 > 2 for 120 s"
    assert due.memory == {"above_since": NOW + 120}


def test_depth_that_falls_below_the_threshold_starts_the_delay_anew() -> None:
    """Sustained means without a break."""
    calm = decide(pool(waiting=waiting(2), memory={"above_since": NOW - 110}), NOW, SCALING)
    assert calm.memory == {}


def test_depth_counts_tasks_that_are_being_worked_on() -> None:
    """Two waiting behind one that runs are three."""
    state = pool(
        waiting=waiting(2), processing=1, replicas=(busy(),), memory={"above_since": NOW - 120}
    )
    assert decide(state, NOW, SCALING).wanted == 2


def test_depth_that_is_all_being_worked_on_asks_for_nothing() -> None:
    """A busy fleet without a backlog does not grow."""
    state = pool(processing=9, replicas=(busy(),), memory={"above_since": NOW - 500})
    assert decide(state, NOW, SCALING).wanted == 1


def test_lone_task_starts_the_first_container_after_its_delay() -> None:
    """Taken literally, "depth > 2" would leave it waiting for ever."""
    early = decide(pool(waiting=waiting(1, age_seconds=100)), NOW, SCALING)
    assert (early.wanted, early.look_again_seconds) == (0, 20.0)
    due = decide(pool(waiting=waiting(1, age_seconds=120)), NOW, SCALING)
    assert (due.wanted, due.waited_for) == (1, 1)
    prompt = PoolScaling(lone_task_delay=0.0)
    assert decide(pool(waiting=waiting(1)), NOW, prompt).wanted == 1


def test_critical_task_starts_a_container_at_once_and_only_one() -> None:
    """Urgent work does not wait for a delay; a container on its way is enough."""
    urgent = waiting(4, priority=3)
    first = decide(pool(waiting=urgent), NOW, SCALING)
    assert (first.wanted, first.urgent) == (1, True)
    assert decide(pool(waiting=urgent, replicas=(starting(),)), NOW, SCALING).wanted == 1
    assert decide(pool(waiting=urgent, replicas=(busy(),)), NOW, SCALING).wanted == 2


def test_critical_task_that_finds_a_free_slot_starts_nothing() -> None:
    """The slot has it in milliseconds."""
    assert (
        decide(pool(waiting=waiting(1, priority=3), replicas=(idle(),)), NOW, SCALING).wanted == 1
    )


def test_critical_task_gives_a_dedicated_server_a_moment() -> None:
    """A free slot elsewhere that does not take it in 10 s will not."""
    state = {"other_servers": 1, "other_free_slots": 2}
    fresh = decide(pool(waiting=waiting(1, priority=3), **state), NOW, SCALING)
    assert (fresh.wanted, fresh.look_again_seconds) == (0, 10.0)
    ignored = pool(waiting=waiting(1, priority=3, age_seconds=10), **state)
    assert decide(ignored, NOW, SCALING).wanted == 1


def test_idle_containers_go_after_the_delay_and_busy_ones_never() -> None:
    """600 s without a task, each for itself."""
    state = pool(
        processing=1,
        replicas=(idle("a", 600.0), busy("b"), idle("c", 599.0)),
    )
    decision = decide(state, NOW, SCALING)
    assert (decision.wanted, decision.spare) == (2, ("a",))


def test_idle_container_that_will_be_due_is_a_timer() -> None:
    """An idle fleet is not polled."""
    decision = decide(pool(replicas=(idle("a", 200.0), idle("b", 550.0))), NOW, SCALING)
    assert (decision.wanted, decision.look_again_seconds) == (2, 50.0)


def test_draining_container_is_taken_back_before_anything_waits() -> None:
    """It costs nothing, so no delay applies."""
    drains = Replica(name="a", phase="draining", revivable=True)
    assert decide(pool(waiting=waiting(1), replicas=(drains,)), NOW, SCALING).wanted == 1


def test_minimum_is_kept_without_any_task() -> None:
    """Warm replicas that the operator asked for."""
    scaling = PoolScaling(min_replicas=2)
    assert decide(pool(), NOW, scaling).wanted == 2
    kept = decide(pool(replicas=(idle("a", 9e9), idle("b", 9e9))), NOW, scaling)
    assert (kept.wanted, kept.spare) == (2, ())


def test_maximum_that_was_lowered_takes_idle_ones_at_once() -> None:
    """Only those: what is busy finishes first."""
    scaling = PoolScaling(max_replicas=1)
    decision = decide(pool(processing=1, replicas=(busy("a"), idle("b", 1.0))), NOW, scaling)
    assert (decision.wanted, decision.spare) == (1, ("b",))
    all_busy = decide(pool(processing=2, replicas=(busy("a"), busy("b"))), NOW, scaling)
    assert (all_busy.wanted, all_busy.spare) == (2, ())


GROWING = {"waiting": waiting(1, age_seconds=500.0)}


@pytest.mark.parametrize(
    ("state", "scaling", "words"),
    [
        ({"paused": True}, SCALING, "the pool is paused"),
        ({"can_start": False}, SCALING, "its provider starts nothing"),
        (
            {"failures": 3, "failed_seconds_ago": 20.0},
            SCALING,
            "3 failed in a row, next try in 100 s",
        ),
        (
            {"spent_usd": 80.0},
            PoolScaling(budget=Budget(soft_usd_per_month=80)),
            "$80.00 spent this month, the soft cap is $80.00",
        ),
        (
            {"spent_usd": 120.0},
            PoolScaling(budget=Budget(hard_usd_per_month=100)),
            "$120.00 spent this month, the hard cap is $100.00",
        ),
        (
            {"spent_usd": None},
            PoolScaling(budget=Budget(soft_usd_per_month=80)),
            "what this month has cost is not known",
        ),
    ],
)
def test_growth_is_held_with_the_reason(
    state: dict[str, Any], scaling: PoolScaling, words: str
) -> None:
    """Whatever the policy wishes, the guards have the last word and say so."""
    assert decide(pool(**GROWING), NOW, scaling).wanted == 1
    held = decide(pool(**GROWING, **state), NOW, scaling)
    assert (held.wanted, held.held) == (0, words)
    assert held.reason.endswith(f"; held: {words}")


def test_critical_task_passes_the_soft_cap_but_not_the_hard_one() -> None:
    """The soft cap is for what can wait."""
    caps = PoolScaling(budget=Budget(soft_usd_per_month=80, hard_usd_per_month=100))
    urgent = waiting(1, priority=3)
    assert decide(pool(waiting=urgent, spent_usd=90.0), NOW, caps).wanted == 1
    assert decide(pool(waiting=urgent, spent_usd=100.0), NOW, caps).wanted == 0


def test_growth_that_was_held_is_granted_without_a_new_delay() -> None:
    """The memory is that of a wish not yet granted."""
    memory = {"above_since": NOW - 130}
    state = {"waiting": waiting(3), "memory": memory, "replicas": (busy(),)}
    held = decide(pool(**state, failures=1, failed_seconds_ago=1.0), NOW, SCALING)
    assert held.wanted == 1
    assert held.memory == memory
    assert held.look_again_seconds == 29.0


def test_backoff_doubles_up_to_its_cap() -> None:
    """A provider that refuses is asked ever more seldom."""
    assert [backoff_seconds(n, SCALING) for n in (0, 1, 2, 3, 6, 99)] == [
        *(0.0, 30.0, 60.0, 120.0),
        *(600.0, 600.0),
    ]


# Properties ------------------------------------------------------------------------------------

ages = st.floats(min_value=0, max_value=1e6, allow_nan=False)
tasks = st.lists(
    st.builds(
        Waiting,
        task_id=st.integers(1, 10**6),
        task_type=st.just("t"),
        priority=st.integers(1, 3),
        age_seconds=ages,
    ),
    max_size=8,
).map(tuple)
replicas = st.lists(
    st.builds(
        Replica,
        name=st.uuids().map(str),
        phase=st.sampled_from(["starting", "idle", "busy", "draining"]),
        age_seconds=ages,
        idle_seconds=ages,
        free_slots=st.integers(0, 2),
        revivable=st.booleans(),
    ),
    max_size=6,
).map(tuple)
scalings = st.builds(
    lambda least, extra, threshold, delay: PoolScaling(
        policy="threshold",
        min_replicas=least,
        max_replicas=least + extra,
        scale_up_threshold=threshold,
        scale_up_delay=delay,
        lone_task_delay=delay,
    ),
    st.integers(0, 3),
    st.integers(0, 4),
    st.integers(0, 5),
    st.floats(0, 600),
)
memories = st.one_of(st.just({}), st.builds(lambda t: {"above_since": t}, st.floats(0, 2 * NOW)))
states = st.builds(
    PoolState,
    pool=st.just("visual"),
    waiting=tasks,
    processing=st.integers(0, 6),
    replicas=replicas,
    other_free_slots=st.integers(0, 2),
    paused=st.booleans(),
    can_start=st.booleans(),
    failures=st.integers(0, 5),
    failed_seconds_ago=st.one_of(st.none(), ages),
    memory=memories,
)
free_states = st.builds(
    PoolState, pool=st.just("visual"), waiting=tasks, replicas=replicas, memory=memories
)


@given(states, scalings)
def test_decision_depends_on_nothing_but_its_arguments(
    state: PoolState, scaling: PoolScaling
) -> None:
    """The same facts lead to the same decision, so traces can be replayed."""
    assert decide(state, NOW, scaling) == decide(state, NOW, scaling)


@given(states, scalings)
def test_decision_never_grows_beyond_the_maximum(state: PoolState, scaling: PoolScaling) -> None:
    """Not after failures, not for critical tasks, not after the maximum was lowered."""
    decision = decide(state, NOW, scaling)
    assert decision.wanted <= max(scaling.max_replicas, len(state.present))


@given(states, scalings)
def test_decision_never_shrinks_below_the_minimum(state: PoolState, scaling: PoolScaling) -> None:
    """What is there and wanted warm stays."""
    decision = decide(state, NOW, scaling)
    assert decision.wanted >= min(scaling.min_replicas, len(state.present))


@given(states, scalings)
def test_only_idle_replicas_are_ever_spare(state: PoolState, scaling: PoolScaling) -> None:
    """Neither a busy nor a starting one is chosen, and exactly as many as go are named."""
    decision = decide(state, NOW, scaling)
    phases = {replica.name: replica.phase for replica in state.replicas}
    assert all(phases[name] == "idle" for name in decision.spare)
    assert len(decision.spare) == max(0, len(state.present) - decision.wanted)


@given(free_states.map(lambda s: PoolState(pool=s.pool, replicas=s.replicas, memory=s.memory)))
def test_pool_without_tasks_never_grows(state: PoolState) -> None:
    """No traffic, no growth, whatever is remembered."""
    assert decide(state, NOW, SCALING).wanted <= len(state.present)


@given(free_states, scalings)
def test_critical_task_without_a_slot_always_gets_a_container(
    state: PoolState, scaling: PoolScaling
) -> None:
    """At once, unless the maximum is reached or one is on its way."""
    unserved = not state.own_free_slots and not state.starting and state.critical
    if unserved and len(state.present) < scaling.max_replicas:
        assert decide(state, NOW, scaling).wanted == max(
            len(state.present) + 1, scaling.min_replicas
        )


@given(free_states, scalings.filter(lambda s: s.max_replicas > 0))
def test_lone_task_never_starves(state: PoolState, scaling: PoolScaling) -> None:
    """Whoever has waited for the delay while nothing of ours is there gets a container, and until
    then a timer is set for the moment.
    """
    oldest = state.oldest
    if oldest is None or state.present:
        return
    decision = decide(state, NOW, scaling)
    if oldest.age_seconds >= scaling.lone_task_seconds:
        assert decision.wanted >= 1
    elif decision.wanted == 0:
        assert decision.look_again_seconds is not None
        assert decision.look_again_seconds <= scaling.lone_task_seconds - oldest.age_seconds


@pytest.mark.parametrize("policy", ["threshold", "marginal"])
def test_pinned_replica_is_never_spare(policy: str) -> None:
    """However idle, and above the maximum too; the one beside it goes."""
    pinned = replace(idle("a", 9e9), pinned=True)
    both = decide(pool(replicas=(pinned, idle("b", 9e9))), NOW, PoolScaling(policy=policy))
    alone = decide(pool(replicas=(pinned,)), NOW, PoolScaling(policy=policy))
    above = decide(pool(replicas=(pinned,)), NOW, PoolScaling(policy=policy, max_replicas=0))
    assert (both.wanted, both.spare) == (1, ("b",))
    assert (alone.wanted, alone.spare) == (1, ())
    assert (above.wanted, above.spare) == (1, ())
    assert "pinned: a" in above.reason


# One that is not the last is kept so long when scale_down_delay and cold_start are 100 s.
KEPT = [("threshold", 100), ("marginal", 10)]


@pytest.mark.parametrize(("policy", "kept"), KEPT)
def test_idle_replica_beside_a_pinned_one_is_waited_for(policy: str, kept: float) -> None:
    """The pinned one is always idle for long enough; the timer is the other's."""
    pinned = replace(idle("a", 9e9), pinned=True)
    scaling = PoolScaling(policy=policy, scale_down_delay=100, cold_start=100)
    decision = decide(pool(replicas=(pinned, idle("b", 0.4 * kept))), NOW, scaling)
    assert (decision.wanted, decision.look_again_seconds) == (2, 0.6 * kept)


@pytest.mark.parametrize(("policy", "kept"), KEPT)
@pytest.mark.parametrize(
    ("replicas", "spare", "again"),  # idle and again: in shares of what is kept
    [
        ((idle("a", 50), idle("b", 50), idle("c", 50)), ("c", "b", "a"), None),
        ((idle("a", 50), idle("b", 50), idle("c", 0.4)), (), 0.6),
        ((idle("a", 50), idle("b", 0.4), idle("c", 50)), ("c",), None),
        ((idle("a", 50), busy("b"), idle("c", 50)), ("c",), None),
        ((idle("a", 50), busy("b")), (), 1.0),
        ((idle("a", 50), starting("b")), (), 1.0),
        ((busy("a"), idle("b", 0.4), Replica(name="c", phase="draining")), (), 0.6),
    ],
)
def test_where_the_highest_slot_ends_first_the_others_wait_for_it(
    policy: str,
    kept: float,
    replicas: tuple[Replica, ...],
    spare: tuple[str, ...],
    again: float | None,
) -> None:
    """A StatefulSet's pods: none goes before those above it, and the timer is that of the top."""
    scaling = PoolScaling(policy=policy, scale_down_delay=100, cold_start=100)
    scaled = tuple(replace(r, idle_seconds=r.idle_seconds * kept) for r in replicas)
    decision = decide(pool(replicas=scaled, ends_highest_first=True), NOW, scaling)
    assert decision.spare == spare
    assert decision.look_again_seconds == (None if again is None else again * kept)


def test_operators_may_name_every_policy_and_no_other() -> None:
    """A pool whose policy nobody knows is held: the doors refuse what the autoscaler does not know."""
    assert set(POLICY_NAMES) == set(POLICIES)
