"""Processes of this machine: stand-ins for workers that tell their environment and wait."""

import asyncio
import json
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from autoscaler.provider import ContainerSpec, Provider
from autoscaler.providers import launch
from autoscaler.providers.process import ProcessProvider
from reveille.testing import eventually

WORKER = textwrap.dedent("""
    import os, signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    told = [f"{k}={v}" for k, v in os.environ.items() if k.startswith("REVEILLE_")]
    print("life", os.getpid(), *told, "up", flush=True)
    while True: signal.pause()
""")


class ProcessWorld:
    """Pid files and logs in one folder."""

    restarts_ended = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._strangers: list[asyncio.subprocess.Process] = []

    def open(self) -> Provider:
        """Processes outlive it, as they do in an installation."""

        def command(_: ContainerSpec) -> Sequence[str]:
            return (sys.executable, "-c", WORKER)

        return ProcessProvider(self._folder, command=command)

    async def until_running(self, name: str) -> None:
        """Its worker has said so, in its present life."""
        await eventually(lambda: name in self._up())

    async def running(self) -> set[str]:
        """By their pid files, and the strangers."""
        return self._up() | {f"stranger-{p.pid}" for p in self._strangers if p.returncode is None}

    async def environment(self, name: str) -> Mapping[str, str]:
        """As the worker printed it."""
        return dict(word.split("=", 1) for word in self._words(name) if "=" in word)

    async def end(self, name: str) -> None:
        """It is killed."""
        os.kill(self._alive()[name], signal.SIGKILL)
        await eventually(lambda: name not in self._alive())

    async def add_foreign(self, name: str) -> None:
        """Another program, without a pid file of ours."""
        stranger = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, name, stdout=-3
        )
        self._strangers.append(stranger)

    async def break_down(self) -> None:
        """A file stands where the folder was."""
        self._folder.rename(self._folder.with_suffix(".away"))
        self._folder.write_text("")

    async def clear(self) -> None:
        """Nothing outlives the test."""
        for stranger in self._strangers:
            stranger.kill()
            await stranger.wait()
        folder = self._folder if self._folder.is_dir() else self._folder.with_suffix(".away")
        left = ProcessProvider(folder, grace_seconds=0.01)
        await asyncio.gather(*(left.stop(file.stem) for file in folder.glob("*.pid")))

    def _alive(self) -> dict[str, int]:
        """Pids by name, read from the pid files without the provider's help."""
        pids = {f.stem: json.loads(f.read_text())["pid"] for f in self._folder.glob("*.pid")}
        return {name: pid for name, pid in pids.items() if launch.identity_of(pid) is not None}

    def _up(self) -> set[str]:
        return {
            name
            for name, pid in self._alive().items()
            if (words := self._words(name)) and words[0] == str(pid) and words[-1] == "up"
        }

    def _words(self, name: str) -> list[str]:
        """What the latest life has printed, its pid first."""
        file = self._folder / f"{name}.log"
        return file.read_text().rpartition("life")[2].split() if file.exists() else []


@asynccontextmanager
async def process_world(folder: Path) -> AsyncIterator[ProcessWorld]:
    """Processes that are gone when the block ends."""
    world = ProcessWorld(folder / "run")
    (folder / "run").mkdir()
    try:
        yield world
    finally:
        await world.clear()
