"""A worker's place among the servers: its row, the lock that says it lives, its heartbeat, and what
the heartbeat brings back.

A registration lasts until the worker ends or is declared lost; then it registers anew.
"""

import asyncio
from collections.abc import Coroutine
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog

from reveille.database import DATABASE_ERRORS
from reveille.store import Pulse, Registration, ServerEntry
from reveille.worker.heart import Heart
from reveille.worker.presence import Presence

if TYPE_CHECKING:
    from reveille.worker.service import WorkerService

log = structlog.get_logger(__name__)

DATABASE_PAUSE_SECONDS = 0.5  # between tries to register


class Membership:
    """Writes `standing.registration` and `standing.draining`."""

    def __init__(self, worker: "WorkerService") -> None:
        self._worker = worker
        self._standing = worker.standing
        self._server_id = worker.worker_settings.server_id
        self._presence = Presence(worker.notifier, self._server_id)
        self._heart: Heart | None = None
        self._lost = asyncio.Event()

    async def keep(self, turns: asyncio.Task[None]) -> None:
        """Register, and anew whenever declared lost, until the worker stops; raises what ends the
        turns.
        """
        stop = asyncio.create_task(self._worker.stopping.wait())
        try:
            while not self._worker.stopping.is_set():
                await self._one_registration(stop, turns)
        finally:
            stop.cancel()

    async def _one_registration(self, stop: asyncio.Task[bool], turns: asyncio.Task[None]) -> None:
        """From registration until this one ends: stopped, drained, or declared lost."""
        await _until(self._worker.notifier.ready.wait(), stop)
        if self._worker.stopping.is_set():
            return
        self._lost.clear()
        try:
            registration = await self._register()
        except DATABASE_ERRORS as error:
            log.warning("registration_failed", error=str(error) or type(error).__name__)
            await _until(asyncio.sleep(DATABASE_PAUSE_SECONDS), stop)
            return
        heart = self._heart = self._heart_of(registration)
        heart.start()
        await self._standing.announce()  # the models may have become ready while this was under way
        try:
            await _until(self._lost.wait(), stop, turns)
            if turns.done():
                await turns  # only ever by an error
            if self._worker.stopping.is_set():
                await self._worker.drain(registration)
        finally:
            self._standing.registration = None
            self._heart = None
            self._presence.stop_retaking()
            await heart.stop()

    async def _register(self) -> Registration:
        worker = self._worker
        known = await worker.store.presence_key(self._server_id)
        if known is not None:
            await self._presence.take(known)
        registration = await worker.store.register(
            ServerEntry(
                server_id=self._server_id,
                server_type=f"{worker.task_pool}_container",
                pool=worker.task_pool,
                task_types=worker.task_types,
                slots=worker.slots.count,
                version=version("reveille"),
                container_id=worker.worker_settings.container_id,
                http_url=worker.http.url,
            )
        )
        self._standing.registration = registration
        await self._presence.take(registration.presence_key)
        log.info("server_registered", server_id=self._server_id, epoch=registration.epoch)
        worker.turns.hear()
        return registration

    def _heart_of(self, registration: Registration) -> Heart:
        worker = self._worker
        return Heart(
            worker.settings.dsn,
            registration,
            interval_seconds=worker.worker_settings.heartbeat_seconds,
            held=worker.held.claims,
            to_look_for=worker.turns.to_look_for,
            claim_failed_at=lambda: worker.store.claim_failed_at,
            on_pulse=self._on_pulse,
        )

    # News

    async def on_connect(self) -> None:
        """The LISTEN connection is new: its lock is gone, and so is what was said meanwhile."""
        if self._standing.registration is not None:
            self._presence.retake(self._standing.registration.presence_key)
        self._worker.turns.hear()

    def on_cancel(self, payload: str) -> None:
        """A hint: the heartbeat asks which tasks are still ours, and its answer decides."""
        if any(str(claim.task_id) == payload for claim in self._worker.held.claims()):
            self._nudge()

    def on_server(self, server_id: str) -> None:
        """Somebody wrote a server's row."""
        if server_id == self._server_id:
            self._nudge()

    def report_idle(self) -> None:
        """Let current_load say 0 soon after the last task, without a heartbeat for each short one."""
        if self._heart is not None and self._heart.reported_load:
            self._heart.nudge_when_rested()

    def _nudge(self) -> None:
        if self._heart is not None:
            self._heart.nudge()

    def _on_pulse(self, pulse: Pulse | None) -> None:
        worker, standing = self._worker, self._standing
        if pulse is None:
            log.warning("server_declared_lost", server_id=self._server_id)
            worker.held.lose_all()
            standing.registration = None
            self._lost.set()
            return
        if pulse.lost:
            worker.held.lose(pulse.lost)
        if pulse.status in {"starting", "active"} and pulse.status != standing.status:
            standing.announce_soon()  # an announcement was lost with the connection
        draining = pulse.status == "draining"
        if draining != standing.draining:
            standing.draining = draining
            worker.turns.tell()
        if pulse.waiting:
            worker.turns.on_waiting()


async def _until(wait: Coroutine[Any, Any, Any], *others: asyncio.Task[Any]) -> None:
    """Until the first of them."""
    task = asyncio.create_task(wait)
    await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
