"""Dashboards, rules and runbooks speak of metrics that exist, and of each other."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.sdk.resources import Resource

from reveille.instruments import Counter, Histogram
from reveille.metrics import WORKERS, Sample
from reveille.telemetry import Telemetry

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "observability/prometheus"
DASHBOARDS = sorted((ROOT / "observability/grafana/dashboards").glob("*.json"))
RULES: list[dict[str, Any]] = [
    rule
    for path in sorted((PROMETHEUS / "rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names that /metrics shows once every instrument has a value."""
    telemetry = _telemetry()
    for name, instrument in vars(telemetry.metrics).items():
        if name == "catalogue":
            continue
        if isinstance(instrument, Histogram):
            instrument.record(1.0)
        elif isinstance(instrument, Counter):
            instrument.add(1)
        else:
            instrument.replace([Sample(1.0, {})])
    text = telemetry.metrics_text().decode()
    telemetry.shutdown()
    return set(re.findall(r"^# TYPE (reveille_\w+)", text, re.MULTILINE))


def _telemetry() -> Telemetry:
    return Telemetry(Resource.get_empty(), exporter=None, sample_ratio=1.0)


def catalogue_page() -> str:
    """The table of docs/metrics.md, as the catalogue in the code has it."""
    telemetry = _telemetry()
    rows = [
        f"| `{entry.name}` | {entry.kind} | {', '.join(entry.labels) or '–'} | {entry.by} "
        f"| {entry.meaning} |"
        for entry in telemetry.metrics.catalogue
    ]
    telemetry.shutdown()
    return "\n".join(
        ["| metric | kind | labels | exported by | meaning |", "|" + "---|" * 5, *rows]
    )


def test_page_of_metrics_is_what_the_code_exports(exposed: set[str]) -> None:
    """Nobody builds an alert on a metric that the page invents, or misses one that it leaves out."""
    telemetry = _telemetry()
    assert {entry.name for entry in telemetry.metrics.catalogue} == exposed
    telemetry.shutdown()
    assert catalogue_page() in (ROOT / "docs/metrics.md").read_text()


def test_every_metric_is_on_a_dashboard() -> None:
    """What is measured is seen."""
    shown = " ".join(expression for _, expression in _expressions())
    telemetry = _telemetry()
    missing = [entry.name for entry in telemetry.metrics.catalogue if entry.name not in shown]
    telemetry.shutdown()
    assert missing == []


def _expressions() -> Iterator[tuple[str, str]]:
    for rule in RULES:
        yield rule.get("alert", rule.get("record", "")), rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_expression_names_only_metrics_that_exist(
    where: str, expression: str, exposed: set[str]
) -> None:
    """A renamed metric must not leave an alert that can never fire or a panel that stays empty."""
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for name in re.findall(r"(?<![\w:])(?:\w+:)?reveille_[\w:]+", expression):
        known = name in recorded or re.sub(r"_(bucket|sum|count)$", "", name) in exposed
        assert known, f"{where} uses {name}"


@pytest.mark.parametrize(("where", "expression"), list(_expressions()))
def test_what_workers_count_is_not_asked_for_as_growth_between_scrapes(
    where: str, expression: str
) -> None:
    """Of a worker that lives for three tasks, rate() and increase() never see the first (rules/reveille.yaml)."""
    telemetry = _telemetry()
    counted = [e.name for e in telemetry.metrics.catalogue if e.by == WORKERS and e.kind != "gauge"]
    telemetry.shutdown()
    for name in re.findall(r"(?:rate|increase|delta)\((\w+)", expression):
        assert not name.startswith(tuple(counted)), where


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_has_a_runbook_section_and_a_rule_test(alert: dict[str, Any]) -> None:
    """Whoever is woken finds what to do; whoever changes a rule finds out what it breaks."""
    runbooks = (ROOT / "observability/runbooks.md").read_text()
    tests = "".join(path.read_text() for path in (PROMETHEUS / "tests").glob("*.yaml"))
    assert f"\n## {alert['alert']}\n" in runbooks
    assert alert["annotations"]["runbook_url"].endswith(f"runbooks.md#{alert['alert'].lower()}")
    assert f"alertname: {alert['alert']}\n" in tests


def test_dashboard_ids_are_unique_and_name_provisioned_sources() -> None:
    """Two dashboards of one uid overwrite each other; an unknown source shows nothing."""
    sources = yaml.safe_load(
        (ROOT / "observability/grafana/provisioning/datasources/sources.yaml").read_text()
    )
    known = {source["uid"] for source in sources["datasources"]}
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) > 0
    for board in boards:
        assert {panel["datasource"]["uid"] for panel in board["panels"]} <= known


def test_rules_pass_their_own_tests() -> None:
    """The rule tests beside the rules, where promtool is installed."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    files = sorted(map(str, (PROMETHEUS / "tests").glob("*.yaml")))
    done = subprocess.run(
        [promtool, "test", "rules", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
