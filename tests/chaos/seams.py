"""What the suite puts into a service's process before the service begins."""

import ctypes
import os
import threading
import time
from pathlib import Path

SHIFT = "CHAOS_CLOCK_SHIFT_SECONDS"
PRELOADED = "LD_PRELOAD"
NAMESPACE = "CHAOS_NETWORK_NAMESPACE"
RUNNER = "CHAOS_RUNNER_PID"
LOOK_SECONDS = 0.5
CLONE_NEWNET = 0x40000000


def apply() -> None:
    """Clock, network, and an end with the runner's: containers outlive their autoscaler, but not
    the suite.
    """
    if namespace := os.environ.get(NAMESPACE):
        _enter(Path(namespace))
    shift_seconds = float(os.environ.get(SHIFT, "0"))
    if shift_seconds and not os.environ.get(PRELOADED):
        true_time = time.time
        time.time = lambda: true_time() + shift_seconds
    if runner := int(os.environ.get(RUNNER, "0")):
        threading.Thread(target=_end_with, args=(runner,), daemon=True).start()


def _enter(namespace: Path) -> None:
    with namespace.open() as entry:
        if ctypes.CDLL(None, use_errno=True).setns(entry.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def _end_with(runner: int) -> None:
    while Path(f"/proc/{runner}").exists() or not Path("/proc/self").exists():
        time.sleep(LOOK_SECONDS)
    os._exit(1)
