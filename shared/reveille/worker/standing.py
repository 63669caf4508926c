"""Whether this worker takes work, and if not, why: what its row says, its health page, and its own
turns go by.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from reveille.database import DATABASE_ERRORS
from reveille.store import Registration, Store
from reveille.worker.claim_trouble import ClaimTrouble


class Standing:
    """`registration` and `draining` are written by the membership, `not_ready_because` and
    `in_service` by the model watch, `claim_trouble` by the turns.
    """

    def __init__(self, store: Store, stopping: asyncio.Event) -> None:
        self._store = store
        self._stopping = stopping
        self.registration: Registration | None = None
        self.draining = False  # the server's row says so, or SIGTERM
        self.in_service = asyncio.Event()
        self.not_ready_because: str | None = "loading models"
        self.claim_trouble = ClaimTrouble()
        self._announcing: asyncio.Task[None] | None = None

    @property
    def accepting(self) -> bool:
        """Whether it may claim now."""
        return (
            self.registration is not None
            and self.in_service.is_set()
            and not self.draining
            and not self._stopping.is_set()
        )

    @property
    def status(self) -> str:
        """What the server's row should say while nothing drains it."""
        in_service = self.in_service.is_set() and self.claim_trouble.reason is None
        return "active" if in_service else "starting"

    async def announce(self) -> None:
        """Let the server's row say whether it takes work, and if not, why."""
        await self.say(self.status, self.not_ready_because or self.claim_trouble.reason)

    def announce_soon(self) -> None:
        """The same, without waiting for it."""
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self.announce(), name="announce")

    async def say(self, status: str, reason: str | None) -> None:
        """Write a status into the row, if the database takes it; a drain is not taken back."""
        if self.registration is None or (self.draining and status != "draining"):
            return
        with suppress(*DATABASE_ERRORS):
            await self._store.set_status(self.registration, status, reason)

    def problems(self) -> Mapping[str, str]:
        """What keeps it from working, by part, for its health page."""
        wrong: dict[str, str] = {}
        if not self.in_service.is_set():
            wrong["model"] = self.not_ready_because or "the model server is not ready"
        if self.claim_trouble.reason is not None:
            wrong["claim"] = self.claim_trouble.reason
        if self.draining or self._stopping.is_set():
            wrong["drain"] = "draining"
        return wrong
