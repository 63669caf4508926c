"""heartbeat_monitor/held_floor.py: from which lease token on a look asks what is held."""

import pytest

from heartbeat_monitor import held_floor as module
from heartbeat_monitor.held_floor import HeldFloor

FAST, SLOW = 0.002, 0.4


class Looks:
    """A monitor's looks; each candidate's horizon is the transaction 100 x its number."""

    def __init__(self) -> None:
        self.horizons = 0
        self.floor = HeldFloor(self._horizon)

    async def _horizon(self) -> int:
        self.horizons += 1
        return 100 * self.horizons

    async def look(self, seconds: float, first: int | None, oldest: int = 0) -> int:
        """Where it began."""
        floor = self.floor.floor()
        await self.floor.looked(seconds, first, oldest)
        return floor


@pytest.fixture
def looks() -> Looks:
    return Looks()


async def test_fast_looks_leave_nothing_out_and_ask_nothing_more(looks: Looks) -> None:
    """In good times this does not exist."""
    assert [await looks.look(FAST, first, 10**6) for first in (7, 8, 9)] == [0, 0, 0]
    assert looks.horizons == 0


async def test_slow_look_is_begun_at_the_token_of_one_before_it(looks: Looks) -> None:
    """Once every transaction of that moment has ended: one may have claimed with a lower token."""
    await looks.look(SLOW, 7)
    assert await looks.look(SLOW, 8, oldest=99) == 0
    assert await looks.look(SLOW, 9, oldest=100) == 0
    assert await looks.look(FAST, 9, oldest=150) == 7
    assert await looks.look(FAST, 9, oldest=200) == 7
    assert await looks.look(FAST, 9, oldest=200) == 9


async def test_floor_does_not_rise_above_what_a_transaction_of_that_moment_claimed(
    looks: Looks,
) -> None:
    """It was waited for just because it may have claimed with a lower token: here it has."""
    await looks.look(SLOW, 100)
    await looks.look(SLOW, 90, oldest=100)
    assert await looks.look(SLOW, 90, oldest=200) == 90


async def test_look_at_everything_is_due_within_a_minute_while_something_is_left_out(
    looks: Looks,
) -> None:
    """The monitor sleeps no longer than that, however little there seems to be."""
    assert looks.floor.whole_in_seconds == float("inf")
    await looks.look(SLOW, 7)
    await looks.look(SLOW, 8, oldest=100)
    assert 0 < looks.floor.whole_in_seconds <= module.WHOLE_SECONDS


async def test_look_that_finds_nothing_raises_no_floor(looks: Looks) -> None:
    """Nothing held says nothing about the token of the next claim."""
    await looks.look(SLOW, None)
    await looks.look(SLOW, None, oldest=1000)
    assert await looks.look(SLOW, None, oldest=1000) == 0


async def test_everything_is_looked_at_now_and_then(
    looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old token that came back is found, and held on to."""
    await looks.look(SLOW, 7)
    await looks.look(SLOW, 8, oldest=100)
    assert await looks.look(FAST, 8, oldest=100) == 7
    monkeypatch.setattr(module, "WHOLE_SECONDS", 1e9)
    looks.floor._whole_due_at = 0.0
    assert await looks.look(SLOW, 3, oldest=100) == 0
    assert await looks.look(FAST, 3, oldest=100) == 3


async def test_fast_look_at_everything_ends_it(looks: Looks) -> None:
    """Vacuum has come by."""
    await looks.look(SLOW, 7)
    await looks.look(SLOW, 8, oldest=100)
    looks.floor._whole_due_at = 0.0
    await looks.look(FAST, 9, oldest=100)
    assert [await looks.look(FAST, 9, 10**6) for _ in range(3)] == [0, 0, 0]
