"""The dashboards and rules on a real Prometheus that scrapes a real /metrics with every metric."""

import asyncio
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from reveille.health import HttpServer, health_routes
from reveille.instruments import Counter, Histogram
from reveille.metrics import Entry, Sample, TableGauge
from reveille.telemetry import Telemetry, configure
from reveille.testing import eventually

ROOT = Path(__file__).parents[2]
PROMETHEUS = shutil.which("prometheus")
SCRAPES = 4
# What a label may be, where any value will not do: dashboards and rules select by these.
VALUES = {
    "outcome": ("done", "retry", "ready", "failed"),
    "status": ("active", "lost"),
    "state": ("booting", "ready"),
}

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus is installed")


def record(telemetry: Telemetry) -> None:
    """A value for each metric, under each combination of telling labels."""
    metrics = telemetry.metrics
    instruments = [value for name, value in vars(metrics).items() if name != "catalogue"]
    for entry, instrument in zip(metrics.catalogue, instruments, strict=True):
        for labels in _labels(entry):
            match instrument:
                case Histogram():
                    instrument.record(0.2, labels)
                case Counter():
                    instrument.add(3, labels)
                case TableGauge():
                    instrument.replace([Sample(3.0, labels) for labels in _labels(entry)])


def _labels(entry: Entry) -> list[dict[str, str]]:
    telling = [label for label in entry.labels if label in VALUES]
    base = {label: f"some {label}" for label in entry.labels}
    return [{**base, label: value} for label in telling for value in VALUES[label]] or [base]


async def _served(telemetry: Telemetry) -> HttpServer:
    async def ready() -> dict[str, str]:
        return {}

    application = web.Application()
    application.add_routes(health_routes(telemetry=telemetry, ready=ready))
    server = HttpServer(application, host="127.0.0.1", port=0)
    await server.start()
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """One that runs, and its HTTP API."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; fails with Prometheus's own words."""
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as answer:
            said = await answer.json()
        assert said["status"] == "success", said.get("error")
        return said["data"]

    async def query(self, expression: str) -> list[Any]:
        """The series of an instant query."""
        found = await self.get("query", query=expression)
        return list(found["result"])


@pytest.fixture
async def prometheus(tmp_path: Path) -> AsyncIterator[Prometheus]:
    """A Prometheus with the project's rules, after it has scraped `SCRAPES` times."""
    assert PROMETHEUS is not None
    telemetry = configure("test")
    record(telemetry)
    server = await _served(telemetry)
    config = tmp_path / "prometheus.json"  # JSON is YAML
    target = server.url.removeprefix("http://")
    static = {"targets": [target], "labels": {"service": "some service"}}
    config.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
                "rule_files": [str(ROOT / "observability/prometheus/rules/*.yaml")],
                "scrape_configs": [{"job_name": "reveille", "static_configs": [static]}],
            }
        )
    )
    port = _free_port()
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            running = Prometheus(f"http://127.0.0.1:{port}", session)

            async def scraped() -> bool:
                assert process.returncode is None, (tmp_path / "log").read_text()[-2000:]
                record(telemetry)  # a rate wants counters that grow
                try:
                    counts = await running.query("count_over_time(up[1m])")
                except aiohttp.ClientError:
                    return False
                return bool(counts) and int(counts[0]["value"][1]) >= SCRAPES

            await eventually(scraped, within_seconds=40)
            yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await server.stop()
        telemetry.shutdown()


def _panels() -> list[tuple[str, str]]:
    return [
        (f"{path.stem}: {panel['title']}", _filled(target["expr"]))
        for path in sorted((ROOT / "observability/grafana/dashboards").glob("*.json"))
        for panel in json.loads(path.read_text())["panels"]
        for target in panel["targets"]
    ]


def _filled(expression: str) -> str:
    """Grafana's variables as Grafana would fill them in."""
    for name, value in (("$__rate_interval", "1m"), ("$__range_s", "3600"), ("$__range", "1h")):
        expression = expression.replace(name, value)
    return expression.replace("$pool", ".*")


def _expression(board: str, title: str) -> str:
    (found,) = (expression for where, expression in _panels() if where == f"{board}: {title}")
    return found


async def test_what_a_worker_counted_before_its_first_scrape_is_on_the_panels(
    prometheus: Prometheus,
) -> None:
    """The first tasks of a worker that has just started are those that waited for it."""
    total, shown, growth = [
        float((await prometheus.query(expression))[0]["value"][1])
        for expression in (
            'sum(reveille_tasks_settled_total{outcome="done"})',
            _expression("queue", "Completed"),
            'sum(increase(reveille_tasks_settled_total{outcome="done"}[1h]))',
        )
    ]
    assert growth < total <= shown


async def test_every_panel_shows_data_and_every_rule_evaluates(prometheus: Prometheus) -> None:
    """A panel that parses but selects a label that nobody exports stays empty for ever."""
    empty = [where for where, expression in _panels() if not await prometheus.query(expression)]
    assert empty == []

    async def evaluated() -> bool:
        groups = (await prometheus.get("rules"))["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert len(rules) == len({rule["name"] for rule in rules})
        return all(rule["health"] == "ok" for rule in rules)

    await eventually(evaluated, within_seconds=20)
    recorded = re.findall(r"record: (\S+)", _rules_text())
    assert [name for name in recorded if not await prometheus.query(name)] == []


def _rules_text() -> str:
    return "".join(
        path.read_text() for path in (ROOT / "observability/prometheus/rules").glob("*.yaml")
    )
