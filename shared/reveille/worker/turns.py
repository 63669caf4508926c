"""The turn loop. News sets one event: a notification, an end, a freed slot, the heartbeat's word
that something waits. A turn settles all attempts that ended and claims for all free slots, in one
transaction; what ends while a turn is under way travels in the next one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.metrics import Metrics
from reveille.notifier import SecondLooks
from reveille.outcome import Outcome
from reveille.store import End, Store
from reveille.task import Claim, Pool
from reveille.worker.elsewhere import Elsewhere
from reveille.worker.ends import StuckEnds, is_about_an_end
from reveille.worker.floors import Floors
from reveille.worker.running import Held, Running
from reveille.worker.slots import Slots
from reveille.worker.standing import Standing

log = structlog.get_logger(__name__)

# What is left to do about a settled task (counting, logging) waits until the next turn is under way:
# the database is the slower of the two and should not wait for it.
TELL_SECONDS = 0.0005

# With many slots a turn takes half of them at most: while the database settles one half, the attempts
# of the other run. Below this number a turn's own cost, a commit, is more than what would overlap.
ENDS_WORTH_HALVING = 64


class Turns:
    """`begin` is called with each claim; `settled` with each attempt that ended and the status of its
    task, None when it was not ours any more; `leave` when a drained server has nothing left.
    """

    def __init__(
        self,
        store: Store,
        standing: Standing,
        slots: Slots,
        held: Held,
        *,
        pool: Pool,
        task_types: Sequence[str],
        elsewhere: Elsewhere,
        metrics: Metrics,
        begin: Callable[[Claim], None],
        settled: Callable[[Running, Outcome, str | None], None],
        leave: Callable[[], None],
    ) -> None:
        self._store = store
        self._standing = standing
        self._slots = slots
        self._held = held
        self._pool = pool
        self._task_types = task_types
        self._elsewhere = elsewhere
        self._metrics = metrics
        self._begin = begin
        self._settled = settled
        self._untold: list[tuple[Running, Outcome, str | None]] = []
        self._leave = leave
        self.stuck = StuckEnds(store.settle, on_settled=self._ended)
        self.floors = Floors(lambda: store.lowest_claimable(task_types), look=self.hear)
        self.under_way = asyncio.Lock()  # held while claims may be on their way
        # There may be something to claim; cleared by a look that finds too little.
        self.look = True
        self.looks: asyncio.Task[None] | None = None
        self._look_quietly = False  # a second look is due
        self._news = asyncio.Event()
        self._ends: list[tuple[Running, End]] = []
        self._woken_at: float | None = None
        self._rescued = False  # a heartbeat found work while this slept: a notification was missed

    # News

    def tell(self) -> None:
        """Something may have to be done."""
        self._news.set()

    def hear(self) -> None:
        """There may be something to claim."""
        self.look = True
        self.stop_looks()
        self._news.set()

    def on_ready(self, pool: str) -> None:
        """A notification of task_ready."""
        if pool == self._pool:
            if self._woken_at is None and self._standing.accepting and self._slots.free:
                self._woken_at = time.monotonic()
            self.hear()

    def on_waiting(self) -> None:
        """The heartbeat saw that something waits."""
        if self._slots.free:
            looking = self.look or self.looks is not None or self.under_way.locked()
            self._rescued = self._standing.accepting and not looking and not self._elsewhere
            self.hear()

    def to_look_for(self) -> Sequence[str]:
        """The types of which a heartbeat asks whether one waits: none where its word would be no news,
        or where it would walk over dead rows (the floors see to it that this looks).
        """
        idle = self._standing.accepting and self._slots.free and not self.floors.in_force
        return self._task_types if idle else ()

    def end(self, running: Running, end: End) -> None:
        """An attempt is over."""
        self._elsewhere.ended(end)
        self._ends.append((running, end))
        self._news.set()

    # Turns

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                ends = self._take_ends()
                try:
                    async with self.under_way:
                        await self._turn(ends)
                except DATABASE_ERRORS as error:
                    self._keep(ends, error)
                    await asyncio.sleep(self._standing.claim_trouble.pause_seconds)
                    self._news.set()
        finally:
            self.floors.stop()

    def _keep(self, ends: list[tuple[Running, End]], error: BaseException) -> None:
        """A turn failed: nothing of it may be lost."""
        log.warning("turn_failed", error=str(error) or type(error).__name__)
        self._slots.take_queued(0)
        if is_about_an_end(error):
            for running, end in ends:
                self.stuck.add(running, end)
        else:
            self._ends = ends + self._ends
        self.look = True
        if self._standing.claim_trouble.failed(error):
            self._standing.announce_soon()

    def _take_ends(self) -> list[tuple[Running, End]]:
        """The ends for this turn: one per task, for an attempt that lost its lease may end beside
        its successor here.
        """
        taken: dict[int, tuple[Running, End]] = {}
        later: list[tuple[Running, End]] = []
        most = max(ENDS_WORTH_HALVING, self._slots.count // 2)
        for running, end in self._ends:
            if end.claim.task_id in taken or len(taken) >= most:
                later.append((running, end))
                self._news.set()
            else:
                taken[end.claim.task_id] = (running, end)
        self._ends = later
        return list(taken.values())

    async def _turn(self, ends: list[tuple[Running, End]]) -> None:
        limit = 0
        if self._standing.accepting and (self.look or self._look_quietly or ends):
            limit = self._slots.free_after(len(ends))
        if not ends and not limit:
            await self._leave_when_drained()
            return
        looked = self.look
        self.look = looked and not limit  # without room it is still to be done
        self._look_quietly = self._look_quietly and not limit
        woken_at, self._woken_at = self._woken_at, None
        rescued, self._rescued = self._rescued, False
        began = time.monotonic()
        self._slots.reserve(limit - len(ends))
        turn = await self._store.turn(
            self._standing.registration,
            self._task_types,
            limit,
            [end for _, end in ends],
            floors=self.floors.in_force,
            elsewhere=self._elsewhere.tasks(),
        )
        self._slots.take_queued(len(turn.claims))
        if limit:
            self.floors.looked(time.monotonic() - began, turn.claims)
        if self._standing.claim_trouble.succeeded():
            self._standing.announce_soon()
        for claim in turn.claims:
            self._begin(claim)
        self._all_ended(ends, turn.settled)
        if turn.claims and woken_at is not None:
            self._metrics.wakeup.record(time.monotonic() - woken_at, {"pool": self._pool})
        elif turn.claims and rescued:
            self._metrics.wakeup_rescues.add(len(turn.claims), {"pool": self._pool})
        if limit and len(turn.claims) >= limit:
            self.look = True  # there was more than room for it
        elif looked and limit:
            self._start_looks()

    def _all_ended(self, ends: list[tuple[Running, End]], settled: Mapping[int, str]) -> None:
        if not ends:
            return
        for running, end in ends:
            self._held.drop(running)
            self._untold.append((running, end.outcome, settled.get(end.claim.task_id)))
        if self._held:
            asyncio.get_running_loop().call_later(TELL_SECONDS, self._tell_settled)
        else:
            self._tell_settled()  # a drain may be over with this one: nothing is left for later

    def _ended(self, running: Running, end: End, status: str | None) -> None:
        """Settled beside the turns."""
        self._held.drop(running)
        self._settled(running, end.outcome, status)

    def _tell_settled(self) -> None:
        untold, self._untold = self._untold, []
        for running, outcome, status in untold:
            self._settled(running, outcome, status)

    async def _leave_when_drained(self) -> None:
        """An operator or the autoscaler drains this server: when nothing runs, say so and end."""
        standing = self._standing
        if not standing.draining or self._slots.busy or standing.registration is None:
            return
        if await self._store.retire(standing.registration, "drained", only_when_draining=True):
            log.info("drained")
            self._leave()
        else:
            standing.draining = False
            self.hear()

    # Second looks

    def _start_looks(self) -> None:
        self.stop_looks()
        self.looks = asyncio.create_task(self._look_again(), name="second looks")

    def stop_looks(self) -> None:
        """No second look any more."""
        if self.looks is not None:
            self.looks.cancel()
            self.looks = None

    async def _look_again(self) -> None:
        looks = SecondLooks(self._store.look_horizon, self._store.look_settled)
        try:
            async for _ in looks.moments():
                if not self._standing.accepting or not self._slots.free:
                    self.look = True  # whoever frees a slot looks, and starts these again
                    return
                self._look_quietly = True
                self._news.set()
        except DATABASE_ERRORS as error:
            log.warning("second_look_failed", error=str(error) or type(error).__name__)
            self.look = True
            self._news.set()
        finally:
            if self.looks is asyncio.current_task():
                self.looks = None
