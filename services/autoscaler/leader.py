"""Who leads: a session advisory lock on the LISTEN connection, and an epoch that fences writes.

The lock says who may act and goes with the connection; the epoch makes a leader harmless that has
lost the lock and does not know it yet.
"""

import structlog

from autoscaler.ledger import Ledger
from reveille.channels import LEADER_KEY, LEADER_SPACE
from reveille.notifier import Notifier

log = structlog.get_logger(__name__)


class Leader:
    """This process's claim to lead."""

    def __init__(self, notifier: Notifier, ledger: Ledger, holder: str) -> None:
        self._notifier = notifier
        self._ledger = ledger
        self._holder = holder
        self._locked = False  # on the present connection
        self._leads = False
        notifier.on_connect(self._on_connect)

    async def _on_connect(self) -> None:
        self._locked = self._leads = False

    @property
    def leads(self) -> bool:
        """Whether this process may act, as far as it knows."""
        return self._leads and self._notifier.ready.is_set()

    async def try_to_lead(self) -> bool:
        """Take the lead unless somebody has it. Raises one of DATABASE_ERRORS."""
        if self.leads:
            return True
        if not self._notifier.ready.is_set():
            return False
        if not self._locked:
            self._locked = await self._notifier.try_lock(LEADER_SPACE, LEADER_KEY)
        if self._locked:
            epoch = await self._ledger.lead(self._holder)
            self._leads = True
            log.info("leading", epoch=epoch)
        return self.leads

    def step_down(self) -> None:
        """Somebody has a later epoch; stand again."""
        log.warning("deposed", epoch=self._ledger.epoch)
        self._leads = False
