"""The advisory lock that says "this process lives": held by the LISTEN connection, gone with it.

The monitor looks for it, and so learns of a killed process at once. The lock's key belongs to the
server's row; whoever registers under the same id must have it first.
"""

import asyncio
from contextlib import suppress

import structlog

from reveille.channels import PRESENCE_SPACE
from reveille.database import DATABASE_ERRORS
from reveille.errors import ServerIdTaken
from reveille.notifier import Notifier

log = structlog.get_logger(__name__)

TRIES = 30
PAUSE_SECONDS = 0.1
RETAKE_SECONDS = 0.5  # well below the monitor's grace


class Presence:
    """Takes the lock, and takes it again when the connection had to be replaced."""

    def __init__(self, notifier: Notifier, server_id: str) -> None:
        self._notifier = notifier
        self._server_id = server_id
        self._retaking: asyncio.Task[None] | None = None

    async def take(self, key: int) -> None:
        """Raises ServerIdTaken, or one of DATABASE_ERRORS."""
        for _ in range(TRIES):  # a predecessor that was just killed may linger for a moment
            if await self._notifier.try_lock(PRESENCE_SPACE, key):
                return
            await asyncio.sleep(PAUSE_SECONDS)
        raise ServerIdTaken(
            f"another live process is registered as {self._server_id}: "
            "give each its own REVEILLE_SERVER_ID"
        )

    def retake(self, key: int) -> None:
        """After a reconnection: keep trying until the lock is ours again.

        The old connection, half-open, may hold it for a minute more and then let go of it; by
        then it must be ours, for a lock that nobody holds looks like a death.
        """
        self.stop_retaking()
        self._retaking = asyncio.create_task(self._retake(key), name="presence")

    def stop_retaking(self) -> None:
        """The registration is over."""
        if self._retaking is not None:
            self._retaking.cancel()
            self._retaking = None

    async def _retake(self, key: int) -> None:
        with suppress(*DATABASE_ERRORS):  # the connection broke: the next one tries again
            while not await self._notifier.try_lock(PRESENCE_SPACE, key):
                log.warning("presence_not_retaken", server_id=self._server_id)
                await asyncio.sleep(RETAKE_SECONDS)
