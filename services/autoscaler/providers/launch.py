"""The first moment of a child process: it says who it is, then becomes the worker.

Run as a file, so that nothing is imported but the standard library. Arguments: the pid file, the
parent's pid to be bound to (0: to nobody), the command. Writing the pid file here, before the
worker exists, leaves no moment in which a process runs that nobody could find again.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def identity_of(pid: int) -> str | None:
    """When the process `pid` was started, in its machine's words; None when it has ended.

    With the pid it names one process for ever: pids are used again, pairs are not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _identity_by_ps(pid)
    state, started = fields[0], fields[19]
    return None if state in {"Z", "X"} else started


def _identity_by_ps(pid: int) -> str | None:
    import subprocess  # macOS has no /proc

    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(maxsplit=1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


def write_identity(pid_file: Path, pid: int) -> None:
    """Write the pid file as a whole or not at all."""
    draft = pid_file.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"pid": pid, "started": identity_of(pid)}))
    draft.replace(pid_file)


def bind_to(parent: int) -> None:
    """Get SIGTERM when the parent ends, however it ends. Linux only; elsewhere nothing binds."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(1)


def main(arguments: list[str]) -> None:
    """Never returns."""
    pid_file, parent, *command = arguments
    write_identity(Path(pid_file), os.getpid())
    if int(parent):
        bind_to(int(parent))
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
