"""A place for one service process, and what an end that no fault explains leaves behind."""

import os
import signal
from dataclasses import dataclass

from tests.chaos.proxy import Proxy

from reveille.processes import Child


@dataclass(frozen=True, slots=True, kw_only=True)
class Collapse:
    """A service that ended by itself."""

    slot: str
    code: int
    log_end: str


class Slot:
    """A place for one service process. `asked` is set while a fault means it to end."""

    def __init__(self, name: str, proxy: Proxy) -> None:
        self.name = name
        self.proxy = proxy
        self.child: Child | None = None
        self.starts = 0
        self.asked = False
        self.frozen = False
        self.was_frozen = False  # this process, at some time

    @property
    def pid(self) -> int | None:
        """The process that runs here now."""
        return self.child.process.pid if self.child is not None and self.child.alive else None

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False when nobody is there."""
        pid = self.pid
        if pid is None:
            return False
        if number in (signal.SIGTERM, signal.SIGKILL):
            self.asked = True
        self.frozen = (self.frozen and number != signal.SIGCONT) or number == signal.SIGSTOP
        self.was_frozen = self.was_frozen or self.frozen
        os.kill(pid, number)
        return True
