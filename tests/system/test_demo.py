"""`reveille demo` as a person starts it: in any folder, to its end or until Ctrl-C, and nothing is left
behind.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from reveille.testing import eventually

MARK = "REVEILLE_TEST_DEMO"
COMMAND = (sys.executable, "-c", "from reveille.cli import main; main()")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="processes are found by /proc"
)


class Started:
    """A command in a session of its own; whatever comes of it bears its mark."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._mark = f"{MARK}={uuid4().hex}"
        name, _, value = self._mark.partition("=")
        environment = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
        self.log_path = folder / "said"
        with self.log_path.open("wb") as said:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=folder,
                env={**environment, name: value, "COLUMNS": "60"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def interrupt(self) -> None:
        """Ctrl-C reaches the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def said(self) -> str:
        return self.log_path.read_text(errors="replace")

    def living(self) -> list[int]:
        """Every process that has inherited the mark."""
        return [int(path.name) for path in Path("/proc").iterdir() if self._bears_mark(path)]

    def _bears_mark(self, path: Path) -> bool:
        try:
            return path.name.isdigit() and self._mark.encode() in (path / "environ").read_bytes()
        except OSError:  # it ended meanwhile, or is somebody else's
            return False

    async def ended(self) -> int:
        """Its exit status, when it and all that it started are gone."""
        code = await asyncio.to_thread(self.process.wait, 90)
        await eventually(lambda: not self.living(), within_seconds=10)
        return code


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a name that a shell would split; Postgres, which is never root, may enter it."""
    with tempfile.TemporaryDirectory(prefix="a folder's ", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


async def test_demo_shows_a_decks_results_and_leaves_nothing(folder: Path) -> None:
    """The first thing that anybody runs; nothing it prints is wider than the terminal."""
    demo = Started(folder, "demo")
    assert await demo.ended() == 0, demo.said()
    said = demo.said()
    assert "all tasks completed" in " ".join(said.split())
    assert max(map(len, said.splitlines())) <= 60, said


async def test_ctrl_c_ends_everything_that_was_started(folder: Path) -> None:
    """Postgres, services, workers in the middle of a task."""
    demo = Started(folder, "demo")
    await eventually(
        lambda: "startup_name_extraction" in demo.said() or demo.process.poll() is not None,
        within_seconds=60,
    )
    assert len(demo.living()) > 3, demo.said()
    demo.interrupt()
    assert await demo.ended() == 130
    assert "Traceback" not in demo.said()


async def test_demo_that_is_killed_leaves_nothing_for_long(folder: Path) -> None:
    """SIGKILL of the one process a person sees: its workers notice, busy or not, and do not linger."""
    demo = Started(folder, "demo")
    await eventually(
        lambda: "startup_name_extraction" in demo.said() or demo.process.poll() is not None,
        within_seconds=60,
    )
    assert len(demo.living()) > 3, demo.said()
    demo.process.kill()
    demo.process.wait()
    await eventually(lambda: not demo.living(), within_seconds=30)
