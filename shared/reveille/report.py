"""The success metrics, each with its target, what the rows say, and a verdict. What was not
measured is said to be so. The gateway, the board and `reveille report` show the same.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reveille.costs import Costs, costs_between, records_begin
from reveille.database import Connection, Pool
from reveille.sql import statement
from reveille.uptime import BEAT_SECONDS, GAP_SECONDS_MAX

Verdict = Literal["met", "missed", "too early", "no data"]

DAY_SECONDS = 86_400
MONTH_DAYS = 365.25 / 12
REPORT_DAYS = 30
AVAILABILITY_PERCENT_MIN = 99.5
SAVED_PERCENT_MIN = 90


class Metric(BaseModel):
    """`measured` is in `unit`, null without data; `basis` says what it was counted from."""

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    target: str
    unit: str
    measured: float | None
    verdict: Verdict
    basis: str

    @property
    def shown(self) -> str:
        """The measured value and its unit, for people."""
        if self.measured is None:
            return "–"
        digits = f"{self.measured:.0f}" if abs(self.measured) >= 100 else f"{self.measured:.3g}"
        return f"{digits} {self.unit}"


class Report(BaseModel):
    """`records_from`: since when there is anything to count, null on an empty database."""

    model_config = ConfigDict(frozen=True)

    begins_at: datetime
    ends_at: datetime
    records_from: datetime | None
    metrics: list[Metric]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rows say about a period. `covered` is false while the records do not reach back to
    its beginning, `days` how far they do, `always_on_usd` what the other server costs in all of it.
    """

    tasks: dict[str, Any]
    containers: dict[str, Any]
    availability: dict[str, Any]
    costs: Costs
    days: float
    covered: bool
    always_on_usd: float


async def report_of(
    database: Connection | Pool, days: int, always_on_usd_per_month: float
) -> Report:
    """The report on the last days. Raises what the driver raises."""
    span = await _row(database, "report_span", days)
    begins_at, ends_at = span["begins_at"], span["ends_at"]
    records_from = await records_begin(database)
    if records_from is not None:
        records_from = max(begins_at, records_from)
    recorded = (ends_at - (records_from or ends_at)).total_seconds() / DAY_SECONDS
    always_on_a_day = always_on_usd_per_month / MONTH_DAYS
    facts = Facts(
        tasks=await _row(database, "report_tasks", begins_at, ends_at),
        containers=await _row(database, "report_containers", begins_at, ends_at),
        availability=await _row(
            database, "report_availability", begins_at, ends_at, GAP_SECONDS_MAX
        ),
        costs=await costs_between(
            database,
            begins_at,
            ends_at,
            always_on_a_day * recorded,
            compared_from=records_from or ends_at,
        ),
        days=recorded,
        covered=records_from is not None and records_from <= begins_at,
        always_on_usd=always_on_a_day * days,
    )
    return Report(
        begins_at=begins_at, ends_at=ends_at, records_from=records_from, metrics=judge(facts)
    )


async def _row(database: Connection | Pool, name: str, *arguments: object) -> dict[str, Any]:
    """Aggregates: one row, or none where there is nothing to add up."""
    return dict(await database.fetchrow(statement(name), *arguments) or {})


def judge(facts: Facts) -> list[Metric]:
    """Facts to verdicts; pure."""
    return [*_of_containers(facts), *_of_tasks(facts), *_of_money(facts)]


def _of_containers(facts: Facts) -> list[Metric]:
    starts, created = facts.containers["became_ready"], facts.containers["created"]
    failed = 100 * facts.containers["failed"] / created if created else None
    return [
        _at_most(
            "container_start",
            "Container start, mean",
            facts.containers["start_mean_seconds"],
            120,
            "s",
            f"{starts} starts, from the decision to ready",
        ),
        _at_most("container_failures", "Containers that fail", failed, 1, "%", f"{created} starts"),
    ]


def _of_tasks(facts: Facts) -> list[Metric]:
    started = facts.tasks["started"]
    ended = facts.tasks["completed"] + facts.tasks["failed"]
    success = 100 * facts.tasks["completed"] / ended if ended else None
    wait_basis = f"{started} tasks, from claimable to claimed"
    return [
        _at_most(
            "wait_mean", "Queue wait, mean", facts.tasks["wait_mean_seconds"], 300, "s", wait_basis
        ),
        _at_least(
            "wait_within_10_minutes",
            "Waits of at most 10 minutes",
            facts.tasks["within_10_minutes_percent"],
            95,
            "%",
            wait_basis,
        ),
        _at_least("task_success", "Tasks that succeed", success, 99, "%", f"{ended} ended tasks"),
        _of_availability(facts.availability),
    ]


def _of_availability(said: dict[str, Any]) -> Metric:
    observed = said.get("observed_seconds", 0.0)
    measured = None
    basis = "not a minute on record: gateway and monitor note each minute that they are well"
    if observed >= BEAT_SECONDS:
        measured = 100 * (said["well_seconds"] or 0) / observed
        each = (f"{part} {100 * up / observed:.4g} %" for part, up in sorted(said["parts"].items()))
        basis = f"{_time(observed)}, noted each minute: {', '.join(each)}"
    metric = _at_least(
        "availability", "Availability", measured, AVAILABILITY_PERCENT_MIN, "%", basis
    )
    # Until a lost minute more could not turn the verdict.
    early = metric.verdict == "met" and observed < BEAT_SECONDS * 100 / (
        100 - AVAILABILITY_PERCENT_MIN
    )
    return metric.model_copy(update={"verdict": "too early"}) if early else metric


def _of_money(facts: Facts) -> list[Metric]:
    costs = facts.costs
    billed = any(pool.containers for pool in costs.pools)
    basis = f"{_time(facts.days * DAY_SECONDS)} on record" if billed else "no container was billed"
    month = _at_most(
        "cost_per_month",
        "Cost of the period",
        costs.cost_usd if billed else None,
        100,
        "USD",
        basis,
    )
    document = _at_most(
        "cost_per_document",
        "Cost per document",
        costs.cost_per_document_usd if billed else None,
        0.10,
        "USD",
        f"{costs.documents} documents",
    )
    saved = _at_least(
        "savings",
        "Saved against the always-on server",
        costs.saved_percent if billed else None,
        SAVED_PERCENT_MIN,
        "%",
        basis,
    )
    return [_unless_early(month, facts), document, _savings_unless_early(saved, facts)]


def _unless_early(metric: Metric, facts: Facts) -> Metric:
    """A sum over a period says little before the period is over; that it is too much, it says at
    once.
    """
    early = metric.verdict == "met" and not facts.covered
    return metric.model_copy(update={"verdict": "too early"}) if early else metric


def _savings_unless_early(metric: Metric, facts: Facts) -> Metric:
    """A share of a first hour says nothing about a month, met or missed, unless what was spent by
    now is too much for the whole period.
    """
    may_cost_usd = facts.always_on_usd * (1 - SAVED_PERCENT_MIN / 100)
    early = not facts.covered and metric.measured is not None
    open_yet = early and facts.costs.cost_usd <= may_cost_usd
    return metric.model_copy(update={"verdict": "too early"}) if open_yet else metric


def _time(seconds: float) -> str:
    """How long there are records, for people."""
    for unit, length in (("days", DAY_SECONDS), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _at_most(
    name: str, title: str, measured: float | None, limit: float, unit: str, basis: str
) -> Metric:
    met = measured is not None and measured <= limit
    return _metric(name, title, f"≤ {limit:g} {unit}", unit, measured, met, basis)


def _at_least(
    name: str, title: str, measured: float | None, limit: float, unit: str, basis: str
) -> Metric:
    met = measured is not None and measured >= limit
    return _metric(name, title, f"≥ {limit:g} {unit}", unit, measured, met, basis)


def _metric(
    name: str,
    title: str,
    target: str,
    unit: str,
    measured: float | None,
    met: bool,
    basis: str,
) -> Metric:
    verdict: Verdict = "no data" if measured is None else "met" if met else "missed"
    return Metric(
        name=name,
        title=title,
        target=target,
        unit=unit,
        measured=measured,
        verdict=verdict,
        basis=basis,
    )
