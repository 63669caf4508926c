"""A real Jaeger, under the configuration that the composed system gives it, takes and shows our traces."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.services.test_telemetry_traces import CLAIM, NOW

from reveille.backfill import EndedAttempt, write_ended_attempt
from reveille.cold_start import ColdStart, trace_cold_start
from reveille.outcome import Done, Retry
from reveille.telemetry import configure
from reveille.testing import eventually
from reveille.trace_context import creation_of, process_context, to_ns
from reveille.tracing import ambient_span, trace_attempt

CONFIGURATION = Path(__file__).parents[2] / "observability" / "jaeger.yaml"
JAEGER = os.environ.get("REVEILLE_JAEGER_BIN") or shutil.which("jaeger")

pytestmark = pytest.mark.skipif(
    JAEGER is None, reason="no jaeger on the PATH, and REVEILLE_JAEGER_BIN is not set"
)


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


class Jaeger:
    """One that runs: where spans go, and its HTTP API."""

    def __init__(self, otlp: str, query: str, session: aiohttp.ClientSession) -> None:
        self.otlp = otlp
        self._query = query
        self._session = session

    async def get(self, path: str) -> Any:
        """The answer; None while there is none."""
        with suppress(aiohttp.ClientConnectionError):
            async with self._session.get(self._query + path) as answer:
                return await answer.json(content_type=None) if answer.status == 200 else None
        return None

    async def spans(self, trace_id: str) -> dict[str, dict[str, Any]]:
        """The spans of a trace by id, in OTLP's words, each with its `service`."""
        found = await self.get(f"/api/v3/traces/{trace_id}") or {"result": {"resourceSpans": []}}
        return {
            span["spanId"]: {**span, "service": _plain(group["resource"])["service.name"]}
            for group in found["result"]["resourceSpans"]
            for scope in group["scopeSpans"]
            for span in scope["spans"]
        }


def _plain(bearer: dict[str, Any]) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {
        attribute["key"]: next(iter(attribute["value"].values()))
        for attribute in bearer.get("attributes", [])
    }


@pytest.fixture
async def jaeger(tmp_path: Path) -> AsyncIterator[Jaeger]:
    """Our configuration with other ports and folders."""
    assert JAEGER is not None
    otlp, grpc, query, query_grpc = free_ports(4)
    badger = "extensions.jaeger_storage.backends.traces.badger"
    settings = {
        "receivers.otlp.protocols.http.endpoint": f"127.0.0.1:{otlp}",
        "receivers.otlp.protocols.grpc.endpoint": f"127.0.0.1:{grpc}",
        "extensions.jaeger_query.http.endpoint": f"127.0.0.1:{query}",
        "extensions.jaeger_query.grpc.endpoint": f"127.0.0.1:{query_grpc}",
        f"{badger}.directories.keys": str(tmp_path / "keys"),
        f"{badger}.directories.values": str(tmp_path / "values"),
        "service.telemetry.metrics.level": "none",
    }
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            JAEGER,
            f"--config={CONFIGURATION}",
            *(f"--set={name}={value}" for name, value in settings.items()),
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            running = Jaeger(f"http://127.0.0.1:{otlp}", f"http://127.0.0.1:{query}", session)

            async def answers() -> bool:
                assert process.returncode is None, (tmp_path / "log").read_text()[-2000:]
                return await running.get("/api/v3/services") is not None

            await eventually(answers, within_seconds=30)
            yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_task_with_a_cold_start_a_lost_worker_and_a_retry_is_one_trace(
    jaeger: Jaeger,
) -> None:
    """What Jaeger has understood: parents, links, errors, times, services; and no complaint about any span."""
    creation = creation_of(
        task_id=CLAIM.task_id,
        created_at=CLAIM.created_at,
        traceparent=CLAIM.traceparent,
        tracestate=CLAIM.tracestate,
    )
    scaler = configure("autoscaler", otlp_endpoint=jaeger.otlp)
    came_up = ColdStart(
        container="reveille-visual-0",
        pool="visual",
        provider="process",
        intended_at=NOW,
        booting_at=NOW + timedelta(seconds=1),
        ended_at=NOW + timedelta(seconds=4),
    )
    trace_cold_start(came_up, creation)
    assert await scaler.aclose()
    monitor = configure("heartbeat-monitor", otlp_endpoint=jaeger.otlp)
    lost = EndedAttempt(
        claim=CLAIM,
        pool="visual",
        server_id="gpu-0",
        ended_at=CLAIM.started_at + timedelta(seconds=2),
        outcome="lost",
        reason="server_lost",
        error="server gpu-0 stopped answering",
    )
    write_ended_attempt(lost)
    assert await monitor.aclose()
    worker = configure("visual-worker", otlp_endpoint=jaeger.otlp)
    second = replace(CLAIM, attempt=2, lease_token=100)
    with trace_attempt(second, server_id="gpu-1", pool="visual") as process:
        process.settled(Retry(reason="model_busy", error="the model server is busy"))
        previous = process.traceparent
    third = replace(CLAIM, attempt=3, lease_token=101, previous_traceparent=previous)
    with trace_attempt(third, server_id="gpu-1", pool="visual") as process:
        with ambient_span("render page"):
            pass
        process.settled(Done())
    assert await worker.aclose()

    async def whole() -> dict[str, dict[str, Any]]:
        found = await jaeger.spans(creation.trace_id)
        return found if len(found) == 11 else {}

    spans = await eventually(whole, within_seconds=20)

    services = {span["service"] for span in spans.values()}
    assert services == {"autoscaler", "heartbeat-monitor", "visual-worker"}
    warned = {s["name"]: w for s in spans.values() if (w := _plain(s).get("@jaeger@warnings"))}
    assert warned == {}
    parents = {
        span["name"]: spans[span["parentSpanId"]]["name"]
        for span in spans.values()
        if span.get("parentSpanId")
    }
    assert parents == {
        "container cold start": "send visual_analysis",
        "container intended": "container cold start",
        "container booting": "container cold start",
        "queued visual_analysis": "send visual_analysis",
        "process visual_analysis": "send visual_analysis",
        "render page": "process visual_analysis",
    }
    last = spans[f"{process_context(creation.span_context, 101).span_id:016x}"]
    assert previous is not None
    assert previous.split("-")[2] in {link["spanId"] for link in last["links"]}
    lost_id = f"{process_context(creation.span_context, CLAIM.lease_token).span_id:016x}"
    assert spans[lost_id]["startTimeUnixNano"] == str(to_ns(CLAIM.started_at))
    failed = {
        span["status"]["message"]
        for span in spans.values()
        if span.get("status", {}).get("code") == 2
    }
    assert failed == {"server gpu-0 stopped answering", "the model server is busy"}
