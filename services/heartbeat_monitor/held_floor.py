"""From where a look asks what is being worked on. Beside an old snapshot vacuum may not remove the rows
that were held once, and each look would walk over all of them: 0.4 s for 600,000, twice what the five
seconds to another attempt leave room for.

Lease tokens grow with each claim. So a monitor whose looks have become slow begins them at the lowest
token that was held when it looked before; which counts only when all transactions of that moment have
ended, for one of them may have claimed with a lower one, which is then the floor. Now and then it looks
at everything again: somebody may have written an old token into a row by hand.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

SLOW_SECONDS = 0.02  # with nothing to walk over a look takes 1 or 2 ms
WHOLE_SECONDS = 60.0  # between looks at everything


@dataclass(frozen=True, slots=True)
class _Candidate:
    token: int
    horizon: int  # transactions that were under way have ids below it


class HeldFloor:
    """`horizon` is asked for the id of a transaction that begins now."""

    def __init__(self, horizon: Callable[[], Awaitable[int]]) -> None:
        self._horizon = horizon
        self._token = 0
        self._candidate: _Candidate | None = None
        self._whole = True  # the look that is under way
        self._whole_due_at = 0.0  # monotonic

    def floor(self) -> int:
        """The lease token from which the next look asks; 0 for everything."""
        self._whole = time.monotonic() >= self._whole_due_at
        return 0 if self._whole else self._token

    @property
    def whole_in_seconds(self) -> float:
        """Until the next look has to be at everything; infinite while none leaves anything out."""
        return max(0.0, self._whole_due_at - time.monotonic()) if self._token else float("inf")

    async def looked(
        self, seconds: float, first_token: int | None, oldest_transaction: int
    ) -> None:
        """A look from `floor()` on took so long, found this token as the lowest that is held, and was
        taken while no older transaction was under way. Raises one of DATABASE_ERRORS.
        """
        if self._whole:
            if seconds < SLOW_SECONDS:
                self._token, self._candidate = 0, None
                return
            self._whole_due_at = time.monotonic() + WHOLE_SECONDS
            self._token = _lowest(self._token, first_token)
        if self._candidate is not None and oldest_transaction >= self._candidate.horizon:
            self._token, self._candidate = _lowest(self._candidate.token, first_token), None
        if self._candidate is None and first_token is not None and first_token > self._token:
            self._candidate = _Candidate(first_token, await self._horizon())


def _lowest(floor: int, first_token: int | None) -> int:
    return floor if first_token is None else min(floor, first_token)
