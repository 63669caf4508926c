"""Slots: what a worker runs at once, from the queue and by direct calls."""

import asyncio

import pytest

from reveille.worker.slots import Slots


async def test_direct_call_waits_for_a_slot_and_comes_before_the_next_claim() -> None:
    """A direct call that waits takes the freed slot: the queue may not claim for it."""
    slots = Slots(1, on_free=lambda: None)
    slots.take_queued(1)
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def call() -> None:
        async with slots.direct(wait_seconds=5):
            entered.set()
            await leave.wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert not entered.is_set()

    slots.give_queued(1)
    await entered.wait()

    assert slots.free == 0
    leave.set()
    await task
    assert slots.free == 1


async def test_direct_call_gives_up_in_time_and_leaves_no_slot_taken() -> None:
    """A caller that waited in vain does not keep a place in the line."""
    slots = Slots(1, on_free=lambda: None)
    slots.take_queued(1)

    with pytest.raises(TimeoutError):
        async with slots.direct(wait_seconds=0.01):
            pytest.fail("there was no slot")

    slots.give_queued(1)
    assert slots.free == 1


async def test_freed_slot_is_announced_once_nobody_waits_for_it() -> None:
    """The turn loop hears of a slot as soon as it may claim for it."""
    freed: list[int] = []
    slots = Slots(2, on_free=lambda: freed.append(slots.free))
    slots.take_queued(2)

    slots.give_queued(1)

    assert freed == [1]


@pytest.mark.parametrize("claims", [0, 1])
async def test_direct_call_takes_no_slot_that_a_claim_is_on_its_way_for(claims: int) -> None:
    """One slot never runs two: the call waits for the answer, and takes what the claims leave."""
    slots = Slots(1, on_free=lambda: None)
    slots.reserve(1)
    entered = asyncio.Event()

    async def call() -> None:
        async with slots.direct(wait_seconds=5):
            entered.set()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    assert not entered.is_set()

    slots.take_queued(claims)
    assert slots.busy == 1
    slots.give_queued(claims)
    await task
    assert slots.busy == 0
