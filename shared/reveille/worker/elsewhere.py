"""Tasks that stalled here, to be tried elsewhere: a GPU or a model server that hangs would hang with
them again. While another active server takes their type, this one passes them over.

Kept in memory, so that a claim costs nothing more where nothing stalled. It can make a task late and
never strand it: a task that nobody else took within 30 seconds, or that nobody else could take, is claimed
here again (`sql/claim_above.sql`), at a heartbeat at the latest; and a restart forgets.
"""

import time

from reveille.outcome import Retry
from reveille.store import End

STALLED = "stalled"
PASSED_OVER_SECONDS = 60.0  # more than the 30 of the statement, which alone knows when they began
TASKS_MAX = 64


class Elsewhere:
    """`backoff_seconds_max`: how long after its end a task may come back."""

    def __init__(self, backoff_seconds_max: float) -> None:
        self._kept_seconds = backoff_seconds_max + PASSED_OVER_SECONDS
        self._until: dict[int, float] = {}  # monotonic, by task, the oldest first

    def __bool__(self) -> bool:
        return bool(self._until)

    def ended(self, end: End) -> None:
        """An attempt is over."""
        if not isinstance(end.outcome, Retry) or end.outcome.reason != STALLED:
            return
        self._until.pop(end.claim.task_id, None)
        self._until[end.claim.task_id] = time.monotonic() + self._kept_seconds
        if len(self._until) > TASKS_MAX:
            del self._until[next(iter(self._until))]

    def tasks(self) -> list[int]:
        """Those that are left to others for now."""
        now = time.monotonic()
        for task_id in [task_id for task_id, until in self._until.items() if until < now]:
            del self._until[task_id]
        return list(self._until)
