"""Containers as child processes on this machine: the demo's provider, and for those with one GPU.

Each is `python -m <pool>_worker` in a session of its own with its output in a log file. A pid file
with the start time finds it again after the autoscaler was restarted; without `bound` it outlives
the autoscaler, with it (Linux) it gets SIGTERM when the autoscaler ends, even by SIGKILL.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers import launch
from autoscaler.providers.environment import WORKER_PREFIX, identity_and_own

LOG_TAIL_BYTES = 4096
KILL_SECONDS_MAX = 10.0
POLL_SECONDS = 0.1  # only where processes have no descriptors (macOS)

# Settings of the autoscaler that would be wrong for a worker.
NOT_INHERITED = frozenset({"REVEILLE_HTTP_PORT", "REVEILLE_SERVER_ID", "REVEILLE_CONTAINER_ID"})

Command = Callable[[ContainerSpec], Sequence[str]]


def worker_command(spec: ContainerSpec) -> Sequence[str]:
    """`python -m visual_worker`, by this interpreter."""
    return (sys.executable, "-m", f"{spec.pool}_worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a pid file says."""

    name: str
    pid: int
    started: str

    @property
    def runs(self) -> bool:
        """Whether this very process, not another of the same pid, runs."""
        return launch.identity_of(self.pid) == self.started


class ProcessProvider:
    """Processes whose pid files lie in `folder`."""

    can_start = True

    def __init__(
        self,
        folder: Path,
        *,
        command: Command = worker_command,
        environment: Mapping[str, str] | None = None,
        bound: bool = False,
        grace_seconds: float = 110.0,
    ) -> None:
        self._folder = folder
        self._command = command
        self._environment = os.environ if environment is None else environment
        self._bound = bound
        self._grace_seconds = grace_seconds
        self._exits: dict[int, str] = {}  # pid → how a child of ours ended

    async def create(self, spec: ContainerSpec) -> str:
        """Start the worker, unless it runs; its pid."""
        known = self._read(self._pid_file(spec.name))
        if known is not None and known.runs:
            return str(known.pid)
        # In this thread, and without awaiting: a bound child is bound to the thread that made it.
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            pid = self._spawn(spec)
            launch.write_identity(self._pid_file(spec.name), pid)
        except OSError as error:
            raise ProviderError(f"{spec.name} could not be started: {error}") from None
        return str(pid)

    def _spawn(self, spec: ContainerSpec) -> int:
        parent = os.getpid() if self._bound else 0
        pid_file = str(self._pid_file(spec.name))
        starter = [sys.executable, "-I", launch.__file__, pid_file, str(parent)]
        output = os.open(
            self._log_file(spec.name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            return os.posix_spawn(
                sys.executable,
                [*starter, *self._command(spec)],
                self._environment_of(spec),
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM),
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ),
            )
        finally:
            os.close(output)

    def _environment_of(self, spec: ContainerSpec) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self._environment.items()
            if name not in NOT_INHERITED and not name.startswith(WORKER_PREFIX)
        }
        return {
            **kept,
            **identity_and_own(self._environment, spec),
            "REVEILLE_HTTP_PORT": "0",
            "PYTHONUNBUFFERED": "1",
        }

    async def stop(self, name: str) -> None:
        """SIGTERM, and after the grace SIGKILL to the whole session."""
        process = self._read(self._pid_file(name))
        if process is not None and process.runs:
            self._signal(process, signal.SIGTERM)
            if not await self._ends(process, self._grace_seconds):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if not await self._ends(process, KILL_SECONDS_MAX):
                    raise ProviderError(f"{name} (pid {process.pid}) does not end")
        if process is not None:
            self._reap(process.pid)
            self._exits.pop(process.pid, None)
        self._pid_file(name).unlink(missing_ok=True)

    async def list(self) -> Sequence[ProviderContainer]:
        """Every process that has a pid file."""
        try:
            # Not glob: it takes a folder that cannot be read for an empty one.
            files = sorted(f for f in self._folder.iterdir() if f.suffix == ".pid")
        except FileNotFoundError:
            return ()  # nothing was started yet
        except OSError as error:
            raise ProviderError(f"{self._folder}: {error}") from None
        found = [process for file in files if (process := self._read(file)) is not None]
        return [self._describe(process) for process in found]

    async def close(self) -> None:
        """Nothing is held: processes that are not bound go on."""

    def _describe(self, process: Process) -> ProviderContainer:
        self._reap(process.pid)
        ref = str(process.pid)
        if process.runs:
            return ProviderContainer(name=process.name, ref=ref, state="running")
        detail = self._exits.get(process.pid, "")
        if "SIG" not in detail:  # who was killed had no time for last words
            detail = "; ".join(filter(None, (detail, self._last_words(process.name))))
        return ProviderContainer(name=process.name, ref=ref, state="exited", detail=detail)

    def _last_words(self, name: str) -> str:
        """The last line of its log: with luck, why it ended."""
        try:
            with self._log_file(name).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - LOG_TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def _pid_file(self, name: str) -> Path:
        return self._folder / f"{name}.pid"

    def _log_file(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _read(self, file: Path) -> Process | None:
        """None when there is none, or a broken one: whose process it was nobody can tell."""
        try:
            known = json.loads(file.read_text())
            return Process(name=file.stem, pid=int(known["pid"]), started=str(known["started"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _signal(self, process: Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)

    def _reap(self, pid: int) -> None:
        """Collect the exit status if it is a child of ours that ended."""
        with suppress(ChildProcessError):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                self._exits[pid] = (
                    f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"
                )

    async def _ends(self, process: Process, seconds: float) -> bool:
        """Whether it ends within `seconds`; told by the kernel, not by asking, where that goes."""
        try:
            async with asyncio.timeout(seconds):
                await _end_of(process)
        except TimeoutError:
            return not process.runs
        return True


async def _end_of(process: Process) -> None:
    if not hasattr(os, "pidfd_open"):
        while process.runs:  # noqa: ASYNC110 - nobody would set an event
            await asyncio.sleep(POLL_SECONDS)
        return
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return  # it has ended already
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        if process.runs:  # and not another one that got its pid meanwhile
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
