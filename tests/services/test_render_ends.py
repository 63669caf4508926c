"""A render child can be given up at any moment: the slot that waits for its end is given back."""

import asyncio
import sys
import tempfile

import pytest

from reveille import testing_pdfs
from reveille.render.document import Document
from reveille.render.limits import DocumentLimits
from reveille.render.process import RenderProcess

ENDED_SECONDS_MAX = 20.0  # far beyond any wait there is; what hangs, hangs for ever


@pytest.mark.parametrize("steps", range(8))
async def test_open_that_is_cancelled_at_any_step_ends(steps: int) -> None:
    """A task cancelled while its render child starts gives its slot back."""
    with tempfile.TemporaryFile() as file:
        file.write(testing_pdfs.deck("A page."))
        file.seek(0)
        opening = asyncio.create_task(Document.start(file.fileno(), DocumentLimits()))
        for _ in range(steps):
            await asyncio.sleep(0)
        opening.cancel()
        done, _ = await asyncio.wait({opening}, timeout=ENDED_SECONDS_MAX)
    assert done == {opening}
    assert opening.cancelled()


async def test_child_that_has_said_more_than_anybody_reads_can_be_closed() -> None:
    """Past its buffer's limit asyncio stops reading, and then does not see the process end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import os\nwhile True: os.write(1, bytes(65536))"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=65536,
    )
    assert process.stdout is not None
    while not process.stdout._paused:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with asyncio.timeout(ENDED_SECONDS_MAX):
        await RenderProcess(process, DocumentLimits()).close()
    assert process.returncode is not None
