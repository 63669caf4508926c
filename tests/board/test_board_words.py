"""What the board says: how far away moments are, numbers of decisions, and what needs attention."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queue_gateway.board.task import headline
from queue_gateway.board.troubles import Situation, troubles
from queue_gateway.board.words import ago, count, figures
from queue_gateway.containers import Container
from queue_gateway.pools import Pool
from queue_gateway.queue_depth import PoolDepth
from queue_gateway.servers import Server
from queue_gateway.shapes import Answer

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.4, "just now"), (1, "1 s ago"), (59.9, "59 s ago"), (60, "1 min ago")),
        *((3599, "59 min ago"), (3600, "1 h ago"), (86_400, "1 d ago"), (-150, "in 2 min")),
    ],
)
def test_moment_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    """Never rounded up: an hour is not said before it is over."""
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(12_345, "12,345"), (99_999, "99,999"), (100_000, "100.0 k"), (2.5, "2.5")],
)
def test_counts_are_exact_while_they_are_short(number: float, words: str) -> None:
    """Ten thousand tasks are told apart from ten thousand and one."""
    assert count(number) == words


def test_numbers_of_a_decision_carry_their_units() -> None:
    """Seconds, money, words and switches read as such; lists, nothing and blanks are left out."""
    seen = {
        "depth": 12_000,
        "oldest_seconds": 95.0,
        "spent_usd": 1.5,
        "usd_per_hour": 0.8,
        "paused": False,
        "held": "",
        "cold_start_seconds": None,
        "replicas": {"ready": 1},
        "model": "m" * 50,
        "model_seconds": 0.5,
    }

    assert figures(seen) == [
        *(("depth", "12,000"), ("oldest", "1 min 35 s"), ("spent", "$1.50")),
        *(("usd per hour", "$0.80"), ("paused", "no"), ("model", "m" * 40 + "…")),
        ("model time", "500 ms"),
    ]


@pytest.mark.parametrize(
    ("kind", "result", "line"),
    [
        ("slide", {"slide_number": 2, "title": None}, "slide 2: untitled"),
        ("feedback", {"slide_number": 2, "feedback_text": "Crowded."}, "slide 2: Crowded."),
        ("extraction", {"kind": "deck_date", "value": None}, "deck date: not found"),
        (
            "template analysis",
            {"template_name": "Review", "overall_score": 6.04},
            "Review: 6.0 of 10",
        ),
        (
            "specialised analysis",
            {"analysis_type": "clinical_validation", "analysis_result": "Sound."},
            "clinical validation: Sound.",
        ),
    ],
)
def test_each_kind_of_result_has_a_headline(kind: str, result: Any, line: str) -> None:
    """Also where the model found nothing."""
    assert headline({"kind": kind, "result": result}) == line


def of(shape: type[Answer], **values: Any) -> Any:
    """A row with nothing but these values."""
    return shape.model_construct(**dict.fromkeys(shape.model_fields) | values)


def situation(**values: Any) -> Situation:
    """A pool named text, with nothing in it, and nothing wrong."""
    quiet: dict[str, Any] = {
        "since": NOW - timedelta(hours=1),
        "pools": [of(Pool, name="text", paused=False, servers_active=0)],
        "depths": [],
        "containers": [],
        "servers": [],
        "failed": 0.0,
        "month_usd": 0.0,
        "cap_usd": None,
    }
    return Situation(**quiet | values)


def waiting(seconds: float, queued: int = 3) -> list[PoolDepth]:
    """Tasks of the pool text, the oldest for so long."""
    return [of(PoolDepth, pool="text", queued=queued, oldest_seconds=seconds)]


def container(state: str, **values: Any) -> Container:
    """One of the pool text that changed ten minutes ago."""
    given = {"name": "text-0", "pool": "text", "state_changed_at": NOW - timedelta(minutes=10)}
    made: Container = of(Container, **given | {"state": state} | values)
    return made


def test_a_quiet_system_has_no_trouble() -> None:
    """Nothing waits; or what waits has waited for a moment, or for a container on its way."""
    coming = [container("booting")]

    assert troubles(situation()) == []
    assert troubles(situation(depths=waiting(3))) == []
    assert troubles(situation(depths=waiting(90), containers=coming)) == []


@pytest.mark.parametrize(
    ("seen", "words", "urgent"),
    [
        ({"depths": waiting(90)}, "no server takes them", True),
        (
            {"depths": waiting(400), "containers": [container("booting")]},
            "the goal is 5 min",
            False,
        ),
        ({"containers": [container("failed", last_error="no GPU")]}, "did not start: no GPU", True),
        ({"containers": [container("booting", stuck_reason="no GPU")]}, "is stuck: no GPU", True),
        ({"servers": [of(Server, id="a", status="lost", last_heartbeat=NOW)]}, "lost: a.", False),
        ({"failed": 2.0}, "2 tasks have failed", False),
        ({"month_usd": 100.0, "cap_usd": 100.0}, "$100.00 are spent", True),
    ],
)
def test_trouble_is_named(seen: dict[str, Any], words: str, urgent: bool) -> None:
    """Each with the page that shows more."""
    (trouble,) = troubles(situation(**seen))

    assert words in trouble.sentence
    assert trouble.urgent == urgent
    assert trouble.path.startswith("/")


def test_paused_pool_says_what_waits_for_it() -> None:
    """Instead of asking whether the autoscaler runs."""
    paused = [of(Pool, name="text", paused=True, servers_active=0)]
    (trouble,) = troubles(situation(pools=paused, depths=waiting(900, queued=1)))
    assert trouble.sentence == "1 task waits for the pool text, which is paused."


def test_old_troubles_are_not_told() -> None:
    """A container that failed and a server that was lost before the span are history."""
    long_ago = NOW - timedelta(days=2)
    old = {
        "containers": [container("failed", state_changed_at=long_ago)],
        "servers": [of(Server, id="a", status="lost", last_heartbeat=long_ago)],
    }
    assert troubles(situation(**old)) == []


def test_urgent_troubles_come_first() -> None:
    """However they were found."""
    found = troubles(situation(failed=1.0, month_usd=2.0, cap_usd=1.0))
    assert [trouble.urgent for trouble in found] == [True, False]
