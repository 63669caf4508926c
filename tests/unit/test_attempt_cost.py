"""What an attempt costs a worker in Python, counted, not timed: the same on every machine."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType, SimpleNamespace
from typing import Any

from reveille.outcome import Done, Outcome
from reveille.settings import WorkerSettings
from reveille.store import End, Registration, Turn
from reveille.task import Claim
from reveille.telemetry import configure
from reveille.worker import WorkerService
from reveille.worker.attempts import Attempts
from reveille.worker.elsewhere import Elsewhere
from reveille.worker.progress import ProgressReporter
from reveille.worker.standing import Standing
from reveille.worker.turns import Turns

TASKS, SLOTS = 200, 10
CALLS_PER_TASK_MAX = 105  # 82 at the time of writing, a third of them asyncio's own
NOW = datetime(2026, 3, 1, tzinfo=UTC)


class InstantStore:
    """Settles and claims without a database."""

    def __init__(self) -> None:
        self.left = [_claim(number) for number in range(1, TASKS + 1)]
        self.settled = 0
        self.done = asyncio.Event()

    async def turn(
        self, _r: object, _t: object, limit: int, ends: Sequence[End], **_: object
    ) -> Turn:
        """As Store.turn."""
        await asyncio.sleep(0)
        self.settled += len(ends)
        if self.settled == TASKS:
            self.done.set()
        claims, self.left = self.left[:limit], self.left[limit:]
        return Turn(settled={end.claim.task_id: "completed" for end in ends}, claims=claims)

    async def settle(self, _ends: Sequence[End]) -> dict[int, str]:
        """Nothing is stuck here."""
        return {}

    async def lowest_claimable(self, _types: Sequence[str]) -> dict[tuple[str, int], int]:
        """Nothing is known of where tasks begin."""
        return {}

    async def look_horizon(self) -> int:
        """As Store.look_horizon."""
        return 0

    async def look_settled(self, _horizon: int) -> bool:
        """As Store.look_settled."""
        return True


def _claim(number: int) -> Claim:
    return Claim(
        task_id=number,
        lease_token=number,
        document_id=42,
        task_type="visual_analysis",
        priority=1,
        attempt=1,
        max_retries=3,
        timeout_seconds=600.0,
        created_at=NOW,
        claimable_at=NOW,
        started_at=NOW,
        traceparent=f"00-{number:032x}-{number:016x}-01",
        tracestate="reveille=minted",
    )


async def _nothing(_options: Any, _context: Any) -> Outcome:
    return Done()


def _worker(store: Any) -> WorkerService:
    """Its turns and attempts, without the rest."""
    settings = WorkerSettings(DATABASE_URL="postgresql://u@h/d", slots=SLOTS)  # type: ignore[arg-type]
    worker = WorkerService(
        settings, configure("test"), pool="visual", handlers={"visual_analysis": _nothing}
    )
    worker.store, worker.documents = store, None  # type: ignore[assignment]
    worker.reporter = ProgressReporter(store, on_lost=worker.held.lose)
    worker.standing = Standing(store, worker.stopping)
    worker.standing.registration = Registration(server_id="w", epoch=1, presence_key=1)
    worker.standing.in_service.set()
    worker.membership = SimpleNamespace(report_idle=lambda: None)  # type: ignore[assignment]
    worker.attempts = Attempts(worker)
    worker.turns = Turns(
        store,
        worker.standing,
        worker.slots,
        worker.held,
        pool="visual",
        task_types=("visual_analysis",),
        elsewhere=Elsewhere(300.0),
        metrics=worker.telemetry.metrics,
        begin=worker.attempts.begin,
        settled=worker.attempts.settled,
        leave=worker.stopping.set,
    )
    return worker


async def test_attempt_that_does_nothing_stays_cheap() -> None:
    """A drain of short tasks is bound by this: a convenience in the hot path shows up here."""
    store = InstantStore()
    worker = _worker(store)
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    turns = asyncio.create_task(worker.turns.run())
    sys.setprofile(count)
    try:
        worker.turns.hear()
        done = asyncio.create_task(store.done.wait())
        await asyncio.wait({done, turns}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sys.setprofile(None)
    assert done.done(), turns
    turns.cancel()
    assert worker.slots.busy <= SLOTS
    assert calls / TASKS < CALLS_PER_TASK_MAX
