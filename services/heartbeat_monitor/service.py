"""The monitor's loop: look, judge, apply, and sleep until something can differ."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from heartbeat_monitor.archive import Archive
from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.gauges import Gauges, refresh_on_scrape
from heartbeat_monitor.ledger import Ledger, Row
from heartbeat_monitor.verdict import Verdict, judge, rest_seconds
from reveille.backfill import ended_attempt_of, write_ended_attempt
from reveille.channels import Channel
from reveille.database import DATABASE_ERRORS
from reveille.lifecycle import Service
from reveille.metrics import show_as_zero
from reveille.pause import pause
from reveille.semconv import LABEL_STATUS
from reveille.telemetry import Telemetry
from reveille.tracing import sweep_span
from reveille.uptime import UptimeKeeper

log = structlog.get_logger(__name__)

DATABASE_PAUSE_SECONDS = 0.5
# News may come thousands of times a second; it hurries a round, but no more than this often.
ROUND_SECONDS_MIN = 0.05


class HeartbeatMonitor(Service):
    """One monitor. `rounds` counts completed rounds; `_news` wakes the next one early."""

    name = "heartbeat-monitor"

    def __init__(self, settings: MonitorSettings, telemetry: Telemetry) -> None:
        super().__init__(settings, telemetry)
        self.monitor_settings = settings
        self.rounds = 0
        self._watchful = False  # see Verdict
        self._news = asyncio.Event()
        self._listened = False
        self._alert_until = 0.0  # monotonic, as all times below
        self._reachable_since = float("-inf")
        self._audited_at = float("-inf")

    async def setup(self) -> None:
        """Listeners and gauges."""
        self.ledger = Ledger(self.pool, self.monitor_settings)
        self.archive = Archive(self.pool, self.monitor_settings, self.stopping)
        for fate in ("queued", "failed"):
            show_as_zero(self.telemetry.metrics.tasks_recovered, labels={LABEL_STATUS: fate})
        gauges = Gauges(self.telemetry.metrics, self.ledger)
        self.application.middlewares.append(refresh_on_scrape(gauges))
        notifier = self.notifier
        for channel in (Channel.TASK_READY, Channel.SERVER_CHANGED, Channel.TIMER_CHANGED):
            notifier.on(channel, self._on_news)
        notifier.on_connect(self._on_connect)
        judges = {"monitor": self._is_well, "workers": self.ledger.workers_to_be_had}
        self.uptime = UptimeKeeper(self.pool, judges)
        notifier.on_connect(self.uptime.interrupt)

    async def work(self) -> None:
        """Rounds, and beside them the archive and the spans of uptime, until stopped."""
        await self.ledger.forget_uptime()
        async with asyncio.TaskGroup() as all_three:
            all_three.create_task(self._rounds(), name="rounds")
            all_three.create_task(self.archive.keep(), name="archive")
            all_three.create_task(self.uptime.keep(self.stopping), name="uptime")

    async def _is_well(self) -> bool:
        return self.rounds > 0 and not await self.ready()

    async def _rounds(self) -> None:
        """Rounds until stopped; a database that is away is waited for."""
        while not self.stopping.is_set():
            self._news.clear()
            begun = time.monotonic()
            try:
                until_next = await self.round()
            except DATABASE_ERRORS as error:
                log.warning("round_failed", error=str(error) or type(error).__name__)
                self._was_away()
                until_next = DATABASE_PAUSE_SECONDS
            took = time.monotonic() - begun
            await self._rest(until_next)
            rest = rest_seconds(took, self.monitor_settings.limits, watchful=self._watchful)
            await self._hold_back(begun + max(ROUND_SECONDS_MIN, took + rest))

    async def round(self) -> float:
        """One look and what follows from it; seconds until the next, if nothing is heard."""
        facts = await self.ledger.look()
        now = time.monotonic()
        verdict = judge(
            facts,
            self.monitor_settings.limits,
            reachable_seconds=now - self._reachable_since,
            alert=now < self._alert_until,
        )
        self._watchful = verdict.watchful
        moved = await self._apply(verdict)
        if facts.untraced or verdict.recover:
            await self._trace_attempts()
        if facts.waiting or self._audited_at == float("-inf"):
            await self._audit()
        self.rounds += 1
        return 0.0 if moved else min(verdict.pause_seconds, self.ledger.whole_look_in_seconds)

    async def _apply(self, verdict: Verdict) -> bool:
        """Whether tasks were queued, and so a timer may have changed."""
        if verdict.missing:
            await self.ledger.note_missing(verdict.missing)
        if verdict.back:
            await self.ledger.note_back(verdict.back)
        await self._lose(verdict)
        if verdict.recover:
            self._tell_recovered(await self.ledger.recover())
        moved = await self.ledger.queue_due() if verdict.retries_due else 0
        if verdict.stuck:
            for row in await self.ledger.mark_stuck(verdict.stuck):
                log.warning("container_stuck", container=row["name"], reason=row["stuck_reason"])
        if verdict.clean:
            log.info("servers_forgotten", servers=await self.ledger.clean())
        return moved > 0

    async def _lose(self, verdict: Verdict) -> None:
        reasons = {loss.server_id: loss.reason for loss in (*verdict.silent, *verdict.disconnected)}
        lost: list[str] = []
        if verdict.silent:
            lost += await self.ledger.lose_silent(verdict.silent)
        if verdict.disconnected:
            lost += await self.ledger.lose_disconnected(verdict.disconnected)
        for server_id in lost:
            log.warning("server_lost", server_id=server_id, reason=reasons[server_id])

    def _tell_recovered(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        for row in rows:
            self.telemetry.metrics.tasks_recovered.add(1, {LABEL_STATUS: row["fate"]})
        with sweep_span("recover tasks", affected=[row["traceparent"] for row in rows]):
            for row in rows:
                log.warning(
                    "task_recovered",
                    task_id=row["task_id"],
                    server_id=row["server_id"],
                    status=row["fate"],
                )

    async def _trace_attempts(self) -> None:
        """The spans of attempts that ended where nobody could write them."""
        for row in await self.ledger.take_untraced():
            try:
                write_ended_attempt(ended_attempt_of(row))
            except (TypeError, ValueError, OverflowError):
                # A row of a table that others write to, too: it must not end the monitor.
                log.exception("attempt_not_traced", task_id=row["task_id"])

    async def _audit(self) -> None:
        now = time.monotonic()
        if now - self._audited_at < self.monitor_settings.audit_seconds:
            return
        parents, tasks = await self.ledger.audit()
        self._audited_at = now
        if parents or tasks:
            # A trigger was switched off, or has a bug: worth a look by a human.
            log.error("dependents_were_stranded", parents=parents, released=tasks)

    # News

    def _on_news(self, _: str) -> None:
        self._alert_until = time.monotonic() + self.monitor_settings.attention_seconds
        self._news.set()

    async def _on_connect(self) -> None:
        if self._listened:
            self._was_away()
        self._listened = True
        self._on_news("")

    def _was_away(self) -> None:
        """The database, or the way to it."""
        self._reachable_since = time.monotonic()
        self.ledger.look_at_everything()

    async def _rest(self, pause_seconds: float) -> None:
        """Until news, the end, or `pause_seconds`."""
        waits = [asyncio.create_task(e.wait()) for e in (self._news, self.stopping)]
        await asyncio.wait(waits, timeout=pause_seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _hold_back(self, until: float) -> None:
        """Space rounds out; the end is not held back."""
        await pause(max(0.0, until - time.monotonic()), self.stopping)
