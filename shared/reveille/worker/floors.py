"""Where looks begin. While somebody keeps an old snapshot open (a long report, a dump, a forgotten
session) vacuum may not remove the rows of tasks that were claimed, and every look would walk over
all of them: 1 ms for each thousand, until claiming takes longer than the work.

So a worker whose looks have become slow begins them at floors, an id for each task type and priority.
Two things raise a floor: a survey, which walks over everything, finds the lowest id that can be claimed,
and may take a tenth of the time; and claims, which take the lowest. Both count only after a while, when a
transaction that was under way has committed its lower id or never will.

A floor only leaves out; so it can make nothing wrong, but late: a task that becomes claimable below it (a
retry, a dependent, a commit that took very long) waits for the next survey, which lowers the floor. Every
look brings one about, and while floors are in force there is a look every ten seconds.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.task import Claim

log = structlog.get_logger(__name__)

SLOW_SECONDS = 0.01  # a look over ten thousand dead rows; without any it takes 0.5 ms
SLOW_SURVEYS = 3  # in a row: a busy machine makes one slow now and then
PAUSE_SECONDS_MIN = 0.5
PAUSE_FACTOR = 10.0
SETTLED_SECONDS = 1.0  # until a claim raises a floor
LOOK_SECONDS = 10.0  # as often as the heartbeat sees after it elsewhere

Key = tuple[str, int]  # task type and priority


class Floors:
    """`in_force` is empty while looks are fast. `look` is called when a survey has found something below
    what was in force, when nothing is in force any more, and when nobody has looked for a while.
    """

    def __init__(
        self,
        survey: Callable[[], Awaitable[Mapping[Key, int]]],
        *,
        look: Callable[[], None],
    ) -> None:
        self._survey = survey
        self._look = look
        self.in_force: dict[Key, int] = {}
        self._slow_surveys = 0
        self._found: Mapping[Key, int] = {}  # by the last one
        self._claimed: deque[tuple[float, Key, int]] = deque()  # the lowest of each look, monotonic
        self._due_at = 0.0  # monotonic
        self._wanted = False
        self._surveying: asyncio.Task[None] | None = None
        self._next_look: asyncio.TimerHandle | None = None

    def looked(self, seconds: float, claims: Sequence[Claim]) -> None:
        """A look took so long and found these; brings a survey about where that helps."""
        if self.in_force:
            self._raise_by_claims(claims)
            self._look_again_in(LOOK_SECONDS)
        elif not self._slow_surveys and seconds < SLOW_SECONDS:
            return
        self._wanted = True
        if self._surveying is None:
            self._surveying = asyncio.create_task(self._survey_while_wanted(), name="surveys")

    def stop(self) -> None:
        """No survey and no look any more."""
        self._look_again_in(None)
        if self._surveying is not None:
            self._surveying.cancel()
            self._surveying = None

    def _look_again_in(self, seconds: float | None) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if seconds is not None:
            self._next_look = asyncio.get_running_loop().call_later(seconds, self._look)

    def _raise_by_claims(self, claims: Sequence[Claim]) -> None:
        now = time.monotonic()
        lowest: dict[Key, int] = {}
        for claim in claims:
            key = claim.task_type, claim.priority
            lowest[key] = min(claim.task_id, lowest.get(key, claim.task_id))
        self._claimed.extend((now, key, task_id) for key, task_id in lowest.items())
        while self._claimed and self._claimed[0][0] < now - SETTLED_SECONDS:
            _, key, task_id = self._claimed.popleft()
            self.in_force[key] = max(self.in_force.get(key, 0), task_id)

    async def _survey_while_wanted(self) -> None:
        while self._wanted:
            await asyncio.sleep(max(0.0, self._due_at - time.monotonic()))
            self._wanted = False  # a look from here on may miss what this survey misses too
            began = time.monotonic()
            try:
                found = await self._survey()
            except DATABASE_ERRORS as error:
                log.warning("survey_failed", error=str(error) or type(error).__name__)
                found = None
            took = time.monotonic() - began
            self._due_at = time.monotonic() + max(PAUSE_SECONDS_MIN, PAUSE_FACTOR * took)
            if found is None or took < SLOW_SECONDS:
                self._forget()
            else:
                self._apply(found)
        self._surveying = None

    def _forget(self) -> None:
        had_floors = bool(self.in_force)
        self._slow_surveys = 0
        self._found, self.in_force = {}, {}
        self._claimed.clear()
        if had_floors:
            log.info("looks_from_the_beginning_again")
            self._look_again_in(None)
            self._look()  # something below them may have been left out

    def _apply(self, found: Mapping[Key, int]) -> None:
        before, self._found = self._found, found
        self._slow_surveys += 1
        if self._slow_surveys < SLOW_SURVEYS:
            return
        if not self.in_force:
            log.info(
                "looks_begin_late", hint="does an old snapshot hold vacuum back? reveille doctor"
            )
            self._look_again_in(LOOK_SECONDS)
        lower = [key for key, lowest in found.items() if lowest < self.in_force.get(key, 0)]
        for key, lowest in found.items():
            settled = min(lowest, before.get(key, 0))
            self.in_force[key] = lowest if key in lower else max(self.in_force.get(key, 0), settled)
        if lower:
            self._claimed.clear()  # what was claimed before does not speak for what lies below
            self._look()
