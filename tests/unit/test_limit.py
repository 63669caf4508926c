"""The two limits of an attempt: its time, and its time without progress."""

import asyncio

import pytest

from reveille.worker.attempt import Limit


async def test_whichever_limit_is_over_first_cancels_and_says_so() -> None:
    """`last_error` names the limit that has to be raised."""
    for limit, passed in ((Limit(0.01, 60), "timeout"), (Limit(60, 0.01), "stalled")):
        with pytest.raises(asyncio.CancelledError), limit:
            await asyncio.Event().wait()
        assert limit.passed == passed


async def test_progress_starts_the_stall_limit_anew_and_not_the_other() -> None:
    """A long task that moves is let live, until its whole time is over."""
    limit = Limit(0.6, 0.3)
    moves: list[int] = []

    async def move_on() -> None:
        while True:
            await asyncio.sleep(0.02)
            limit.moved()
            moves.append(1)

    with pytest.raises(asyncio.CancelledError), limit:
        await move_on()
    assert limit.passed == "timeout"
    assert len(moves) > 5


async def test_cancellation_by_somebody_else_is_not_taken_for_the_limit() -> None:
    """A lost lease or a drain at the very moment of the time-out must still end the attempt."""
    limit = Limit(0.01)

    async def attempt() -> None:
        with limit:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                task.cancel()  # as a heartbeat does, while the handler cleans up
                raise

    task = asyncio.create_task(attempt())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert limit.passed is None


async def test_handler_that_is_done_in_time_is_not_cancelled_afterwards() -> None:
    """The timer dies with the block: what settles the task later may take its time."""
    with Limit(0.02) as limit:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert limit.passed is None
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_time_out_leaves_no_cancellation_behind() -> None:
    """What comes after a time-out (closing the document, telling the database) may wait again."""
    with pytest.raises(asyncio.CancelledError), Limit(0.01):
        await asyncio.Event().wait()
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
