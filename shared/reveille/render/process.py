"""Life and death of a render child, seen from the worker: start, ask, kill, and what its end means.

One request is under way at a time. A caller that is cancelled leaves its request to finish in the
background, so that the pipe stays in step; closing kills the child whatever it is doing. After the
first failure the child is gone, and every later request raises the same error.
"""

import asyncio
import signal
from contextlib import suppress
from typing import Any

from reveille.errors import ReveilleError, TaskRejected, TaskRetry
from reveille.plain_text import clean
from reveille.render import frames
from reveille.render.limits import DocumentLimits, over_limit
from reveille.render.newborn import READ_BUFFER_BYTES, Newborn, Spare

REFUSALS = frozenset(
    {"not_a_pdf", "damaged_pdf", "encrypted_pdf", "no_pages", "render_failed", "render_memory"}
)
ERROR_CHARS_MAX = 300
BURY_SECONDS_MAX = 5.0  # from its SIGKILL to its end; a slot waits for it
START_SECONDS_MAX = 60.0  # 0.2 s on an idle machine


class DocumentClosed(ReveilleError):
    """The document was closed while, or before, a page was asked for."""


class RenderProcess:
    """The child that has one PDF open."""

    def __init__(self, process: asyncio.subprocess.Process, limits: DocumentLimits) -> None:
        self._process = process
        self._limits = limits
        self._turn = asyncio.Lock()  # held from a request's first byte to its reply's last
        self._exchanges: set[asyncio.Task[tuple[dict[str, Any], bytes]]] = set()
        self._burying = asyncio.Lock()
        self._error: ReveilleError | None = None  # written once, by _fail or close

    @classmethod
    async def start(
        cls, descriptor: int, limits: DocumentLimits, spare: Spare | None = None
    ) -> "RenderProcess":
        """A child that will read the PDF from `descriptor`, which stays the caller's.

        Raises TaskRetry when it does not come up, which is no document's fault.
        """
        newborn = await (spare.take() if spare is not None else Newborn.spawn())
        newborn.give(descriptor)
        child = cls(newborn.process, limits)
        try:
            await child._introduce(limits.model_dump())
        except BaseException:
            await child.close()
            raise
        return child

    async def _introduce(self, settings: dict[str, Any]) -> None:
        """Send the settings and wait until the child is ready; its start is not on the PDF's time."""
        try:
            self._write(settings)
            async with asyncio.timeout(START_SECONDS_MAX):
                await frames.receive(_pipe(self._process.stdout))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError, frames.FrameError):
            code = await self._kill()
            error = f"the render process did not start (exit code {code})"
            raise TaskRetry("render_unavailable", error) from None

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    async def ask(self, request: dict[str, Any], *, about: str) -> tuple[dict[str, Any], bytes]:
        """Send a request and return its reply; `about` names the page in errors.

        Raises TaskRejected for what the PDF is to blame for, TaskRetry when somebody killed the
        child, DocumentClosed after or during close().
        """
        exchange = asyncio.create_task(self._exchange(request, about))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._forget)
        return await asyncio.shield(exchange)

    async def close(self) -> None:
        """Kill the child and wait until it is gone. May be called twice."""
        if self._error is None:
            self._error = DocumentClosed("the document is closed")
        self._end()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._kill()

    async def _exchange(self, request: dict[str, Any], about: str) -> tuple[dict[str, Any], bytes]:
        seconds = self._limits.render_seconds_max
        async with self._turn:
            if self._error is not None:
                raise self._error
            try:
                self._write(request)
                async with asyncio.timeout(seconds):
                    message, raw = await frames.receive(_pipe(self._process.stdout))
            except TimeoutError:
                error = TaskRejected("render_timeout", f"{about} took over {seconds:g} s")
                raise await self._fail(error) from None
            except (asyncio.IncompleteReadError, ConnectionError):
                raise await self._fail(None, about) from None
            except frames.FrameError as frame_error:
                error = TaskRejected("render_failed", f"{about}: {frame_error}")
                raise await self._fail(error) from None
            if "refused" in message:
                raise await self._fail(self._refusal(message, about))
            return message, raw

    def _write(self, message: dict[str, Any]) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing():
            raise ConnectionResetError("the render process is gone")
        stdin.write(frames.encode(message))

    async def _fail(self, error: ReveilleError | None, about: str = "") -> ReveilleError:
        """Kill the child and remember why; an error decided earlier (a close) stays."""
        code = await self._kill()
        if self._error is None:
            self._error = error or self._obituary(code, about)
        return self._error

    def _end(self) -> None:
        if self._process.returncode is None and not _pipe(self._process.stdout).at_eof():
            self._process.kill()

    async def _kill(self) -> int:
        """The exit code. Called by one at a time, and by nobody while a reply is awaited."""
        self._end()
        async with self._burying:
            try:
                async with asyncio.timeout(BURY_SECONDS_MAX):
                    # asyncio 3.11 counts a process as ended when its pipes are, and a pipe of which
                    # nobody reads is paused before its end.
                    while await _pipe(self._process.stdout).read(READ_BUFFER_BYTES):
                        pass
                    code = await self._process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    self._process.kill()  # it closed its pipe and lives, or the kernel holds it
                code = -signal.SIGKILL
            if self._process.stdin is not None:
                self._process.stdin.close()
            return code

    def _obituary(self, code: int, about: str) -> ReveilleError:
        if code == -signal.SIGXCPU:
            seconds = self._limits.render_seconds_max
            return TaskRejected("render_timeout", f"{about} took over {seconds:g} s")
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            # Not by us: the kernel short of memory, or an operator. Another attempt may succeed.
            return TaskRetry("render_killed", f"{about}: the render process was killed")
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return TaskRejected("render_failed", f"{about}: the render process died ({how})")

    def _refusal(self, message: dict[str, Any], about: str) -> ReveilleError:
        reason, limit = str(message["refused"]), str(message.get("limit"))
        if reason == "over_limit" and limit in DocumentLimits.model_fields:
            actual = clean(str(message.get("actual")))[:ERROR_CHARS_MAX]
            unit = clean(str(message.get("unit")))[:ERROR_CHARS_MAX]
            return over_limit(limit, maximum=getattr(self._limits, limit), actual=actual, unit=unit)
        said = clean(str(message.get("error")))[:ERROR_CHARS_MAX]
        if reason == "render_memory":
            megabytes = self._limits.memory_bytes_max / 1024**2
            said = f"needs more than memory_bytes_max ({megabytes:.0f} MiB)"
        return TaskRejected(reason if reason in REFUSALS else "render_failed", f"{about}: {said}")

    def _forget(self, exchange: asyncio.Task[tuple[dict[str, Any], bytes]]) -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # seen: who asked may have left


def _pipe(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise ConnectionResetError("the render process has no pipe")
    return stream
