"""Warm hours: replicas before the hours begin, none too many, and clear words for wrong ones."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.decide import decide
from autoscaler.floor import floor_of, likely_quarters, quarter_of
from autoscaler.scaling_file import PoolScaling, read_scaling
from autoscaler.state import PoolState, Replica
from reveille.errors import ConfigurationError

OFFICE = {"begins": "08:00", "ends": "18:00"}
NIGHT = {"begins": "22:00", "ends": "02:00", "days": ["fri"]}


def at(day: int, hour: int, minute: int = 0) -> float:
    """A moment of the week that begins on Monday, 5 January 2026."""
    return datetime(2026, 1, 5 + day, hour, minute, tzinfo=UTC).timestamp()


NINE = [at(0, 8, 54), at(0, 8, 55), at(0, 9, 14), at(0, 9, 15)]


def config(*hours: dict[str, Any], **more: Any) -> PoolScaling:
    return PoolScaling.model_validate({"warm_hours": hours, **more})


@pytest.mark.parametrize(
    ("hours", "now", "replicas"),
    [
        (OFFICE, at(0, 7, 57), 0),
        (OFFICE, at(0, 7, 58), 1),
        (OFFICE, at(0, 17, 59), 1),
        (OFFICE, at(0, 18), 0),
        (OFFICE, at(5, 12), 0),
        (NIGHT, at(4, 23), 1),
        (NIGHT, at(5, 1), 1),
        (NIGHT, at(5, 23), 0),
        (OFFICE | {"timezone": "Europe/Berlin"}, at(0, 7), 1),
        (OFFICE | {"ends": "24:00", "replicas": 2}, at(0, 23, 59), 2),
    ],
)
def test_hours_ask_for_replicas_from_one_cold_start_before(
    hours: dict[str, Any], now: float, replicas: int
) -> None:
    """Days, midnight, time zones, and the start ahead of time."""
    assert floor_of(now, config(hours)).replicas == replicas


def test_empty_pool_is_warmed_and_says_why() -> None:
    """No task is needed, and the reason names the hours."""
    decision = decide(PoolState(pool="visual"), at(0, 9), config(OFFICE))
    assert (decision.wanted, decision.reason) == (1, "warm from 08:00 to 18:00")
    before = decide(PoolState(pool="visual"), at(0, 7, 57), config(OFFICE))
    assert (before.wanted, before.look_again_seconds) == (0, 60.0)


def test_idle_replica_stays_within_the_hours_and_goes_after_them() -> None:
    """The floor holds the policy back only for as long as the hours last."""
    idle = Replica(name="a", phase="idle", age_seconds=9e4, idle_seconds=9e4, free_slots=1)
    state = PoolState(pool="visual", replicas=(idle,))
    assert decide(state, at(0, 12), config(OFFICE)).wanted == 1
    assert decide(state, at(0, 19), config(OFFICE)).wanted == 0


def test_paused_pool_is_not_warmed() -> None:
    """The guards stand above the hours."""
    assert decide(PoolState(pool="visual", paused=True), at(0, 9), config(OFFICE)).wanted == 0


@given(now=st.floats(0, 4e9), most=st.integers(0, 3), replicas=st.integers(1, 3))
def test_floor_is_never_above_the_maximum_and_is_looked_at_again(
    now: float, most: int, replicas: int
) -> None:
    """Also where an operator lowered the maximum below what the file's hours want."""
    lowered = config(OFFICE | {"replicas": replicas}).model_copy(update={"max_replicas": most})
    floor = floor_of(now, lowered)
    assert 0 <= floor.replicas <= most
    assert floor.changes_in_seconds is not None
    assert 0 < floor.changes_in_seconds <= 60.1


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ('{begins: "08:00", ends: "08:00"}', "begin and end at 08:00"),
        ('{begins: "25:00", ends: "08:00"}', "begins"),
        ('{begins: "108:00", ends: "18:00"}', "times such as 08:00"),
        ('{begins: "08:00", ends: "18:00", timezone: Mars/Olympus}', "Mars/Olympus"),
        ('{begins: "08:00", ends: "18:00", replicas: 9}', "max_replicas is 3"),
    ],
)
def test_wrong_hours_are_refused_in_words(tmp_path: Path, hours: str, words: str) -> None:
    """A typing error must not cost money quietly."""
    path = tmp_path / "scaling.yaml"
    path.write_text(f"visual_container_scaling:\n  warm_hours: [{hours}]\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=words):
        read_scaling(path)


def test_quarters_in_which_work_came_in_most_weeks_are_warm() -> None:
    """From a cold start before to the end of the quarter; the minimum and the maximum hold."""
    likely = frozenset({quarter_of(at(0, 9))})
    told = [floor_of(now, config(), likely=likely, cold_start=300).replicas for now in NINE]
    assert told == [0, 1, 1, 0]
    assert floor_of(at(7, 9), config(), likely=likely).replicas == 1, "every week"
    assert floor_of(at(0, 9), config(max_replicas=0), likely=likely).replicas == 0
    assert floor_of(at(0, 9), config(min_replicas=2), likely=likely).replicas == 2
    state = PoolState(pool="visual", likely=likely, cold_start_seconds=300)
    decision = decide(state, at(0, 8, 55), config())
    assert (decision.wanted, decision.reason) == (1, "work has come at this time of the week")
    before = decide(state, at(0, 8, 54), config())
    assert (before.wanted, before.look_again_seconds) == (0, 60)


def test_likely_quarters_are_those_of_the_share_asked_for() -> None:
    """Three of four weeks are enough for 0.75; two weeks on record are not enough for anything."""
    seen = {7: 4, 8: 3, 9: 2}
    assert likely_quarters(seen, 4, config(forecast=0.75)) == {7, 8}
    assert likely_quarters(seen, 2, config(forecast=0.75)) == frozenset()
    assert likely_quarters(seen, 4, config()) == frozenset()
