"""When a heart beats, by one whose beats take long."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from reveille.store import Registration
from reveille.testing import Database, eventually
from reveille.worker.heart import REST_FACTOR, Heart

BEAT_SECONDS = 0.1


class SlowHeart(Heart):
    """As beside an old snapshot, whose dead rows each beat walks over."""

    def __init__(self, dsn: str) -> None:
        super().__init__(
            dsn,
            Registration(server_id="w-1", epoch=1, presence_key=1),
            interval_seconds=600,
            held=list,
            to_look_for=lambda: ["deck_date_extraction"],
            claim_failed_at=lambda: float("-inf"),
            on_pulse=lambda _: None,
        )
        self.beats: list[tuple[float, float]] = []  # begin and end
        self.asked: list[bool] = []  # what waits

    async def _beat(self, _: object, to_look_for: list[str] | None) -> None:
        begin = time.monotonic()
        await asyncio.sleep(BEAT_SECONDS)
        self.beats.append((begin, time.monotonic()))
        self.asked.append(to_look_for is not None)

    async def after(self, number: int) -> None:
        """So many beats are over."""

        async def beaten() -> bool:
            return len(self.beats) >= number

        await eventually(beaten)


@asynccontextmanager
async def beating(database: Database) -> AsyncIterator[SlowHeart]:
    heart = SlowHeart(database.dsn)
    heart.start()
    try:
        await heart.after(1)
        yield heart
    finally:
        await heart.stop()


async def test_idleness_is_told_in_a_tenth_of_the_time(database: Database) -> None:
    """A worker with short tasks falls idle many times a second; its beats may not fill the day."""
    async with beating(database) as heart:
        for number in (2, 3):
            while len(heart.beats) < number:
                heart.nudge_when_rested()
                await asyncio.sleep(0)
    for (begin, end), (following, _) in zip(heart.beats, heart.beats[1:], strict=False):
        assert following - end >= 0.9 * REST_FACTOR * (end - begin)


async def test_news_of_a_task_does_not_wait_for_the_rest(database: Database) -> None:
    """A cancel reaches the model call within a second, however long the last beat took."""
    async with beating(database) as heart:
        heart.nudge_when_rested()
        heart.nudge()
        await heart.after(2)
    (begin, end), (following, _) = heart.beats[:2]
    assert following - end < REST_FACTOR * (end - begin)


async def test_only_a_regular_beat_asks_what_waits(database: Database) -> None:
    """The others come from short tasks or news, and would walk over dead rows for nothing."""
    async with beating(database) as heart:
        heart.nudge()
        await heart.after(2)
    assert heart.asked[:2] == [True, False]
