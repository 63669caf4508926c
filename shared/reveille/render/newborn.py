"""Render children before they have a PDF: started, and one kept ready.

A child takes 0.2 s to start, most of it PyMuPDF's import. With one slot the GPU would wait for that between
two decks; so while documents come, the next one's child is started ahead. It has no document and is not
yet confined; the PDF's descriptor is handed through a socket, and then all is as with any other child.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress

import structlog

from reveille.errors import TaskRetry

log = structlog.get_logger(__name__)

# Nothing else of the worker's environment reaches the child: it holds the database's password.
ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
READ_BUFFER_BYTES = 1024 * 1024
PREPARE_SECONDS = 1.0  # after a document was opened: its first page comes first
KEEP_SECONDS = 600.0  # longer than a deck takes; a worker without decks has no child


class Newborn:
    """A child that waits for its PDF: `give`, then speak to `process`."""

    def __init__(self, process: asyncio.subprocess.Process, door: socket.socket) -> None:
        self.process = process
        self._door = door

    @classmethod
    async def spawn(cls) -> "Newborn":
        """Start one. Raises TaskRetry when it does not come up, which is no document's fault."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "reveille.render.child"),
                *(str(os.getpid()), str(theirs.fileno())),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                start_new_session=True,  # Ctrl-C is for the worker, which drains first
                limit=READ_BUFFER_BYTES,
            )
        except OSError as error:  # no memory, no descriptors, no interpreter
            ours.close()
            why = f"the render process did not start ({error.strerror})"
            raise TaskRetry("render_unavailable", why) from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, ours)

    @property
    def alive(self) -> bool:
        """Whether it can still be given a PDF, as far as is known."""
        return self.process.returncode is None

    def give(self, descriptor: int) -> None:
        """Hand the PDF over; the descriptor stays the caller's. A child that is gone is noticed when
        it is spoken to.
        """
        with self._door, suppress(OSError):
            socket.send_fds(self._door, [b"\0"], [descriptor])

    async def end(self) -> None:
        """It is not needed."""
        self._door.close()
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Spare:
    """Keeps one ready while documents are being opened."""

    def __init__(
        self, *, prepare_seconds: float = PREPARE_SECONDS, keep_seconds: float = KEEP_SECONDS
    ) -> None:
        self._prepare_seconds = prepare_seconds
        self._keep_seconds = keep_seconds
        self._ready: Newborn | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the next document need not wait for a child."""
        return self._ready is not None and self._ready.alive

    async def take(self) -> Newborn:
        """The one that is ready, else one that is started now. See Newborn.spawn."""
        newborn, self._ready = self._ready, None
        if self._keeping is not None:
            self._keeping.cancel()
        self._keeping = asyncio.create_task(self._keep(), name="spare render child")
        if newborn is not None:
            if newborn.alive:
                return newborn
            await newborn.end()
        return await Newborn.spawn()

    async def close(self) -> None:
        """No more of them."""
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping

    async def _keep(self) -> None:
        """Start one soon, and end it if nobody takes it."""
        await asyncio.sleep(self._prepare_seconds)
        try:
            newborn = await Newborn.spawn()
        except TaskRetry as error:  # the next document says so itself, if it is still so then
            log.warning("no_spare_render_child", error=error.error)
            return
        self._ready = newborn
        try:
            await asyncio.sleep(self._keep_seconds)
        finally:
            if self._ready is newborn:  # else it was taken
                self._ready = None
                await newborn.end()
