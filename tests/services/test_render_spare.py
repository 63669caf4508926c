"""The render child that is kept ready: used, replaced, and gone when it is not needed."""

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from reveille import testing_pdfs
from reveille.render.document import Document
from reveille.render.limits import DocumentLimits
from reveille.render.newborn import Newborn, Spare
from reveille.testing import eventually


@asynccontextmanager
async def opened(text: str, spare: Spare) -> AsyncIterator[Document]:
    """A deck of one slide, opened with the spare."""
    with tempfile.TemporaryFile() as file:
        file.write(testing_pdfs.deck(text))
        file.seek(0)
        document = await Document.start(file.fileno(), DocumentLimits(), spare)
    async with document:
        yield document


@pytest.fixture
async def spare() -> AsyncIterator[Spare]:
    """One that prepares at once."""
    spare = Spare(prepare_seconds=0)
    yield spare
    await spare.close()


def pid_of(spare: Spare) -> int:
    """Of the child that is ready."""
    assert spare._ready is not None
    return spare._ready.process.pid


async def test_next_document_is_read_by_the_child_that_was_ready(spare: Spare) -> None:
    """Between two decks the GPU does not wait for a process to start; each child has one document."""
    async with opened("First deck", spare) as first:
        await eventually(lambda: spare.ready)
        waiting = pid_of(spare)
        assert waiting != first.process_id
        async with opened("Second deck", spare) as second:
            assert second.process_id == waiting
            assert "Second deck" in (await second.page(1)).text
            assert "First deck" in (await first.page(1)).text


async def test_child_that_died_while_it_waited_is_replaced(spare: Spare) -> None:
    """The kernel, short of memory, takes the idle ones first: no document may fail by that."""
    async with opened("First deck", spare):
        await eventually(lambda: spare.ready)
    dead = pid_of(spare)
    os.kill(dead, signal.SIGKILL)
    await eventually(lambda: not spare.ready)
    async with opened("Second deck", spare) as second:
        assert second.process_id != dead
        assert "Second deck" in (await second.page(1)).text


async def test_child_that_nobody_takes_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without decks keeps no memory for them."""
    started: list[int] = []
    spawn = Newborn.spawn

    async def watched() -> Newborn:
        newborn = await spawn()
        started.append(newborn.process.pid)
        return newborn

    monkeypatch.setattr(Newborn, "spawn", watched)
    spare = Spare(prepare_seconds=0, keep_seconds=0)
    async with opened("Only deck", spare) as document:
        await eventually(lambda: len(started) == 2)
        (waiting,) = set(started) - {document.process_id}
        await eventually(lambda: _is_gone(waiting))
    await spare.close()


async def test_stop_ends_the_child_that_waits() -> None:
    """Nothing is left behind by a worker that drained."""
    spare = Spare(prepare_seconds=0)
    async with opened("Only deck", spare):
        await eventually(lambda: spare.ready)
        waiting = pid_of(spare)
    await spare.close()
    assert _is_gone(waiting)


async def test_stop_in_the_middle_of_a_start_ends_that_too() -> None:
    """However far it had come."""
    for steps in range(6):
        spare = Spare(prepare_seconds=0)
        async with opened("Only deck", spare):
            for _ in range(steps):
                await asyncio.sleep(0)
        await spare.close()
        assert not spare.ready


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
