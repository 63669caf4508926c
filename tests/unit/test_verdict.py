"""The monitor's verdict, as a table of facts."""

import pytest

from heartbeat_monitor.facts import Container, Facts, Server
from heartbeat_monitor.verdict import CRASH_SECONDS_MAX, Limits, judge, rest_seconds

LIMITS = Limits(container_seconds_max={"creating": 180.0, "booting": 600.0, "draining": 3900.0})


def server(**known: object) -> Server:
    values: dict[str, object] = {"server_id": "gpu-1", "epoch": 7, "silent_seconds": 1.0}
    return Server(**(values | known))  # type: ignore[arg-type]


def test_server_silent_for_the_lease_is_lost_with_its_reason() -> None:
    """Silence is the one sign that every kind of server gives."""
    verdict = judge(Facts(servers=(server(silent_seconds=30.0),)), LIMITS)
    assert [(loss.server_id, loss.epoch, loss.reason) for loss in verdict.silent] == [
        ("gpu-1", 7, "no heartbeat for 30 s")
    ]
    assert verdict.recover


def test_server_silent_for_less_than_the_lease_is_spared_until_exactly_then() -> None:
    """The next look comes when the lease ends, not a poll later."""
    verdict = judge(Facts(servers=(server(silent_seconds=22.5),)), LIMITS)
    assert verdict.silent == ()
    assert verdict.pause_seconds == 7.5


@pytest.mark.parametrize(
    ("missing_seconds", "noted", "lost"),
    [(None, True, False), (0.5, False, False), (2.9, False, False), (3.0, False, True)],
)
def test_worker_without_its_connection_is_lost_only_after_the_grace(
    missing_seconds: float | None, noted: bool, lost: bool
) -> None:
    """A blip re-runs nothing, a killed process is noticed in seconds."""
    gone = server(has_presence=True, present=False, missing_seconds=missing_seconds)
    verdict = judge(Facts(servers=(gone,), processing=1), LIMITS)
    assert (verdict.missing == ("gpu-1",)) is noted
    assert bool(verdict.disconnected) is lost
    assert verdict.pause_seconds <= LIMITS.tick_seconds


def test_grace_is_slept_for_to_the_moment() -> None:
    """Five seconds to another attempt leave no room for a tick too many."""
    gone = server(has_presence=True, present=False, missing_seconds=2.9)
    pause = judge(Facts(servers=(gone,), processing=1), LIMITS).pause_seconds
    assert pause == pytest.approx(0.1)


@pytest.mark.parametrize("took", [0.001, 0.05, 0.15, 0.2, 0.3, 0.4])
def test_slow_rounds_rest_as_long_as_a_crash_is_still_told_in_time(took: float) -> None:
    """Nine tenths of the time, as long as the five seconds allow it; never less than half."""
    rest = rest_seconds(took, LIMITS, watchful=False)
    assert took <= rest <= 9 * took
    assert rest == pytest.approx(9 * took) or took > 0.15
    assert rest + 4 * took + LIMITS.presence_grace_seconds <= CRASH_SECONDS_MAX + 1e-9
    assert rest_seconds(took, LIMITS, watchful=True) == took
    assert rest_seconds(5.0, LIMITS, watchful=False) == 5.0


def test_missed_connection_makes_watchful_until_it_is_back() -> None:
    """Then the end of the grace must not be slept over."""
    gone = server(has_presence=True, present=False, missing_seconds=1.0)
    assert judge(Facts(servers=(gone,)), LIMITS).watchful
    back = server(has_presence=True, present=True, missing_seconds=1.0)
    assert not judge(Facts(servers=(back,)), LIMITS).watchful


def test_worker_whose_connection_is_back_is_forgiven() -> None:
    """A reconnection ends the grace, whatever it had reached."""
    back = server(has_presence=True, present=True, missing_seconds=9.0)
    verdict = judge(Facts(servers=(back,)), LIMITS)
    assert verdict.back == ("gpu-1",)
    assert verdict.disconnected == ()


def test_server_without_presence_is_never_judged_by_its_connection() -> None:
    """External servers speak HTTP or plain SQL and hold no lock."""
    verdict = judge(Facts(servers=(server(has_presence=False),), processing=1), LIMITS)
    assert verdict.missing == ()
    assert verdict.disconnected == ()


def test_nobody_is_lost_while_the_database_is_just_back() -> None:
    """An outage silences everybody: that is no sign of death."""
    facts = Facts(
        servers=(
            server(silent_seconds=90.0),
            server(server_id="gpu-2", has_presence=True, missing_seconds=60.0),
        ),
        processing=2,
        forsaken=True,
        lock_in_seconds=-1.0,
    )
    verdict = judge(facts, LIMITS, reachable_seconds=14.0)
    assert (verdict.silent, verdict.disconnected, verdict.recover) == ((), (), False)
    assert judge(facts, LIMITS, reachable_seconds=15.0).silent != ()


@pytest.mark.parametrize(
    ("facts", "recover"),
    [
        (Facts(processing=2, lock_in_seconds=600.0), False),
        (Facts(processing=2, lock_in_seconds=0.0), True),
        (Facts(processing=2, lock_in_seconds=600.0, forsaken=True), True),
    ],
)
def test_tasks_are_recovered_when_there_are_any_to_recover(facts: Facts, recover: bool) -> None:
    """A held task in good hands costs no statement a second."""
    assert judge(facts, LIMITS).recover is recover


def test_pause_without_anything_going_on_is_the_backstop() -> None:
    """An idle system is left alone."""
    assert judge(Facts(), LIMITS).pause_seconds == LIMITS.backstop_seconds


def test_pause_with_idle_workers_is_their_lease_and_not_the_tick() -> None:
    """An idle worker costs two looks a minute, not sixty."""
    idle = server(has_presence=True, present=True, silent_seconds=4.0)
    assert judge(Facts(servers=(idle,)), LIMITS).pause_seconds == 26.0


@pytest.mark.parametrize(
    "facts",
    [
        Facts(processing=1),
        Facts(queued=True, servers=(server(has_presence=True, present=True),)),
        Facts(servers=(server(has_presence=True, present=False, missing_seconds=1.0),)),
    ],
)
def test_pause_is_the_tick_while_a_worker_may_die_with_a_task(facts: Facts) -> None:
    """The 5 s goal for a killed worker needs a look each second, but only then."""
    assert judge(facts, LIMITS).pause_seconds == LIMITS.tick_seconds


def test_queue_that_waits_for_a_cold_start_needs_no_ticks() -> None:
    """Nobody is there who could claim; the registration will be heard."""
    assert judge(Facts(queued=True), LIMITS).pause_seconds == LIMITS.backstop_seconds


def test_retry_is_slept_for_to_the_moment() -> None:
    """Due times are computed, not polled."""
    verdict = judge(Facts(retry_in_seconds=0.4), LIMITS)
    assert not verdict.retries_due
    assert verdict.pause_seconds == 0.4


def test_overdue_timers_do_not_spin() -> None:
    """A row that somebody else holds is tried again a tick later, not at once and for ever."""
    facts = Facts(retry_in_seconds=-5.0, lock_in_seconds=-5.0, cleaning_in_seconds=-5.0)
    verdict = judge(facts, LIMITS)
    assert verdict.retries_due
    assert verdict.clean
    assert verdict.pause_seconds == LIMITS.tick_seconds


def test_container_over_its_limit_is_stuck_once() -> None:
    """One mark and one log line per state."""
    slow = Container(container_id=3, name="reveille-text-0", state="booting", state_seconds=601.0)
    verdict = judge(Facts(containers=(slow,)), LIMITS)
    assert verdict.stuck == ((3, "booting for 601 s, the limit is 600 s"),)
    marked = Container(
        container_id=3, name="reveille-text-0", state="booting", state_seconds=700.0, marked=True
    )
    again = judge(Facts(containers=(marked,)), LIMITS)
    assert again.stuck == ()
    assert again.pause_seconds == LIMITS.backstop_seconds


def test_container_on_its_way_up_is_looked_at_when_its_limit_ends() -> None:
    """A stuck start is seen even when nothing else happens."""
    young = Container(container_id=3, name="x", state="creating", state_seconds=100.0)
    assert judge(Facts(containers=(young,)), LIMITS).pause_seconds == 80.0
