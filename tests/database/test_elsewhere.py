"""A claim that passes tasks over, for another server that takes their type."""

from datetime import timedelta
from typing import Any

import pytest

from reveille.store import Registration

TASK_TYPE = "deck_date_extraction"


async def claimed(queue: Any, server: Registration, *elsewhere: int) -> list[int]:
    """What a look for two tasks finds that leaves `elsewhere` to others."""
    turn = await queue.store.turn(server, [TASK_TYPE], 2, (), elsewhere=elsewhere)
    return [claim.task_id for claim in turn.claims]


async def test_task_that_another_can_take_is_passed_over(queue: Any) -> None:
    """Those behind it are not; and the other one gets it."""
    here, other = await queue.server("here"), await queue.server("other")
    stalled, next_one = await queue.add(TASK_TYPE), await queue.add(TASK_TYPE)

    assert await claimed(queue, here, stalled) == [next_one]
    assert await claimed(queue, here, stalled) == []
    assert await claimed(queue, other) == [stalled]


async def test_task_that_nobody_took_in_time_is_passed_over_no_more(queue: Any) -> None:
    """The other one may be full for long, or hang: 30 seconds from when the task could be claimed."""
    here, _ = await queue.server("here"), await queue.server("other")
    stalled = await queue.add(TASK_TYPE)
    since = (await queue.row(stalled))["claimable_at"]

    await queue.database.set_now(since + timedelta(seconds=29))
    assert await claimed(queue, here, stalled) == []
    await queue.database.set_now(since + timedelta(seconds=31))
    assert await claimed(queue, here, stalled) == [stalled]


@pytest.mark.parametrize(
    "change",
    [
        "status = 'lost'",
        "status = 'draining'",
        "status = 'starting'",
        "capabilities = '{}'",
        "capabilities = '{\"deck_date_extraction\": false}'",
    ],
)
async def test_task_is_passed_over_only_for_one_that_can_take_it(queue: Any, change: str) -> None:
    """Alone of its kind, a server tries again itself."""
    here, _ = await queue.server("here"), await queue.server("other")
    stalled = await queue.add(TASK_TYPE)
    await queue.database.execute(f"UPDATE processing_servers SET {change} WHERE id = 'other'")  # noqa: S608

    assert await claimed(queue, here, stalled) == [stalled]
