"""Child processes that do not outlive their parent, whatever kills it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


class Child:
    """A running `python -m …` and its log file. Ended by `stop`, by the parent's death, or by
    itself.
    """

    def __init__(self, name: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
        self.name = name
        self.process = process
        self.log_path = log_path

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def stop(self, *, wait_seconds: float) -> int:
        """SIGTERM, wait, SIGKILL if need be; the exit code."""
        self.ask_to_stop()
        try:
            return self.process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, without waiting."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def log_tail(self, lines_max: int = 20) -> str:
        """The end of its log, for an error message."""
        with suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines_max:])
        return ""


def start_module(
    module: str,
    *arguments: str,
    environment: Mapping[str, str],
    log_path: Path,
    name: str | None = None,
) -> Child:
    """Start `python -m module` with its output in `log_path`, in a process group of its own.

    A Ctrl-C at the terminal reaches the parent alone, which then stops its children in order.
    """
    command: Sequence[str] = (sys.executable, "-m", module, *arguments)
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own modules, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
        )
    return Child(name or module, process, log_path)


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child between fork and exec: the kernel sends SIGTERM when the parent is gone."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
