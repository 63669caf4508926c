"""Ends of attempts that could not be settled as part of a turn, settled one by one beside it.

A turn is one transaction for all: without this a task whose row somebody keeps locked would hold
up the ends of all others, and results that the database refuses would be sent for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Generic, TypeVar

import asyncpg
import structlog

from reveille.database import DATABASE_ERRORS
from reveille.outcome import Retry
from reveille.store import End

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.5
ERROR_CHARS_MAX = 1000
# What another try will meet again: values out of range, of the wrong type, against a constraint.
REFUSALS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.RaiseError,
)
HELD_UP = (asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)

K = TypeVar("K")


def is_about_an_end(error: BaseException) -> bool:
    """Whether one of the ends is to blame, so that the others should go without it."""
    return isinstance(error, (*REFUSALS, *HELD_UP))


class StuckEnds(Generic[K]):
    """Takes ends by a key of the owner's and calls `on_settled(key, end, status)` for each in the
    end; status None: the lease was gone.
    """

    def __init__(
        self,
        settle: Callable[[Sequence[End]], Awaitable[Mapping[int, str]]],
        on_settled: Callable[[K, End, str | None], None],
    ) -> None:
        self._settle = settle
        self._on_settled = on_settled
        self._ends: asyncio.Queue[tuple[K, End]] = asyncio.Queue()

    def add(self, key: K, end: End) -> None:
        """One more."""
        self._ends.put_nowait((key, end))

    async def run(self) -> None:
        """Settle what comes, until cancelled."""
        while True:
            key, end = await self._ends.get()
            try:
                settled = await self._settle([end])
            except DATABASE_ERRORS as error:
                log.warning("end_not_settled", task_id=end.claim.task_id, error=str(error))
                self.add(key, _without_what_was_refused(end, error))
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self._on_settled(key, end, settled.get(end.claim.task_id))


def _without_what_was_refused(end: End, error: BaseException) -> End:
    if not isinstance(error, REFUSALS):
        return end
    said = f"the database refused the results: {error}"[:ERROR_CHARS_MAX]
    return replace(end, outcome=Retry(reason="results_refused", error=said))
