"""The worker: woken, it claims; claimed, it handles; handled, it settles. Both worker services are
this class with other handlers.

The turn loop is the heart of it. News sets one event: a notification, an end, a freed slot, the
heartbeat's word that something waits. A turn settles all attempts that ended and claims for all
free slots, in one transaction; what ends while a turn is under way travels in the next one. Only
the turn loop writes `_running`; handlers run as tasks beside it.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from typing import Any

import structlog

from reveille.attempt import LiveContext, attempt, unexpected
from reveille.channels import Channel
from reveille.claim_trouble import ClaimTrouble
from reveille.database import DATABASE_ERRORS
from reveille.dead_man import DeadMan
from reveille.direct import direct_routes
from reveille.documents import Documents
from reveille.ends import StuckEnds, is_about_an_end
from reveille.errors import LeaseLost, TaskRetry
from reveille.gpu import follow_gpus
from reveille.heart import Heart
from reveille.lifecycle import Service
from reveille.logs import task_fields
from reveille.model import ModelCall, ModelClient
from reveille.notifier import SecondLooks
from reveille.outcome import Done, Outcome, Reject, Release, Retry
from reveille.presence import Presence
from reveille.progress import ProgressReporter
from reveille.settings import DocumentSettings, WorkerSettings, load
from reveille.slots import Slots
from reveille.store import End, Pulse, Registration, ServerEntry, Store
from reveille.task import Claim, Pool
from reveille.task_types import task_type
from reveille.task_types.handling import Handler
from reveille.telemetry import Telemetry
from reveille.tracing import AttemptTrace, ambient_span, trace_attempt

log = structlog.get_logger(__name__)

# Trouble of the model server, not of the task: the task goes back unharmed and this server takes no
# more until it is over.
OUT_OF_SERVICE_REASONS = frozenset({"model_unreachable", "model_absent"})
DATABASE_PAUSE_SECONDS = 0.5  # between tries to register
MODEL_PAUSE_SECONDS_MAX = 5.0
IDLE_REPORT_SECONDS = 1.0
CANCEL_SECONDS_MAX = 5.0
# What is left to do about a settled task (counting, logging) waits until the next turn is under way:
# the database is the slower of the two and should not wait for it.
TELL_SECONDS = 0.0005


class Running:
    """A claimed task while it is ours. `lost` is written by the pulse and the reporter, read when
    the attempt is cancelled.
    """

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.lost = False
        self.ending = False  # its end is with the turn loop: nothing may interrupt it any more
        self.began = time.monotonic()
        self.settled: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.work: asyncio.Task[None] | None = None


def _tell_settled(told: Sequence[tuple[Running, str | None]]) -> None:
    """Let the attempts know how their tasks were settled."""
    for running, status in told:
        if not running.settled.done():
            running.settled.set_result(status)


class WorkerService(Service):
    """A worker for one pool. `handlers` maps task type names to handlers; the models that those
    task types use are loaded before the first claim.
    """

    plan_once = True
    lock_seconds_max = 2.0  # a turn is for all tasks: who waits for one row holds up the others

    def __init__(
        self,
        settings: WorkerSettings,
        telemetry: Telemetry,
        *,
        pool: Pool,
        handlers: Mapping[str, Handler],
    ) -> None:
        self.name = f"{pool}-worker"
        super().__init__(settings, telemetry)
        self.worker_settings = settings
        self.task_pool = pool
        self.handlers = handlers
        self.task_types = tuple(handlers)
        self.models = tuple(sorted({self.model_name(name) for name in handlers}))
        self.model = ModelClient(
            settings.ollama_host,
            timeout_seconds=settings.model_timeout_seconds,
            num_ctx=settings.num_ctx,
            observe=self._observe_model,
        )
        self.slots = Slots(settings.slots, on_free=self._tell)
        self._running: dict[int, Running] = {}  # by lease token: a task may be back, held anew
        self._turning = asyncio.Lock()  # held while claims may be on their way
        self._ends: list[tuple[Running, End]] = []
        self._news = asyncio.Event()
        self._look = (
            True  # there may be something to claim; cleared by a look that finds too little
        )
        self._look_quietly = False  # a second look is due
        self._woken_at: float | None = None
        self._rescued = False  # a heartbeat found work while this slept: a notification was missed
        self._in_service = asyncio.Event()
        self._leave_service = asyncio.Event()
        self._not_ready_because: str | None = "loading models"
        self._claim_trouble = ClaimTrouble()
        self._heart: Heart | None = None
        self._draining = False  # the server row says so, or SIGTERM
        self._lost_server = asyncio.Event()
        self._looks: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None
        seconds = settings.lonely_seconds_max
        self._dead_man: DeadMan | None = None
        if seconds is not None:
            self._dead_man = DeadMan(
                seconds, is_busy=lambda: bool(self._running), leave=self.stopping.set
            )

    def model_name(self, task_type_name: str) -> str:
        """The model that the settings name for a task type."""
        vision = task_type(task_type_name).model_setting == "vision"
        return self.worker_settings.vision_model if vision else self.worker_settings.text_model

    # Start

    async def run(self) -> None:
        """The whole life, under the dead-man switch: a database that never answers ends it too."""
        if self._dead_man is None:
            await super().run()
            return
        watch = asyncio.create_task(self._dead_man.run(), name="dead-man switch")
        try:
            await super().run()
        except DATABASE_ERRORS:
            if self._dead_man.reason is None:
                raise
        finally:
            watch.cancel()

    async def setup(self) -> None:
        """Listeners and routes."""
        settings = self.worker_settings
        self.store = Store(
            self.pool,
            backoff_base_seconds=settings.backoff_base_seconds,
            backoff_max_seconds=settings.backoff_max_seconds,
            lock_grace_seconds=settings.lock_grace_seconds,
        )
        if self._dead_man is not None:
            self._dead_man.ask(self.store.is_led)
        self.documents = open_documents(load(DocumentSettings), self.store)
        self.reporter = ProgressReporter(self.store, on_lost=self._lose)
        self.stuck = StuckEnds(self.store.settle, on_settled=self._ended)
        self.presence = Presence(self.notifier, settings.server_id)
        self.notifier.on(Channel.TASK_READY, self._on_ready)
        self.notifier.on(Channel.TASK_CANCEL, self._on_cancel)
        self.notifier.on(Channel.SERVER_CHANGED, self._on_server)
        self.notifier.on_connect(self._on_connect)
        self.application.add_routes(direct_routes(self))
        follow_gpus(self.telemetry.metrics)

    async def close(self) -> None:
        """Close the model client."""
        await self.model.close()

    async def work(self) -> None:
        """Register, serve until stopped or drained, leave in good order."""
        self.registration: Registration | None = None
        stop = asyncio.create_task(self.stopping.wait())
        turns = asyncio.create_task(self._turns(), name="turns")
        helpers = [
            asyncio.create_task(self.reporter.run(), name="progress"),
            asyncio.create_task(self._keep_in_service(), name="service"),
            asyncio.create_task(self.stuck.run(), name="stuck ends"),
            turns,
        ]
        try:
            while not self.stopping.is_set():
                await self._serve_one_registration(stop, turns)
        finally:
            stop.cancel()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _serve_one_registration(
        self, stop: asyncio.Task[bool], turns: asyncio.Task[None]
    ) -> None:
        """From registration until this one ends: stopped, drained, or declared lost."""
        await self._until_stop(self.notifier.ready.wait(), stop)
        if self.stopping.is_set():
            return
        self._lost_server.clear()
        try:
            registration = await self._register()
        except DATABASE_ERRORS as error:
            log.warning("registration_failed", error=str(error) or type(error).__name__)
            await self._until_stop(asyncio.sleep(DATABASE_PAUSE_SECONDS), stop)
            return
        heart = Heart(
            self.settings.dsn,
            registration,
            task_types=self.task_types,
            interval_seconds=self.worker_settings.heartbeat_seconds,
            held=lambda: [running.claim for running in list(self._running.values())],
            on_pulse=self._on_pulse,
        )
        self._heart = heart
        heart.start()
        await self._announce()  # the models may have become ready while this was under way
        try:
            await self._until_stop(self._lost_server.wait(), stop, turns)
            if turns.done():
                await turns  # only ever by an error
            if self.stopping.is_set():
                await self._drain(registration)
        finally:
            self.registration = None
            self._heart = None
            self.presence.stop_retaking()
            await heart.stop()

    @staticmethod
    async def _until_stop(wait: Coroutine[Any, Any, Any], *others: asyncio.Task[Any]) -> None:
        task = asyncio.create_task(wait)
        await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        task.cancel()

    async def _register(self) -> Registration:
        settings = self.worker_settings
        known = await self.store.presence_key(settings.server_id)
        if known is not None:
            await self.presence.take(known)
        registration = await self.store.register(
            ServerEntry(
                server_id=settings.server_id,
                server_type=f"{self.task_pool}_container",
                pool=self.task_pool,
                task_types=self.task_types,
                slots=settings.slots,
                version=version("reveille"),
                container_id=settings.container_id,
                http_url=self.http.url,
            )
        )
        self.registration = registration
        await self.presence.take(registration.presence_key)
        log.info("server_registered", server_id=settings.server_id, epoch=registration.epoch)
        self._hear()
        return registration

    async def _on_connect(self) -> None:
        if self.registration is not None:
            self.presence.retake(self.registration.presence_key)
        self._hear()

    async def _keep_in_service(self) -> None:
        """Load the models; then whenever the model server turns out to be away, wait for it and
        come back.
        """
        pause = 0.2
        while True:
            try:
                await self.model.ready(self.models)
            except TaskRetry as error:
                self._not_ready_because = error.error
                await self._announce()
                log.warning("model_not_ready", error=error.error, retry_in_seconds=pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MODEL_PAUSE_SECONDS_MAX)
                continue
            pause = 0.2
            self._in_service.set()
            self._not_ready_because = None
            await self._announce()
            self._hear()
            while self._in_service.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.worker_settings.model_health_seconds):
                        await self._leave_service.wait()
                self._leave_service.clear()
                await self._check_model()

    async def _check_model(self) -> None:
        """While calls run, they tell how the model server is; an idle worker has to ask."""
        if self.slots.busy or not self._in_service.is_set():
            return
        try:
            await self.model.health()
        except TaskRetry as error:
            log.warning("model_unhealthy", error=error.error)
            self._in_service.clear()

    # News

    def _tell(self) -> None:
        self._news.set()

    def _hear(self) -> None:
        """There may be something to claim."""
        self._look = True
        self._stop_looks()
        self._news.set()

    def _on_ready(self, pool: str) -> None:
        if pool == self.task_pool:
            if self._woken_at is None and self._accepting and self.slots.free:
                self._woken_at = time.monotonic()
            self._hear()

    def _on_cancel(self, payload: str) -> None:
        # A hint: the heartbeat asks which tasks are still ours, and its answer decides.
        if any(str(running.claim.task_id) == payload for running in self._running.values()):
            self._nudge()

    def _on_server(self, server_id: str) -> None:
        if server_id == self.worker_settings.server_id:
            self._nudge()

    def _nudge(self) -> None:
        if self._heart is not None:
            self._heart.nudge()

    def _on_pulse(self, pulse: Pulse | None) -> None:
        if pulse is None:
            log.warning("server_declared_lost", server_id=self.worker_settings.server_id)
            self._lose(frozenset(self._running))
            self.registration = None
            self._lost_server.set()
            return
        if pulse.lost:
            self._lose(pulse.lost)
        if pulse.status in {"starting", "active"} and pulse.status != self._standing[0]:
            self._announce_soon()  # an announcement was lost with the connection
        draining = pulse.status == "draining"
        if draining != self._draining:
            self._draining = draining
            self._tell()
        if pulse.waiting and self.slots.free:
            looking = self._look or self._looks is not None or self._turning.locked()
            self._rescued = self._accepting and not looking
            self._hear()

    def _lose(self, lease_tokens: frozenset[int]) -> None:
        for lease_token in lease_tokens:
            running = self._running.get(lease_token)
            if running is None or running.lost or running.ending:
                continue
            if running.work is not None:
                running.lost = True
                running.work.cancel("lease lost")
                self.telemetry.metrics.lease_lost.add(1, {"pool": self.task_pool})

    # Turns

    @property
    def _accepting(self) -> bool:
        return (
            self.registration is not None
            and self._in_service.is_set()
            and not self._draining
            and not self.stopping.is_set()
        )

    async def _turns(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            ends = self._take_ends()
            try:
                async with self._turning:
                    await self._turn(ends)
            except DATABASE_ERRORS as error:
                log.warning("turn_failed", error=str(error) or type(error).__name__)
                if is_about_an_end(error):
                    for running, end in ends:
                        self.stuck.add(running, end)
                else:
                    self._ends = ends + self._ends
                self._look = True
                if self._claim_trouble.failed(error):
                    self._announce_soon()
                await asyncio.sleep(self._claim_trouble.pause_seconds)
                self._news.set()

    def _take_ends(self) -> list[tuple[Running, End]]:
        """The ends for this turn: one per task, for an attempt that lost its lease may end beside
        its successor here.
        """
        taken: dict[int, tuple[Running, End]] = {}
        later: list[tuple[Running, End]] = []
        for running, end in self._ends:
            if end.claim.task_id in taken:
                later.append((running, end))
                self._tell()
            else:
                taken[end.claim.task_id] = (running, end)
        self._ends = later
        return list(taken.values())

    async def _turn(self, ends: list[tuple[Running, End]]) -> None:
        limit = 0
        if self._accepting and (self._look or self._look_quietly or ends):
            limit = max(0, self.slots.free + len(ends))
        if not ends and not limit:
            await self._leave_when_drained()
            return
        looked = self._look
        self._look = self._look_quietly = False
        woken_at, self._woken_at = self._woken_at, None
        rescued, self._rescued = self._rescued, False
        turn = await self.store.turn(
            self.registration, self.task_types, limit, [end for _, end in ends]
        )
        if self._claim_trouble.succeeded():
            self._announce_soon()
        self.slots.take_queued(len(turn.claims))
        for claim in turn.claims:
            self._begin(claim)
        self._all_ended(ends, turn.settled)
        if turn.claims and woken_at is not None:
            self.telemetry.metrics.wakeup.record(
                time.monotonic() - woken_at, {"pool": self.task_pool}
            )
        elif turn.claims and rescued:
            self.telemetry.metrics.wakeup_rescues.add(len(turn.claims), {"pool": self.task_pool})
        if limit and len(turn.claims) >= limit:
            self._look = True  # there was more than room for it
        elif looked and limit:
            self._start_looks()

    def _all_ended(self, ends: list[tuple[Running, End]], settled: Mapping[int, str]) -> None:
        told = [(running, settled.get(end.claim.task_id)) for running, end in ends]
        for running, _ in told:
            self._drop(running)
        if told:
            asyncio.get_running_loop().call_later(TELL_SECONDS, _tell_settled, told)

    def _ended(self, running: Running, _end: End, status: str | None) -> None:
        """The attempt is over; `status` None: the task was not ours any more."""
        self._drop(running)
        _tell_settled([(running, status)])

    def _drop(self, running: Running) -> None:
        """It holds nothing any more; soon current_load says so."""
        self._running.pop(running.claim.lease_token, None)
        self.slots.give_queued(1)
        if not self._running:
            asyncio.get_running_loop().call_later(IDLE_REPORT_SECONDS, self._report_idle)

    def _begin(self, claim: Claim) -> None:
        if self._dead_man is not None:
            self._dead_man.needed()
        running = Running(claim)
        self._running[claim.lease_token] = running
        running.work = asyncio.create_task(self._attempt(running), name=f"task {claim.task_id}")

    def _start_looks(self) -> None:
        self._stop_looks()
        self._looks = asyncio.create_task(self._look_again(), name="second looks")

    def _stop_looks(self) -> None:
        if self._looks is not None:
            self._looks.cancel()
            self._looks = None

    async def _look_again(self) -> None:
        looks = SecondLooks(self.store.look_horizon, self.store.look_settled)
        try:
            async for _ in looks.moments():
                if not self._accepting or not self.slots.free:
                    self._look = True  # whoever frees a slot looks, and starts these again
                    return
                self._look_quietly = True
                self._tell()
        except DATABASE_ERRORS as error:
            log.warning("second_look_failed", error=str(error) or type(error).__name__)
            self._look = True
            self._tell()
        finally:
            if self._looks is asyncio.current_task():
                self._looks = None

    def _report_idle(self) -> None:
        """Let current_load say 0 soon after the last task, without a heartbeat for each short one."""
        if not self._running and self._heart is not None and self._heart.reported_load:
            self._heart.nudge()

    # One attempt

    async def _attempt(self, running: Running) -> None:
        claim = running.claim
        parents: list[str] = []
        if claim.depends_on and self.telemetry.tracing:
            with suppress(*DATABASE_ERRORS):
                parents = await self.store.parent_traces(claim.task_id)
        with (
            task_fields(claim, server_id=self.worker_settings.server_id),
            trace_attempt(
                claim,
                server_id=self.worker_settings.server_id,
                pool=self.task_pool,
                parents=parents,
            ) as trace,
        ):
            try:
                outcome = await self._outcome(running)
            except (LeaseLost, asyncio.CancelledError):
                if running.lost or not self.stopping.is_set():
                    self._forget(running, trace)
                    return
                outcome = Release()
            except Exception as error:  # noqa: BLE001 - closing a document: an attempt must end somehow
                outcome = unexpected(error)
            trace.settled(outcome)
            await self._settle(running, outcome, trace)

    async def _outcome(self, running: Running) -> Outcome:
        claim = running.claim
        spec = task_type(claim.task_type)
        async with AsyncExitStack() as closing:
            context = LiveContext(
                claim,
                store=self.store,
                model=self.model,
                model_name=self.model_name(claim.task_type),
                documents=self.documents,
                reporter=self.reporter,
                closing=closing,
            )
            outcome = await attempt(
                spec,
                self.handlers[claim.task_type],
                context,
                timeout_seconds=claim.timeout_seconds,
                stall=context.stall,
            )
        if isinstance(outcome, Retry) and outcome.reason in OUT_OF_SERVICE_REASONS:
            self._go_out_of_service()
            return Release(reason=outcome.reason, error=outcome.error)
        return outcome

    async def _settle(self, running: Running, outcome: Outcome, trace: AttemptTrace) -> None:
        claim = running.claim
        with ambient_span("settle"):
            if self.reporter.pending(claim.task_id):
                with suppress(*DATABASE_ERRORS):
                    await self.reporter.flush()
            running.ending = True
            end = End(claim=claim, outcome=outcome, traceparent=trace.traceparent)
            self._ends.append((running, end))
            self._tell()
            status = await asyncio.shield(running.settled)
        self._count(running, outcome, status)
        if status is None:
            log.warning("result_dropped", reason="the lease was gone")
        else:
            log.info("task_settled", status=status, **_why(outcome))

    def _forget(self, running: Running, trace: AttemptTrace) -> None:
        """The task is not ours any more: whoever took it has written how this attempt ended."""
        trace.failed("lease_lost", "the task was taken away: cancelled, or its lease was lost")
        log.info("attempt_dropped")
        self._drop(running)

    def _observe_model(self, call: ModelCall) -> None:
        metrics = self.telemetry.metrics
        labels = {"model": call.model}
        metrics.model_call.record(call.seconds, {**labels, "outcome": call.outcome})
        metrics.model_tokens.add(call.input_tokens, {**labels, "direction": "input"})
        metrics.model_tokens.add(call.output_tokens, {**labels, "direction": "output"})
        if call.tokens_per_second is not None:
            metrics.model_rate.record(call.tokens_per_second, labels)

    def _count(self, running: Running, outcome: Outcome, status: str | None) -> None:
        metrics, claim = self.telemetry.metrics, running.claim
        labels = {"task_type": claim.task_type}
        waited = (claim.started_at - claim.claimable_at).total_seconds()
        metrics.task_wait.record(max(0.0, waited), labels)
        metrics.task_processing.record(time.monotonic() - running.began, labels)
        kind = type(outcome).__name__.lower() if status is not None else "dropped"
        reason = getattr(outcome, "reason", "")
        metrics.tasks_settled.add(1, {**labels, "outcome": kind, "reason": reason})

    # End

    async def _drain(self, registration: Registration) -> None:
        """Finish what runs within the grace; give the rest back without spending an attempt."""
        self._stop_looks()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_seconds):
                await self._say("draining", "stopping")
                async with self._turning:  # what it claims is to be drained too
                    log.info("draining", tasks=len(self._running))
                if works := self._works():
                    await asyncio.wait(works)
        for running in list(self._running.values()):
            if running.work is not None and not running.ending:
                running.work.cancel("drain")
        if works := self._works():
            await asyncio.wait(works, timeout=CANCEL_SECONDS_MAX)
        with suppress(*DATABASE_ERRORS):
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                await self.store.retire(registration, "stopped")

    def _works(self) -> list[asyncio.Task[None]]:
        return [running.work for running in self._running.values() if running.work is not None]

    async def _leave_when_drained(self) -> None:
        """An operator or the autoscaler drains this server: when nothing runs, say so and end."""
        if not self._draining or self.slots.busy or self.registration is None:
            return
        if await self.store.retire(self.registration, "drained", only_when_draining=True):
            log.info("drained")
            self.stopping.set()
        else:
            self._draining = False
            self._hear()

    async def _announce(self) -> None:
        """Let the server's row say whether it takes work, and if not, why."""
        await self._say(*self._standing)

    @property
    def _standing(self) -> tuple[str, str | None]:
        """The status that the server's row should show, and the reason for it."""
        reason = self._not_ready_because or self._claim_trouble.reason
        in_service = self._in_service.is_set() and self._claim_trouble.reason is None
        return ("active" if in_service else "starting"), reason

    def _announce_soon(self) -> None:
        if self._announcing is None or self._announcing.done():
            self._announcing = asyncio.create_task(self._announce(), name="announce")

    def _go_out_of_service(self) -> None:
        self._in_service.clear()
        self._leave_service.set()

    async def _say(self, status: str, reason: str | None) -> None:
        if self.registration is None or (self._draining and status != "draining"):
            return
        with suppress(*DATABASE_ERRORS):
            await self.store.set_status(self.registration, status, reason)

    async def ready(self) -> Mapping[str, str]:
        """What keeps this worker from working, by part."""
        wrong = dict(await super().ready())
        if not self._in_service.is_set():
            wrong["model"] = self._not_ready_because or "the model server is not ready"
        if self._claim_trouble.reason is not None:
            wrong["claim"] = self._claim_trouble.reason
        if self._draining or self.stopping.is_set():
            wrong["drain"] = "draining"
        return wrong


def open_documents(settings: DocumentSettings, store: Store) -> Documents:
    """Documents as the settings allow them."""
    return Documents.configured(settings, store.load_document)


def _why(outcome: Outcome) -> dict[str, str]:
    match outcome:
        case Done():
            return {}
        case Release(reason=reason):
            return {"reason": reason}
        case Retry(reason=reason, error=error) | Reject(reason=reason, error=error):
            return {"reason": reason, "error": error}
