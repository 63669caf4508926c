"""The next step of a container, as a table, and the moves that follow from a decision."""

from dataclasses import replace
from typing import Any

import pytest

from autoscaler.container import Container
from autoscaler.lifespan import Act, LifeLimits, Sighting, next_step
from autoscaler.plan import plan
from autoscaler.provider import ProviderContainer
from autoscaler.sightings import Sightings, name_of, slot_of
from autoscaler.state import Decision

LIMITS = LifeLimits()
UNSEEN = Sighting(listed=True)
UNASKED = Sighting(listed=False)


def thing(state: str = "running", name: str = "reveille-text-0") -> ProviderContainer:
    return ProviderContainer(name=name, ref="41", state=state, detail="exit code 78")  # type: ignore[arg-type]


RUNS = Sighting(listed=True, container=thing())
EXITED = Sighting(listed=True, container=thing("exited"))
EVICTED = Sighting(listed=True, container=replace(thing(), stage="waiting"))
MISSED = Sighting(listed=True, misses=3)


def container(state: str, **known: Any) -> Container:
    values = {"container_id": 1, "name": "reveille-text-0", "pool": "text", "slot": 0}
    return Container(**(values | {"provider": "process", "state": state} | known))  # type: ignore[arg-type]


def alive(state: str, status: str = "active", **known: Any) -> Container:
    values = {"server_id": "reveille-text-0-1", "server_status": status, "server_seconds": 1.0}
    return container(state, **(values | {"slots": 1, "was_ready": True} | known))


@pytest.mark.parametrize(
    ("now", "seen", "act"),
    [
        # on its way up
        (container("intended"), UNASKED, Act.CREATE),
        (container("intended", wish="stop"), UNSEEN, Act.STOP),
        (container("creating"), UNSEEN, Act.CREATE),
        (container("creating"), UNASKED, None),
        (container("creating"), RUNS, Act.BOOTED),
        (container("creating"), EXITED, Act.FAIL),
        (container("creating", state_seconds=120.0), UNASKED, Act.FAIL),
        (container("booting", start_seconds=299.0), RUNS, None),
        (container("booting", start_seconds=300.0), RUNS, Act.FAIL),
        (container("booting", start_seconds=5.0), EXITED, Act.FAIL),
        (container("booting", start_seconds=5.0), MISSED, Act.FAIL),
        (container("booting", start_seconds=5.0), Sighting(listed=True, misses=2), None),
        (alive("booting", "starting", start_seconds=5.0, was_ready=False), RUNS, None),
        (alive("booting", start_seconds=5.0, was_ready=False), UNASKED, Act.READY),
        (alive("booting", "starting", start_seconds=9e9, state_seconds=9.0), RUNS, None),
        (alive("booting", "starting", state_seconds=300.0), RUNS, Act.FAIL),
        (alive("booting", "starting", state_seconds=300.0, held=1), RUNS, None),
        # ready
        (alive("ready"), RUNS, None),
        (alive("ready"), MISSED, None),
        (alive("ready"), UNASKED, None),
        (alive("ready", held=1), EXITED, Act.FAIL),
        (alive("ready", "starting"), RUNS, Act.UNREADY),
        (alive("ready", "draining", held=1), RUNS, Act.DRAIN),
        (alive("ready", "inactive"), RUNS, None),
        (alive("ready", "inactive", server_seconds=10.0), RUNS, Act.STOP),
        (alive("ready", "inactive"), EXITED, Act.STOP),
        (alive("ready", "lost", server_seconds=59.0), RUNS, None),
        (alive("ready", "lost", server_seconds=60.0), RUNS, Act.FAIL),
        (alive("ready", "lost"), MISSED, Act.FAIL),
        (alive("ready", "lost"), EVICTED, Act.FAIL),
        (alive("ready", "lost", held=1), EVICTED, None),
        (alive("ready"), EVICTED, None),
        (alive("ready", wish="drain", held=1), RUNS, Act.DRAIN),
        (alive("ready", wish="stop", held=1), RUNS, Act.STOP),
        (alive("ready", wish="keep"), RUNS, None),
        (alive("draining", "draining", wish="keep"), RUNS, Act.KEEP),
        (alive("draining", "inactive", wish="keep", server_seconds=99.0), RUNS, Act.STOP),
        (container("intended", wish="keep"), UNSEEN, Act.CREATE),
        # on its way down
        (alive("draining", "draining", held=1, state_seconds=9e9), RUNS, None),
        (alive("draining", "draining", state_seconds=1.0), RUNS, None),
        (alive("draining", "draining", state_seconds=30.0), RUNS, Act.STOP),
        (alive("draining", "inactive"), RUNS, None),
        (alive("draining", "inactive"), UNSEEN, Act.STOP),
        (alive("draining", "inactive"), EXITED, Act.STOP),
        (alive("draining", "lost"), RUNS, Act.STOP),
        (alive("draining", "active"), RUNS, Act.STOP),
        (alive("draining", "starting"), RUNS, Act.STOP),
        (alive("draining", "active", held=1), RUNS, Act.DRAIN),
    ],
)
def test_next_step_of_a_container(now: Container, seen: Sighting, act: Act | None) -> None:
    """Two witnesses, a limit per state, and an operator's wish before all."""
    step = next_step(now, seen, LIMITS)
    assert (step.act if step else None) is act


@pytest.mark.parametrize("state", ["ready", "draining"])
@pytest.mark.parametrize("status", ["starting", "active", "draining"])
@pytest.mark.parametrize("seen", [RUNS, UNSEEN, UNASKED, MISSED])
def test_busy_container_is_never_stopped(state: str, status: str, seen: Sighting) -> None:
    """Whatever its age and whatever the provider forgets: a live worker with a task goes on."""
    ages = {"state_seconds": 9e9, "idle_seconds": 9e9, "server_seconds": 9e9}
    step = next_step(alive(state, status, held=1, **ages), seen, LIMITS)
    assert step is None or step.act not in {Act.STOP, Act.FAIL}


def test_failure_says_what_the_provider_knows() -> None:
    """The row shows the exit code, not only that it is gone."""
    step = next_step(container("booting"), EXITED, LIMITS)
    assert step is not None
    assert step.reason == "it ended before it was ready: exit code 78"


def test_plan_takes_the_lowest_free_slots() -> None:
    """Names are few and stable, and never those of live rows."""
    live = [container("ready", slot=0), container("failed", slot=2)]
    assert plan(Decision(wanted=4, reason=""), live).start == (1, 3)


def test_plan_takes_a_draining_one_back_before_it_starts_one() -> None:
    """Its slot is not given away either."""
    drains = alive("draining", "draining", slot=0, name="a")
    moves = plan(Decision(wanted=2, reason=""), [drains])
    assert (moves.revive, moves.start) == ((drains,), (1,))


def test_plan_never_takes_back_what_an_operator_drains() -> None:
    """The operator's word stands."""
    drains = alive("draining", "draining", slot=0, wish="drain")
    moves = plan(Decision(wanted=1, reason=""), [drains])
    assert (moves.revive, moves.start) == ((), (1,))


def test_plan_drains_only_what_the_decision_names() -> None:
    """Fewer wanted without names is nobody's end."""
    a, b = alive("ready", name="a"), alive("ready", name="b")
    assert plan(Decision(wanted=1, reason="", spare=("b",)), [a, b]).drain == (b,)
    assert plan(Decision(wanted=0, reason="", spare=()), [a, b]).drain == ()


def test_sightings_count_no_faster_than_their_spacing() -> None:
    """Ten rounds in a burst of news are one look at the provider, not ten misses."""
    sightings = Sightings(spacing_seconds=2.0)
    for moment in (0.0, 0.1, 0.2, 1.9):
        sightings.note([], ["a"], moment)
    assert sightings.of("a").misses == 1
    sightings.note([], ["a"], 2.0)
    assert sightings.of("a").misses == 2


def test_sightings_forgive_a_container_that_is_seen_again() -> None:
    """Misses count in a row."""
    sightings = Sightings(spacing_seconds=0.0)
    sightings.note([], ["a"], 1.0)
    sightings.note([thing(name="a")], ["a"], 2.0)
    sightings.note([], ["a"], 3.0)
    assert sightings.of("a").misses == 1


def test_sightings_draw_nothing_from_a_list_that_could_not_be_had() -> None:
    """Missing data is not an empty list."""
    sightings = Sightings(spacing_seconds=0.0)
    sightings.note([thing(name="a")], [], 1.0)
    sightings.note(None, ["a"], 2.0)
    assert sightings.of("a") == Sighting(listed=False)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("reveille-visual-0", ("visual", 0)),
        ("reveille-text-12", ("text", 12)),
        ("reveille-text", None),
        ("reveille-other-0", None),
        ("staging-visual-0", None),
        ("my-reveille-visual-0", None),
        ("reveille-visual-0-old", None),
    ],
)
def test_names_of_others_are_nobodys_slot(name: str, place: tuple[str, int] | None) -> None:
    """Only names of our making are ever touched."""
    assert slot_of(name, "reveille", ["visual", "text"]) == place
    if place is not None:
        assert name_of("reveille", *place) == name
