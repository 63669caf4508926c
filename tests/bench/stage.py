"""Where a run takes place: one Postgres with its defaults, a database per contestant, processes."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
from tests.bench.contestants import Contestant
from tests.bench.slow_disk import FLUSH_MICROSECONDS, FLUSH_VARIABLE, slow_disk

from reveille.embedded import EmbeddedPostgres
from reveille.testing import with_database

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 10.0
STATEMENT_SECONDS_MAX = 300.0


class Worker:
    """A contestant's worker process. With `report` it writes a line for each task it starts."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self._log = log

    async def line(self, seconds_max: float = READY_SECONDS_MAX) -> str:
        """Its next line. Raises RuntimeError with the end of its log when there is none."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                line = await self.process.stdout.readline()
                if line:
                    return line.decode().strip()
        raise RuntimeError(f"a worker said nothing:\n{self._log.read_text()[-3000:]}")

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


class Stage:
    """`async with Stage(...)`: the server runs, databases come when they are first asked for."""

    def __init__(
        self, *, short: bool, scratch: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.short = short
        self.scratch = scratch
        self.postgres = EmbeddedPostgres(durable=True, trust=True, environment=environment)
        self._ready: dict[str, str] = {}
        self._log = scratch / "children.log"
        self._beside = AsyncExitStack()
        self._slow: Stage | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.postgres.start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._beside.aclose()
        await asyncio.to_thread(self.postgres.close)

    async def on_slow_disk(self) -> "Stage":
        """Another server, on a disk that takes a millisecond longer for each flush of the WAL."""
        if self._slow is None:
            library = self._beside.enter_context(slow_disk())
            self._slow = await self._beside.enter_async_context(
                Stage(
                    short=self.short,
                    scratch=self.scratch,
                    environment={
                        "LD_PRELOAD": str(library),
                        FLUSH_VARIABLE: str(FLUSH_MICROSECONDS),
                    },
                )
            )
        return self._slow

    async def dsn(self, contestant: Contestant) -> str:
        """The contestant's database, installed."""
        known = self._ready.get(contestant.name)
        if known is not None:
            return known
        contestant.check()
        dsn = await self._create(contestant, f"bench_{contestant.name.replace('-', '_')}")
        self._ready[contestant.name] = dsn
        return dsn

    async def _create(self, contestant: Contestant, name: str) -> str:
        admin = await asyncpg.connect(self.postgres.dsn)
        try:
            await admin.execute(f'CREATE DATABASE "{name}"')
        finally:
            await admin.close()
        dsn = with_database(self.postgres.dsn, name)
        await self._run_child(contestant, "install", dsn)
        return dsn

    async def another_database(self, contestant: Contestant, name: str) -> str:
        """One more database of this contestant, installed."""
        await self.dsn(contestant)
        return await self._create(contestant, f"bench_{name}")

    async def open_connection(self, contestant: Contestant) -> Any:
        """A plain connection to the contestant's database, to be closed by the caller."""
        dsn = await self.dsn(contestant)
        return await asyncpg.connect(dsn, command_timeout=STATEMENT_SECONDS_MAX)

    @asynccontextmanager
    async def connection_to(self, dsn: str) -> AsyncIterator[Any]:
        """The same to another database, for the length of a block."""
        connection = await asyncpg.connect(dsn, command_timeout=STATEMENT_SECONDS_MAX)
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def connection(self, contestant: Contestant) -> AsyncIterator[Any]:
        """The same for the length of a block."""
        connection = await self.open_connection(contestant)
        try:
            yield connection
        finally:
            await connection.close()

    async def empty(self, contestant: Contestant) -> None:
        """Take all tasks away: every case starts alike, and after a checkpoint."""
        async with self.connection(contestant) as connection:
            await connection.execute(contestant.empty_sql)
            await connection.execute("CHECKPOINT")

    async def _run_child(self, contestant: Contestant, verb: str, dsn: str) -> None:
        async with self._child(contestant, verb, dsn, {}) as worker:
            async with asyncio.timeout(READY_SECONDS_MAX):
                status = await worker.process.wait()
        if status:
            raise RuntimeError(f"{contestant.name} {verb}:\n{self._log.read_text()[-3000:]}")

    @asynccontextmanager
    async def workers(
        self, contestant: Contestant, number: int = 1, **options: Any
    ) -> AsyncIterator[Sequence[Worker]]:
        """`number` worker processes that listen. Options: slots, batch, report, other."""
        dsn = await self.dsn(contestant)
        started: list[Worker] = []
        try:
            for _ in range(number):
                worker = await self._start(contestant, "work", dsn, options)
                started.append(worker)  # at once: what has started is stopped, whatever comes next
            for worker in started:
                while await worker.line() != "ready":
                    pass
            yield started
        finally:
            await asyncio.gather(*(worker.stop() for worker in started))

    @asynccontextmanager
    async def _child(
        self, contestant: Contestant, verb: str, dsn: str, options: Mapping[str, Any]
    ) -> AsyncIterator[Worker]:
        worker = await self._start(contestant, verb, dsn, options)
        try:
            yield worker
        finally:
            await worker.stop()

    async def _start(
        self, contestant: Contestant, verb: str, dsn: str, options: Mapping[str, Any]
    ) -> Worker:
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *contestant.command,
                verb,
                dsn,
                json.dumps({**contestant.options, **options}),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        return Worker(process, self._log)


async def until_empty(connection: Any, contestant: Contestant, seconds_max: float) -> float:
    """Wait until no task is left; the time of the look that found none (monotonic)."""
    deadline = time.monotonic() + seconds_max
    while await connection.fetchval(contestant.remaining_sql):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{contestant.name}: tasks are left after {seconds_max:.0f} s")
        await asyncio.sleep(0.02)
    return time.monotonic()
