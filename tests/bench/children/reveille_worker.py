"""Reveille: the visual worker's own loop with a handler that does nothing."""

import asyncio
import json
import os
import sys
import time
from typing import Any

from reveille.logs import configure_logging
from reveille.migrate import migrate
from reveille.outcome import Done, Outcome
from reveille.settings import WorkerSettings
from reveille.task_types.handling import Handler, HandlerContext
from reveille.task_types.spec import TaskOptions
from reveille.telemetry import Telemetry, configure
from reveille.worker import WorkerService, attempts


class NoModel:
    """In place of the model client: there is nothing to load, ask or close."""

    async def ready(self, _models: object) -> None:
        """At once."""

    async def health(self) -> None:
        """Well."""

    async def close(self) -> None:
        """Nothing to close."""


class BenchWorker(WorkerService):
    """Says `ready` as soon as it is in service and hears."""

    async def work(self) -> None:
        """Beside the work: wait for what makes it ready, and say so."""
        saying = asyncio.create_task(self._say_ready())
        try:
            await super().work()
        finally:
            saying.cancel()

    async def _say_ready(self) -> None:
        while (  # noqa: ASYNC110 - three things, none of which has an event
            self.standing.registration is None
            or not self.standing.in_service.is_set()
            or self.turns.look
        ):
            await asyncio.sleep(0.01)
        say("ready")


def count_nothing(*_: object) -> None:
    """In place of the metrics of a settled task, to see what they cost."""


def say(line: str) -> None:
    """One line to the harness."""
    os.write(1, f"{line}\n".encode())


def handler(*, report: bool, ends: bool, seconds: float) -> Handler:
    """A handler that does nothing, or waits as for a model."""

    async def handle(_options: TaskOptions, _context: HandlerContext) -> Outcome:
        if report:
            say(str(time.monotonic_ns()))
        if seconds:
            await asyncio.sleep(seconds)
        if ends:
            say(f"end {time.monotonic_ns()}")
        return Done()

    return handle


async def live(service: WorkerService, telemetry: Telemetry) -> None:
    """Until SIGTERM."""
    try:
        await service.run()
    finally:
        await telemetry.aclose()


def main() -> None:
    """One verb."""
    verb, dsn, said = sys.argv[1:]
    if verb == "install":
        asyncio.run(migrate(dsn))
        return
    options: dict[str, Any] = json.loads(said)
    settings = WorkerSettings(
        DATABASE_URL=dsn,  # type: ignore[arg-type]
        slots=options.get("slots", 10),
        otlp_endpoint=options.get("otlp"),
        trace_sample_ratio=options.get("ratio", 1.0),
    )
    if options.get("blind"):
        attempts.count_settled = count_nothing  # type: ignore[attr-defined]
    configure_logging(options.get("log_level", "warning"), json=True)
    telemetry = configure(
        "bench-worker",
        otlp_endpoint=settings.otlp_endpoint,
        sample_ratio=settings.trace_sample_ratio,
    )
    task_type = "slide_feedback" if options.get("other") else "visual_analysis"
    work = handler(
        report=options.get("report", False),
        ends=options.get("ends", False),
        seconds=options.get("seconds", 0.0),
    )
    service = BenchWorker(settings, telemetry, pool="visual", handlers={task_type: work})
    service.model = NoModel()  # type: ignore[assignment]
    asyncio.run(live(service, telemetry))


if __name__ == "__main__":
    main()
