"""worker/floors.py: when the queue is surveyed, and where looks begin after it."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import asyncpg
import pytest

from reveille.task import Claim
from reveille.testing import eventually
from reveille.worker import floors as module
from reveille.worker.floors import SLOW_SURVEYS, Floors, Key

FAST, SLOW = 0.001, 0.1
A, B = ("deck_date_extraction", 1), ("template_analysis", 3)


def claim(task_id: int, key: Key) -> Claim:
    now = datetime.now(UTC)
    return Claim(
        task_id=task_id,
        lease_token=1,
        document_id=1,
        task_type=key[0],
        priority=key[1],
        attempt=1,
        max_retries=3,
        timeout_seconds=60,
        stall_seconds=60,
        created_at=now,
        claimable_at=now,
        started_at=now,
        file_path=None,
        company_id=None,
    )


class Queue:
    """Answers surveys with what it is told, as slowly as it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SLOW_SECONDS", 0.005)
        monkeypatch.setattr(module, "PAUSE_SECONDS_MIN", 0.0)
        monkeypatch.setattr(module, "PAUSE_FACTOR", 0.0)
        monkeypatch.setattr(module, "SETTLED_SECONDS", 0.0)
        self.lowest: Mapping[Key, int] | Exception = {}
        self.seconds = 0.02
        self.looks = 0
        self.surveys = 0
        self.floors = Floors(self._survey, look=self._look)

    async def _survey(self) -> Mapping[Key, int]:
        self.surveys += 1
        await asyncio.sleep(self.seconds)
        if isinstance(self.lowest, Exception):
            raise self.lowest
        return self.lowest

    def _look(self) -> None:
        self.looks += 1

    async def look(self, seconds: float, *claims: Claim) -> None:
        """A look, and the survey that it brings about."""
        self.floors.looked(seconds, claims)
        if self.floors._surveying is not None:
            await self.floors._surveying

    async def slow_surveys(self, lowest: Mapping[Key, int]) -> None:
        """As many as bring floors into force."""
        self.lowest = lowest
        for _ in range(SLOW_SURVEYS):
            await self.look(SLOW)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    return Queue(monkeypatch)


async def test_fast_looks_bring_no_survey_about(queue: Queue) -> None:
    """In good times nothing is asked that was not asked before."""
    await queue.look(FAST)
    assert queue.surveys == 0
    assert queue.floors.in_force == {}


async def test_one_slow_survey_changes_nothing(queue: Queue) -> None:
    """A busy machine is not an old snapshot."""
    queue.lowest = {A: 100}
    for _ in range(SLOW_SURVEYS - 1):
        await queue.look(SLOW)
    assert queue.floors.in_force == {}
    await queue.look(FAST)
    assert queue.floors.in_force == {A: 100}


async def test_survey_raises_a_floor_to_what_the_one_before_it_had_seen(queue: Queue) -> None:
    """A transaction that was under way at the first survey is seen by the second, or is late."""
    await queue.slow_surveys({A: 100, B: 200})
    queue.lowest = {A: 150, B: 260}
    await queue.look(FAST)
    assert queue.floors.in_force == {A: 100, B: 200}
    queue.lowest = {A: 170, B: 260}
    await queue.look(FAST)
    assert queue.floors.in_force == {A: 150, B: 260}


async def test_claims_raise_the_floor_of_their_type_and_priority(queue: Queue) -> None:
    """With a backlog the front moves on from survey to survey; a claim takes the lowest there is."""
    await queue.slow_surveys({A: 100, B: 100})
    queue.floors.looked(FAST, [claim(130, A), claim(120, A)])
    await asyncio.sleep(0.002)
    queue.floors.looked(FAST, [claim(140, A)])
    assert queue.floors.in_force == {A: 120, B: 100}
    queue.floors.stop()


async def test_claims_raise_no_floor_before_open_transactions_have_had_their_time(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lower id may commit a moment after the claim of a higher one."""
    monkeypatch.setattr(module, "SETTLED_SECONDS", 60.0)
    await queue.slow_surveys({A: 100})
    queue.floors.looked(FAST, [claim(130, A)])
    queue.floors.looked(FAST, [claim(140, A)])
    assert queue.floors.in_force == {A: 100}
    queue.floors.stop()


async def test_what_became_claimable_below_a_floor_is_looked_for_at_once(queue: Queue) -> None:
    """A retry has an old id: the survey lowers the floor to it and says so; older claims count no more."""
    await queue.slow_surveys({A: 100})
    assert (queue.floors.in_force, queue.looks) == ({A: 100}, 0)
    queue.lowest = {A: 7}
    await queue.look(FAST, claim(130, A))
    assert (queue.floors.in_force, queue.looks) == ({A: 7}, 1)
    queue.floors.looked(FAST, [])
    assert queue.floors.in_force == {A: 7}
    queue.floors.stop()


async def test_look_during_a_survey_brings_another_about(queue: Queue) -> None:
    """What it missed may have come after the survey's snapshot."""
    queue.floors.looked(SLOW, [])
    await asyncio.sleep(0.01)
    assert queue.surveys == 1
    await queue.look(SLOW)
    assert queue.surveys == 2


async def test_fast_survey_ends_it(queue: Queue) -> None:
    """Vacuum has come by: looks begin at the beginning again, the first at once for what lay below."""
    await queue.slow_surveys({A: 100})
    queue.seconds = 0.0
    await queue.look(FAST)
    assert (queue.floors.in_force, queue.looks) == ({}, 1)
    surveys = queue.surveys
    await queue.look(FAST)
    assert queue.surveys == surveys


async def test_floors_are_looked_at_again_when_nobody_did(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat does not ask what waits while floors are in force: this is the backstop then."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.02)
    await queue.look(FAST)
    await asyncio.sleep(0.1)
    assert queue.looks == 0
    await queue.slow_surveys({A: 100})
    await eventually(lambda: asyncio.sleep(0, queue.looks == 1))
    queue.floors.looked(FAST, [])
    await eventually(lambda: asyncio.sleep(0, queue.looks == 2))
    queue.floors.looked(FAST, [])
    queue.floors.stop()
    await asyncio.sleep(0.1)
    assert queue.looks == 2


async def test_failed_survey_forgets_all_floors(queue: Queue) -> None:
    """What is not known leaves nothing out."""
    await queue.slow_surveys({A: 100})
    queue.lowest = asyncpg.ConnectionDoesNotExistError("gone")
    await queue.look(FAST)
    assert (queue.floors.in_force, queue.looks) == ({}, 1)


async def test_surveys_take_a_tenth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often there are looks."""
    surveys = 0

    async def survey() -> Mapping[Key, int]:
        nonlocal surveys
        surveys += 1
        await asyncio.sleep(0.02)
        return {}

    monkeypatch.setattr(module, "PAUSE_SECONDS_MIN", 0.0)
    floors = Floors(survey, look=lambda: None)
    async with asyncio.timeout(10):
        began = asyncio.get_running_loop().time()
        while (elapsed := asyncio.get_running_loop().time() - began) < 0.6:
            floors.looked(SLOW, [])
            await asyncio.sleep(0.005)
    floors.stop()
    assert 1 <= surveys <= 1 + elapsed / 0.2
