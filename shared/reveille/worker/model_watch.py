"""In service while the model server and the GPU answer: models are loaded before the first claim, and a
server that turns out to be away is waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from reveille.errors import TaskRetry
from reveille.model import ModelClient
from reveille.pause import pause
from reveille.worker.slots import Slots
from reveille.worker.standing import Standing

log = structlog.get_logger(__name__)

# Trouble of the model server, not of the task: the task goes back unharmed and this server takes no
# more until it is over.
OUT_OF_SERVICE_REASONS = frozenset({"model_unreachable", "model_absent"})
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 0.2, 5.0


class ModelWatch:
    """Writes `standing.in_service`; `on_service` is called each time it comes (back) into service."""

    def __init__(
        self,
        model: ModelClient,
        models: Sequence[str],
        *,
        standing: Standing,
        slots: Slots,
        health_seconds: float,
        gpu_trouble: Callable[[], Awaitable[str | None]],
        on_service: Callable[[], None],
    ) -> None:
        self._model = model
        self._models = models
        self._standing = standing
        self._slots = slots
        self._health_seconds = health_seconds
        self._gpu_trouble = gpu_trouble
        self._on_service = on_service
        self._leave = asyncio.Event()

    def out_of_service(self) -> None:
        """A task found the model server away."""
        self._standing.in_service.clear()
        self._leave.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._until_ready()
            self._standing.in_service.set()
            self._standing.not_ready_because = None
            await self._standing.announce()
            self._on_service()
            while self._standing.in_service.is_set():
                await pause(self._health_seconds, self._leave)
                self._leave.clear()
                await self._check()

    async def _until_ready(self) -> None:
        pause_seconds = PAUSE_SECONDS
        while True:
            try:
                await self._check_gpu()
                await self._model.ready(self._models)
            except TaskRetry as error:
                self._standing.not_ready_because = error.error
                await self._standing.announce()
                log.warning("model_not_ready", error=error.error, retry_in_seconds=pause_seconds)
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, PAUSE_SECONDS_MAX)
            else:
                return

    async def _check(self) -> None:
        """While calls run, they tell how the model server is; an idle worker has to ask. Of a GPU that
        fails they may tell nothing.
        """
        if not self._standing.in_service.is_set():
            return
        try:
            await self._check_gpu()
            if not self._slots.busy:
                await self._model.health()
        except TaskRetry as error:
            log.warning("model_unhealthy", error=error.error)
            self._standing.in_service.clear()

    async def _check_gpu(self) -> None:
        trouble = await self._gpu_trouble()
        if trouble is not None:
            raise TaskRetry(
                "gpu_unhealthy",
                f"{trouble}: this server takes no tasks until that is over; REVEILLE_GPU_HEALTH=false "
                "if it is to do without a GPU",
            )
