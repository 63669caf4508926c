"""Availability: spans that living services extend, and what the report makes of them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from heartbeat_monitor.config import MonitorSettings
from heartbeat_monitor.gauges import Gauges
from heartbeat_monitor.ledger import Ledger
from queue_gateway.testing import running_gateway
from reveille.report import Metric, report_of
from reveille.telemetry import configure
from reveille.testing import Database, eventually
from reveille.uptime import UptimeKeeper

NOW = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
SPAN = "INSERT INTO uptime_spans (part, instance, began_at, ended_at) VALUES ($1, $2, $3, $4)"
PARTS = ("gateway", "monitor", "workers")


def before(hours: float) -> datetime:
    """That long before NOW."""
    return NOW - timedelta(hours=hours)


async def availability(database: Database, days: int = 30) -> Metric:
    """What the report says at NOW."""
    await database.set_now(NOW)
    report = await report_of(database.pool, days, 800.0)
    (metric,) = (metric for metric in report.metrics if metric.name == "availability")
    return metric


async def well(
    database: Database, part: str, *spans: tuple[float, float], instance: str = "a"
) -> None:
    """Spans of a part, each from and to so many hours before NOW."""
    for begin, end in spans:
        await database.execute(SPAN, part, instance, before(begin), before(end))


async def test_availability_is_the_time_in_which_all_parts_were_well(database: Database) -> None:
    """Two outages of different parts add up; one at the same time counts once."""
    await well(database, "gateway", (100, 50), (49, 0))
    await well(database, "monitor", (100, 50), (49, 20), (18, 0))
    await well(database, "workers", (100, 0))

    found = await availability(database)

    assert found.measured == pytest.approx(97, abs=0.05)
    assert (found.verdict, found.target) == ("missed", "≥ 99.5 %")
    assert "gateway 99 %, monitor 97 %, workers 100 %" in found.basis


async def test_instances_of_a_part_stand_in_for_each_other(database: Database) -> None:
    """A rolling upgrade of two gateways is no outage."""
    for part in PARTS[1:]:
        await well(database, part, (100, 0))
    await well(database, "gateway", (100, 40))
    await well(database, "gateway", (45, 0), instance="b")
    found = await availability(database)
    assert (found.measured, found.verdict) == (pytest.approx(100), "met")


async def test_part_that_fell_silent_counts_until_now(database: Database) -> None:
    """A gateway that died two hours ago is down, though nobody wrote that anywhere."""
    for part in PARTS:
        await well(database, part, (100, 2 if part == "gateway" else 0.001))
    found = await availability(database)
    assert found.measured == pytest.approx(98, abs=0.05)


async def test_restart_that_took_a_minute_is_counted_at_once(database: Database) -> None:
    """The end of a span is no promise: a gateway that has just stopped is not well until it says so."""
    for part in PARTS:
        await well(database, part, (2, 100 / 3600))
        await well(database, part, (10 / 3600, 0), instance="b")
    found = await availability(database)
    assert found.measured == pytest.approx(100 * (7100 / 7110), abs=0.001)


async def test_time_before_a_part_was_first_heard_of_is_not_counted(database: Database) -> None:
    """What began in the middle of the period was not down before."""
    await well(database, "gateway", (100, 0))
    await well(database, "monitor", (50, 0))
    found = await availability(database)
    assert found.measured == pytest.approx(100)
    assert found.basis.startswith("2.1 days")


async def test_only_the_period_counts(database: Database) -> None:
    """Last month's outage is not this week's, and a part that is gone since then is."""
    await well(database, "gateway", (1000, 900), (300, 0))
    assert (await availability(database, days=7)).measured == pytest.approx(100)
    await well(database, "monitor", (1000, 900))
    assert (await availability(database, days=7)).measured == 0


async def test_short_record_meets_nothing_yet(database: Database) -> None:
    """An hour without an outage does not show 99.5 %."""
    for part in PARTS:
        await well(database, part, (1, 0))
    found = await availability(database)
    assert (found.measured, found.verdict) == (pytest.approx(100), "too early")


class Part:
    """A part that is well, or not, as the test says."""

    well = True

    async def judge(self) -> bool:
        """See UptimeKeeper."""
        return self.well


async def spans_of(database: Database) -> list[tuple[float, float]]:
    """Began and ended, in seconds before NOW."""
    rows = await database.fetch("SELECT began_at, ended_at FROM uptime_spans ORDER BY began_at")
    return [
        ((NOW - row["began_at"]).total_seconds(), (NOW - row["ended_at"]).total_seconds())
        for row in rows
    ]


async def test_span_goes_on_while_well_and_ends_with_the_last_good_beat(database: Database) -> None:
    """Five beats, the third one bad: two spans, and the minutes around it count as lost."""
    part = Part()
    keeper = UptimeKeeper(database.pool, {"monitor": part.judge})
    for beat, good in ((300, True), (240, True), (180, False), (120, True), (60, True)):
        await database.set_now(NOW - timedelta(seconds=beat))
        part.well = good
        await keeper.beat()
    assert await spans_of(database) == [(300, 240), (120, 60)]


async def test_span_does_not_bridge_a_lost_database_or_a_long_silence(database: Database) -> None:
    """Two good beats with an outage between them are two spans."""
    keeper = UptimeKeeper(database.pool, {"monitor": Part().judge})
    for beat, interrupted in ((300, False), (240, True), (100, False), (40, False)):
        await database.set_now(NOW - timedelta(seconds=beat))
        if interrupted:
            await keeper.interrupt()
        await keeper.beat()
    assert await spans_of(database) == [(300, 300), (240, 240), (100, 40)]


async def test_gateway_notes_that_it_is_well_and_closes_its_span_in_good_order(
    database: Database,
) -> None:
    """The service, not only its parts: a span from its start to its stop."""
    async with running_gateway(database.dsn):
        row = await eventually(lambda: database.fetchrow("SELECT * FROM uptime_spans"))
        assert row is not None
    after = await database.fetchrow("SELECT * FROM uptime_spans")
    assert after is not None
    assert (after["part"], after["began_at"]) == ("gateway", row["began_at"])
    assert after["ended_at"] > row["ended_at"]


@pytest.mark.parametrize(
    ("claimable_minutes_ago", "server", "pool_paused", "expected"),
    [
        (5, None, False, True),
        (11, None, False, False),
        (11, {"visual_analysis": True}, False, True),
        (11, {"deck_date_extraction": True}, False, False),
        (11, None, True, True),
    ],
)
async def test_workers_can_be_had_unless_a_task_waits_in_vain(
    database: Database,
    claimable_minutes_ago: int,
    server: dict[str, Any] | None,
    pool_paused: bool,
    expected: bool,
) -> None:
    """A backlog with workers at it is no outage; a pool that an operator paused is none either."""
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis')"
    )
    await database.execute(
        "UPDATE processing_queue SET claimable_at = reveille_now() - make_interval(mins => $1)",
        claimable_minutes_ago,
    )
    await database.execute("UPDATE pools SET paused = $1", pool_paused)
    if server is not None:
        await database.execute(
            "INSERT INTO processing_servers (id, server_type, capabilities) VALUES ('s', 'gpu', $1)",
            server,
        )
    ledger = Ledger(database.pool, MonitorSettings(DATABASE_URL=database.dsn))
    assert await ledger.workers_to_be_had() is expected


async def test_gauge_shows_who_is_well_and_who_has_fallen_silent(database: Database) -> None:
    """What the report counts at the end of the month an alert says today."""
    await database.set_now(NOW)
    await well(database, "gateway", (100, 1))
    await well(database, "monitor", (100, 0.001))
    telemetry = configure("test")
    ledger = Ledger(database.pool, MonitorSettings(DATABASE_URL=database.dsn))
    await Gauges(telemetry.metrics, ledger).refresh()
    text = telemetry.metrics_text().decode()
    assert 'reveille_part_well{part="gateway"} 0.0' in text
    assert 'reveille_part_well{part="monitor"} 1.0' in text
    assert 'part="workers"' not in text


async def test_beats_end_with_the_service(database: Database) -> None:
    """A service that stops does not wait for the next minute."""
    stopping = asyncio.Event()
    keeper = UptimeKeeper(database.pool, {"workers": Part().judge})
    keeping = asyncio.create_task(keeper.keep(stopping))
    stopping.set()
    async with asyncio.timeout(10):
        await keeping
