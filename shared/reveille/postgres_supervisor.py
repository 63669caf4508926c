"""Stands between one process and the Postgres it started, so that neither outlives its owner.

Run by path, on the standard library alone, with USER FOLDER COMMAND…
  USER     the account Postgres runs as, empty for the caller's own
  FOLDER   what to remove once the owner has died, empty to keep everything

The owner holds the other end of standard input. Its death, by whatever signal, is the end of that
pipe; nothing else is as sure: `finally` does not run on SIGKILL, a parent-death signal follows the
thread that forked and does not exist on macOS. An owner that lives on writes a word before it
closes the pipe. The pid of Postgres goes to standard output.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from types import FrameType

PR_SET_PDEATHSIG = 1  # linux/prctl.h
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT  # what Postgres makes of the two
FAST_SECONDS, IMMEDIATE_SECONDS = 10.0, 5.0


def die_with_parent() -> Callable[[], None] | None:
    """For the child, between fork and exec: covers the death of this process itself (Linux)."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(FAST))
        if os.getppid() != parent:  # died before the line above
            os._exit(1)

    return prepare


def stop(postgres: subprocess.Popen[bytes]) -> None:
    """Ask kindly, then firmly, then not at all."""
    for order, patience in ((FAST, FAST_SECONDS), (IMMEDIATE, IMMEDIATE_SECONDS)):
        postgres.send_signal(order)
        try:
            postgres.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return
    postgres.kill()


def main(user: str, folder: str, *command: str) -> int:
    """Run `command` until it ends or the owner does; its exit status."""
    postgres = subprocess.Popen(  # noqa: S603 - the owner's own words
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        user=user or None,
        group=None if not user else group_of(user),
        extra_groups=None if not user else [],
        preexec_fn=die_with_parent(),  # noqa: PLW1509 - no thread runs yet
    )
    owner_died = threading.Event()

    def watch() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            owner_died.set()
        stop(postgres)

    def on_terminate(_signal: int, _frame: FrameType | None) -> None:
        postgres.send_signal(FAST)

    signal.signal(signal.SIGTERM, on_terminate)
    threading.Thread(target=watch, daemon=True).start()
    sys.stdout.write(f"{postgres.pid}\n")
    sys.stdout.flush()
    status = postgres.wait()
    if owner_died.is_set() and folder:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def group_of(user: str) -> int:
    """The primary group of an account."""
    import pwd

    return pwd.getpwnam(user).pw_gid


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
