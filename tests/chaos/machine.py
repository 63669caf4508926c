"""What a run takes from the machine where it may: a disk that can be full, a network cable that can
be pulled, a clock that is wrong. `lacks` says in words what it did not get; those faults are missed.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

DISK_BYTES = 400 * 1024 * 1024  # an empty server needs 40 MB, its log the most of the rest
FILL_CHUNK_BYTES = 1024 * 1024
COMMAND_SECONDS_MAX = 20.0
CLOCK_SOURCE = Path(__file__).with_name("wrong_clock.c")


def _run(*command: str | Path) -> str:
    """Empty when it succeeded, else what went wrong."""
    program = shutil.which(str(command[0]))
    if program is None:
        return f"there is no {command[0]}"
    done = subprocess.run(
        [program, *command[1:]],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit {done.returncode}")


class SmallDisk:
    """A folder of DISK_BYTES and no more, for the database. `lacks` is set where the machine does
    not let us mount one: then `folder` is None.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.lacks = ""

    def open(self) -> None:
        """Mount it."""
        if os.geteuid() != 0:
            self.lacks = "a full disk needs root: mount"
            return
        folder = Path(tempfile.mkdtemp(prefix="reveille-chaos-disk-"))
        words = ("-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0755", "reveille-chaos")
        if trouble := _run("mount", *words, folder):
            folder.rmdir()
            self.lacks = f"no small disk: {trouble}"
        else:
            self.folder = folder

    def fill(self) -> None:
        """Use up every byte."""
        assert self.folder is not None
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            chunk = bytes(FILL_CHUNK_BYTES)
            while chunk:
                try:
                    filler.write(chunk)
                except OSError:
                    chunk = chunk[: len(chunk) // 2]

    def clear(self) -> None:
        """Give the space back."""
        if self.folder is not None:
            (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount and forget."""
        if self.folder is not None and not _run("umount", "-l", self.folder):
            self.folder.rmdir()


class Namespace:
    """A network namespace that is one cable away from this machine. Pulled out, the kernel on
    either side goes on sending into the void, as with a switch that lost its power.
    """

    def __init__(self) -> None:
        self.name = f"reveille-chaos-{os.getpid()}"
        self.lacks = ""
        self._near, self._far = f"rv{os.getpid()}a", f"rv{os.getpid()}b"
        number = os.getpid() % 16_000 * 4
        self.host = f"10.213.{number // 256}.{number % 256 + 1}"  # our end of the cable
        self._guest = f"10.213.{number // 256}.{number % 256 + 2}"

    @property
    def path(self) -> Path:
        """What setns(2) opens."""
        return Path("/run/netns", self.name)

    def open(self) -> None:
        """Make it and lay the cable."""
        if os.geteuid() != 0:
            self.lacks = "an unplugged cable needs root: network namespaces"
            return
        steps: Sequence[tuple[str, ...]] = (
            ("netns", "add", self.name),
            ("link", "add", self._near, "type", "veth", "peer", "name", self._far),
            ("link", "set", self._far, "netns", self.name),
            ("address", "add", f"{self.host}/30", "dev", self._near),
            ("link", "set", self._near, "up"),
            ("-n", self.name, "address", "add", f"{self._guest}/30", "dev", self._far),
            ("-n", self.name, "link", "set", self._far, "up"),
            ("-n", self.name, "link", "set", "lo", "up"),
        )
        for step in steps:
            if trouble := _run("ip", *step):
                self.close()
                self.lacks = f"no network namespace: {trouble}"
                return

    async def unplug(self, seconds: float) -> None:
        """Pull the cable, and put it back."""
        await asyncio.to_thread(_run, "ip", "link", "set", self._near, "down")
        try:
            await asyncio.sleep(seconds)
        finally:
            await asyncio.to_thread(_run, "ip", "link", "set", self._near, "up")

    def close(self) -> None:
        """Take it away; what still runs in it loses its network."""
        if os.geteuid() == 0:
            _run("ip", "link", "del", self._near)
            _run("ip", "netns", "del", self.name)


def wrong_clock_library(folder: Path) -> Path | None:
    """A library that sets a process's clock wrong, compiled into `folder`; None without a compiler
    (then the worker does it for Python's time.time alone).
    """
    library = folder / "wrong_clock.so"
    trouble = _run("cc", "-shared", "-fPIC", "-O1", "-o", library, CLOCK_SOURCE, "-ldl")
    return None if trouble else library
