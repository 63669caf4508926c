"""A worker put together: its parts, who hears what, and its life from start to drain."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import structlog

from reveille.channels import Channel
from reveille.database import DATABASE_ERRORS
from reveille.documents import Documents, Spare
from reveille.lifecycle import Service
from reveille.metrics import show_as_zero
from reveille.model import ModelCall, ModelClient
from reveille.semconv import LABEL_POOL
from reveille.settings import DocumentSettings, WorkerSettings, load
from reveille.store import Registration, Store
from reveille.task import Pool
from reveille.task_types import task_type
from reveille.task_types.handling import Handler
from reveille.telemetry import Telemetry
from reveille.worker.attempts import Attempts
from reveille.worker.counting import count_model_call
from reveille.worker.dead_man import DeadMan
from reveille.worker.direct import direct_routes
from reveille.worker.elsewhere import Elsewhere
from reveille.worker.gpu import follow_gpus
from reveille.worker.gpu_health import GpuHealth
from reveille.worker.membership import Membership
from reveille.worker.model_watch import ModelWatch
from reveille.worker.progress import ProgressReporter
from reveille.worker.running import Held
from reveille.worker.slots import Slots
from reveille.worker.standing import Standing
from reveille.worker.turns import Turns

log = structlog.get_logger(__name__)

CANCEL_SECONDS_MAX = 5.0


class WorkerService(Service):
    """A worker for one pool. `handlers` maps task type names to handlers; the models that those
    task types use are loaded before the first claim.
    """

    plan_once = True
    http_ends_abandoned = True  # a direct call that nobody waits for would keep the GPU busy
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
        self.spare = Spare()
        self.slots = Slots(settings.slots, on_free=self._on_free)
        self.held = Held(self.slots, telemetry.metrics, pool=pool, on_idle=self._on_idle)
        seconds = settings.lonely_seconds_max
        self.dead_man: DeadMan | None = None
        if seconds is not None:
            self.dead_man = DeadMan(
                seconds, is_busy=lambda: bool(self.held), leave=self.stopping.set
            )

    def model_name(self, task_type_name: str) -> str:
        """The model that the settings name for a task type."""
        vision = task_type(task_type_name).model_setting == "vision"
        return self.worker_settings.vision_model if vision else self.worker_settings.text_model

    async def run(self) -> None:
        """The whole life, under the dead-man switch: a database that never answers ends it too."""
        if self.dead_man is None:
            await super().run()
            return
        watch = asyncio.create_task(self.dead_man.run(), name="dead-man switch")
        try:
            await super().run()
        except DATABASE_ERRORS:
            if self.dead_man.reason is None:
                raise
        finally:
            watch.cancel()

    async def setup(self) -> None:
        """The parts that need a database, listeners and routes."""
        settings = self.worker_settings
        self.store = Store(
            self.pool,
            backoff_base_seconds=settings.backoff_base_seconds,
            backoff_max_seconds=settings.backoff_max_seconds,
            lock_grace_seconds=settings.lock_grace_seconds,
        )
        if self.dead_man is not None:
            self.dead_man.ask(self.store.is_led)
        self.documents = Documents.configured(
            load(DocumentSettings), self.store.load_document, self.spare
        )
        self.reporter = ProgressReporter(self.store, on_lost=self.held.lose)
        self.standing = Standing(self.store, self.stopping)
        self.attempts = Attempts(self)
        self.turns = Turns(
            self.store,
            self.standing,
            self.slots,
            self.held,
            pool=self.task_pool,
            task_types=self.task_types,
            elsewhere=Elsewhere(settings.backoff_max_seconds),
            metrics=self.telemetry.metrics,
            begin=self.attempts.begin,
            settled=self.attempts.settled,
            leave=self.stopping.set,
        )
        self.model_watch = ModelWatch(
            self.model,
            self.models,
            standing=self.standing,
            slots=self.slots,
            health_seconds=settings.model_health_seconds,
            gpu_trouble=GpuHealth().trouble if settings.gpu_health else _no_trouble,
            on_service=self.turns.hear,
        )
        self.membership = Membership(self)
        self._listen()
        self.application.add_routes(direct_routes(self))
        metrics = self.telemetry.metrics
        show_as_zero(
            metrics.wakeup_rescues, metrics.lease_lost, labels={LABEL_POOL: self.task_pool}
        )
        follow_gpus(metrics)
        self.warn_when_open()

    def _listen(self) -> None:
        self.notifier.on(Channel.TASK_READY, self.turns.on_ready)
        self.notifier.on(Channel.TASK_CANCEL, self.membership.on_cancel)
        self.notifier.on(Channel.SERVER_CHANGED, self.membership.on_server)
        self.notifier.on_connect(self.membership.on_connect)

    async def close(self) -> None:
        """Close the model client; end the child that waits for a document."""
        await self.spare.close()
        await self.model.close()

    async def work(self) -> None:
        """Register, serve until stopped or drained, leave in good order."""
        turns = asyncio.create_task(self.turns.run(), name="turns")
        helpers = [
            asyncio.create_task(self.reporter.run(), name="progress"),
            asyncio.create_task(self.model_watch.run(), name="model watch"),
            asyncio.create_task(self.turns.stuck.run(), name="stuck ends"),
            turns,
        ]
        try:
            await self.membership.keep(turns)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def drain(self, registration: Registration) -> None:
        """Finish what runs, direct calls too, within the grace; give the rest back without spending an
        attempt.
        """
        self.turns.stop_looks()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_seconds):
                await self.standing.say("draining", "stopping")
                async with self.turns.under_way:  # what it claims is to be drained too
                    log.info("draining", tasks=len(self.held))
                await self.held.none.wait()
                await self.slots.no_direct.wait()
        for running in self.held:
            if running.work is not None and not running.ending:
                running.work.cancel("drain")
        with suppress(*DATABASE_ERRORS):  # TimeoutError is one
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                await self.held.none.wait()
        with suppress(*DATABASE_ERRORS):
            async with asyncio.timeout(CANCEL_SECONDS_MAX):
                await self.store.retire(registration, "stopped")

    async def ready(self) -> Mapping[str, str]:
        """What keeps this worker from working, by part."""
        return {**await super().ready(), **self.standing.problems()}

    # The parts that these speak to exist only after `setup`.

    def _on_free(self) -> None:
        self.turns.tell()

    def _on_idle(self) -> None:
        self.membership.report_idle()

    def _observe_model(self, call: ModelCall) -> None:
        count_model_call(self.telemetry.metrics, call)


async def _no_trouble() -> None:
    return None
