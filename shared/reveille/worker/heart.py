"""The heartbeat of a server, in a thread of its own with a connection of its own.

One row per server, not per task. A long render, a busy event loop or a full pool cannot fake a
death, because none of them shares anything with this thread but the interpreter. What comes back
is handed to the worker's loop: tasks that are no longer ours, a drain that an operator asked for,
and whether something claimable waits (the backstop of the wake-up).
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.pause import pause
from reveille.sql import statement
from reveille.store import Pulse, Registration
from reveille.task import Claim

log = structlog.get_logger(__name__)

BEAT_ANSWER_SECONDS_MAX = 5.0
RETRY_SECONDS = 1.0
# A beat walks over dead rows where an old snapshot keeps them: idleness, which short tasks bring about
# many times a second, is told in a tenth of the time at most.
REST_FACTOR = 9.0
# A claim that failed may be committed as long after as a statement may take (30 s); the beat gives back
# what was claimed 15 s ago (sql/heartbeat.sql).
DOUBT_SECONDS = 60.0


class Heart:
    """Beats from `start` to `stop`. Read from this thread: `held`, `to_look_for`, the task types of which
    a regular beat asks whether one waits, and `claim_failed_at` (monotonic): there may be claims of that
    moment that nobody here knows of, and beats look for them until one of a minute later has. `on_pulse`
    is called in the worker's loop.

    `on_pulse(None)` says that the server was declared lost: it must register anew.
    """

    def __init__(
        self,
        dsn: str,
        registration: Registration,
        *,
        interval_seconds: float,
        held: Callable[[], Sequence[Claim]],
        to_look_for: Callable[[], Sequence[str]],
        claim_failed_at: Callable[[], float],
        on_pulse: Callable[[Pulse | None], None],
    ) -> None:
        self._dsn = dsn
        self._registration = registration
        self._interval_seconds = interval_seconds
        self._held = held
        self._to_look_for = to_look_for
        self._claim_failed_at = claim_failed_at
        self._sure_until = float("-inf")  # no claim that failed by then can be in the rows
        self._on_pulse = on_pulse
        self._worker_loop = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._nudged = asyncio.Event()  # both are the thread's
        self._wanted = asyncio.Event()
        self._stopped = False
        self.reported_load = 0  # written by the thread, read by the worker's loop
        self._thread = threading.Thread(target=self._main, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def nudge(self) -> None:
        """Beat now."""
        self._set(self._nudged)
        self._set(self._wanted)

    def nudge_when_rested(self) -> None:
        """Beat soon: after a rest in proportion to what the last beat took."""
        self._set(self._wanted)

    def _set(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the thread's loop closed at this moment
                self._loop.call_soon_threadsafe(event.set)

    async def stop(self) -> None:
        """No beat after this."""
        self._stopped = True
        self.nudge()
        await asyncio.to_thread(self._thread.join, BEAT_ANSWER_SECONDS_MAX)

    def _main(self) -> None:
        asyncio.run(self._beat_on())

    async def _beat_on(self) -> None:
        self._loop = asyncio.get_running_loop()
        connection: Connection | None = None
        due_at, rest = self._loop.time(), 0.0
        while not self._stopped:
            await pause(rest, self._nudged)
            await pause(due_at - self._loop.time(), self._wanted)
            self._nudged.clear()
            self._wanted.clear()
            if self._stopped:
                break
            began = self._loop.time()
            regular = began >= due_at
            try:
                if connection is None or connection.is_closed():
                    connection = await connect(self._dsn, application_name="reveille heartbeat")
                await self._beat(connection, list(self._to_look_for()) if regular else None)
                if regular:
                    due_at = began + self._interval_seconds
            except DATABASE_ERRORS as error:
                log.warning("heartbeat_failed", error=str(error) or type(error).__name__)
                if connection is not None:
                    connection.terminate()
                connection = None
                due_at = self._loop.time() + min(RETRY_SECONDS, self._interval_seconds)
            now = self._loop.time()
            rest = max(0.0, min(due_at - now, REST_FACTOR * (now - began)))
        if connection is not None:
            connection.terminate()

    async def _beat(self, connection: Connection, to_look_for: list[str] | None) -> None:
        held = self._held()
        began, failed_at = time.monotonic(), self._claim_failed_at()
        row = await connection.fetchrow(
            statement("heartbeat"),
            self._registration.server_id,
            self._registration.epoch,
            len(held),
            [claim.task_id for claim in held],
            [claim.lease_token for claim in held],
            to_look_for,
            failed_at > self._sure_until,
            timeout=BEAT_ANSWER_SECONDS_MAX,
        )
        if began - failed_at >= DOUBT_SECONDS:
            self._sure_until = failed_at
        self.reported_load = len(held)
        pulse = None
        if row is not None:
            pulse = Pulse(status=row["status"], lost=frozenset(row["lost"]), waiting=row["waiting"])
        with suppress(RuntimeError):  # the worker's loop is closed: nobody is left to tell
            self._worker_loop.call_soon_threadsafe(self._deliver, pulse)

    def _deliver(self, pulse: Pulse | None) -> None:
        if not self._stopped:  # a late word about an old registration is no word about the new one
            self._on_pulse(pulse)
