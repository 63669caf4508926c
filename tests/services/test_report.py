"""The success metrics and the costs say the same to a terminal, over HTTP and on the board."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from queue_gateway.testing import running_gateway
from reveille.cli.app import app
from reveille.costs import Costs, PoolCosts
from reveille.errors import ReveilleError
from reveille.report import Facts, judge
from reveille.testing import Database

BEGIN, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 31, tzinfo=UTC)
CONTAINER = (
    "INSERT INTO containers (name, pool, slot, provider, state, reason, intended_at, creating_at, ready_at, "
    "ended_at, price_usd_per_hour) SELECT 'c-' || n, 'visual', n, 'process', 'stopped', '', at, at, "
    "at + interval '3 minutes', at + interval '2 hours', 1.5 "
    "FROM generate_series(1, 3) AS n, LATERAL (SELECT reveille_now() - make_interval(days => n)) AS l (at)"
)
TASKS = (
    "INSERT INTO processing_queue (document_id, task_type) SELECT n, 'visual_analysis' FROM generate_series(1, 8) AS n",
    "UPDATE processing_queue SET claimable_at = reveille_now() - make_interval(mins => id::int), "
    "started_at = reveille_now()",
    "UPDATE processing_queue SET status = CASE WHEN id = 1 THEN 'failed' ELSE 'completed' END",
    "INSERT INTO uptime_spans (part, instance, began_at, ended_at) SELECT p, 'a', reveille_now() - interval '9 days', "
    "reveille_now() FROM unnest(ARRAY['gateway', 'monitor', 'workers']) AS p",
)


async def command(*arguments: str) -> Any:
    """What a command says in JSON."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


async def printed(*arguments: str) -> str:
    """What it says to people, the terminal's line breaks aside."""
    result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
    assert result.exit_code == 0, result.exception
    return " ".join(result.stdout.split())


async def test_terminal_gateway_and_board_agree(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One set of rows, one always-on price in the environment: one answer, number by number."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.setenv("REVEILLE_ALWAYS_ON_USD_PER_MONTH", "1234")
    await database.set_now(END - timedelta(hours=1))
    await database.execute(CONTAINER)
    for statement in TASKS:
        await database.execute(statement)
    await database.set_now(END)
    async with running_gateway(database.dsn) as gateway:
        over_http = await gateway.get("/api/report?days=30")
        costs = await gateway.get("/api/costs")
        async with gateway.session.get(f"{gateway.url}/report") as answer:
            board = await answer.text()
        async with gateway.session.get(f"{gateway.url}/costs") as answer:
            costs_page = await answer.text()

    assert await command("report", "--days", "30") == over_http
    assert await command("costs") == costs
    on_record_since = datetime.fromisoformat(costs["compared_from"])
    assert costs["compared_from"] == over_http["records_from"]
    for metric in over_http["metrics"]:
        assert metric["measured"] is not None, metric
        assert metric["title"] in board
        assert metric["basis"].replace("&", "&amp;") in board
    on_record = timedelta(days=1, hours=1)  # the first container's, in a month of 31 days
    assert costs["always_on_usd"] == pytest.approx(1234 * (on_record / timedelta(days=31)))
    since = on_record_since.strftime("%Y-%m-%d %H:%M")
    assert f"since records begin, {since} UTC" in await printed("costs")
    assert f"on record since {since} UTC" in await printed("report")
    assert f'since records begin: <time datetime="{on_record_since.isoformat()}"' in costs_page
    saved = next(m for m in over_http["metrics"] if m["name"] == "savings")
    assert 0 < saved["measured"] < 100
    # A month of the calendar here, one of 365.25 / 12 days there.
    assert saved["measured"] == pytest.approx(costs["saved_percent"], rel=0.01)


async def test_records_begin_where_the_archive_does(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that has left for the archive is still the first on record."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    first = END - timedelta(days=5)
    await database.set_now(first)
    for statement in TASKS:
        await database.execute(statement)
    await database.set_now(END)
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (9, 'visual_analysis')"
    )
    moved = await database.fetchval("SELECT moved FROM reveille_archive_tasks($1, 0, 10)", END)

    assert moved == 8
    for said in (
        (await command("costs"))["compared_from"],
        (await command("report"))["records_from"],
    ):
        assert datetime.fromisoformat(said) == first


@pytest.mark.parametrize("value", ["-1", "a lot"])
def test_price_that_is_none_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typing error is not a saving."""
    monkeypatch.setenv("REVEILLE_ALWAYS_ON_USD_PER_MONTH", value)
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 2
    assert "always-on" in result.stderr


def test_month_that_is_none_is_said() -> None:
    """And what one looks like."""
    result = CliRunner().invoke(app, ["costs", "--month", "January"])
    assert isinstance(result.exception, ReveilleError)
    assert "2026-01" in str(result.exception)


def facts(cost_usd: float, always_on_usd: float, days: float, *, covered: bool) -> Facts:
    """Facts in which only money differs."""
    pool = PoolCosts(pool="visual", containers=1, cost_usd=cost_usd)
    costs = Costs(
        begins_at=BEGIN,
        ends_at=END,
        compared_from=BEGIN,
        pools=[pool],
        task_types=[],
        days=[],
        cost_usd=cost_usd,
        documents=1,
        cost_per_document_usd=cost_usd,
        always_on_usd=always_on_usd,
        saved_usd=always_on_usd - cost_usd,
        saved_percent=100 * (1 - cost_usd / always_on_usd),
    )
    tasks = dict.fromkeys(("started", "completed", "failed"), 0)
    containers = dict.fromkeys(("became_ready", "created", "failed"), 0)
    return Facts(
        tasks={**tasks, "wait_mean_seconds": None, "within_10_minutes_percent": None},
        containers={**containers, "start_mean_seconds": None},
        availability={},
        costs=costs,
        days=days,
        covered=covered,
        always_on_usd=800.0,
    )


@pytest.mark.parametrize(
    ("cost_usd", "always_on_usd", "days", "covered", "verdict"),
    [
        (0.06, 0.07, 0.01, False, "too early"),  # the first minutes: a cold start and little else
        (0.001, 0.07, 0.01, False, "too early"),  # saved a lot, so far
        (81.0, 400.0, 15.0, False, "missed"),  # more than a tenth of the whole month is gone
        (79.0, 800.0, 30.0, True, "met"),
        (81.0, 800.0, 30.0, True, "missed"),
    ],
)
def test_savings_are_judged_when_they_can_be(
    cost_usd: float, always_on_usd: float, days: float, covered: bool, verdict: str
) -> None:
    """An evaluation of five minutes does not end with a "missed" that a month would turn."""
    found = {m.name: m for m in judge(facts(cost_usd, always_on_usd, days, covered=covered))}
    assert found["savings"].verdict == verdict
