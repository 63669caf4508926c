"""The chaos suite's plans: a seed must mean the same on every machine."""

from tests.chaos.faults import FUNCTIONS
from tests.chaos.plan import FAULT_NAMES, TASKS_OF, plan_of


def test_plan_is_the_same_for_the_same_seed() -> None:
    """A failed seed can be run again."""
    first = plan_of(7, tasks=200, seconds=40, blows=14)
    assert first == plan_of(7, tasks=200, seconds=40, blows=14)
    assert first != plan_of(8, tasks=200, seconds=40, blows=14)


def test_plans_of_some_seeds_hold_every_fault_and_every_kind_of_task() -> None:
    """A fault or a kind that no seed draws proves nothing."""
    plans = [plan_of(seed, tasks=200, seconds=40, blows=14) for seed in range(20)]
    assert {blow.fault for plan in plans for blow in plan.blows} == set(FAULT_NAMES)
    assert {s.kind for plan in plans for s in plan.submissions} == set(TASKS_OF)


def test_plan_keeps_to_the_faults_that_were_asked_for() -> None:
    """--only narrows a search down."""
    plan = plan_of(1, tasks=10, seconds=5, blows=9, only=["kill"])
    assert {blow.fault for blow in plan.blows} == {"kill"}


def test_every_fault_has_its_function() -> None:
    """A fault without one would be missed silently in a long run."""
    assert set(FUNCTIONS) == set(FAULT_NAMES)
