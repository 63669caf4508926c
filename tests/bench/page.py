"""The results page: goals first, then a table per scenario."""

from collections.abc import Iterator

from tests.bench.goals import GOALS
from tests.bench.results import CaseResult, RunResult, ScenarioResult


def page(run: RunResult, chart: str | None) -> str:
    """Markdown."""
    lines = [
        "# Benchmark results",
        "",
        f"`make bench{' SHORT=1' if run.short else ''}` on {run.date}, {run.seconds / 60:.0f} minutes. "
        f"{run.machine['processor']}, {run.machine['cores']} cores, {run.machine['memory_gib']} GiB, "
        f"{run.machine['system']}; load before {run.machine['load'][0]}, after {run.machine['load_after'][0]}.",
        "",
        "Postgres with its defaults: fsync and synchronous_commit on. Every number is the median of the "
        "rounds of one run, with the least and the most; what counts is the ratio within a run. "
        "[How it gets there](../performance.md).",
        "",
        ", ".join(f"{name} {said}" for name, said in run.versions.items()) + ".",
        "",
    ]
    if chart:
        lines += [f"![Drain and wake-up, all contestants]({chart})", ""]
    lines += ["## Goals", "", "| goal | wanted | measured | |", "|---|---|---|---|"]
    for goal in GOALS:
        value = goal.value(run)
        if value is not None:
            verdict = "reached" if goal.holds(value) else "**missed**"
            lines.append(
                f"| {goal.says} | {goal.wanted} | {_number(value)}{goal.suffix} | {verdict} |"
            )
    lines.append("")
    for scenario in run.scenarios:
        lines += _table(scenario)
    return "\n".join(lines)


def _table(scenario: ScenarioResult) -> Iterator[str]:
    measures = list(dict.fromkeys(m for case in scenario.cases.values() for m in case.values))
    yield from (
        f"## {scenario.title}",
        "",
        f"`{scenario.name}`, {scenario.unit}. {scenario.note}",
        "",
    )
    if measures:
        yield f"| | {' | '.join(measures)} |"
        yield f"|---|{'---|' * len(measures)}"
    for name, case in scenario.cases.items():
        if case.values:
            yield f"| {name} | {' | '.join(_cell(case, measure) for measure in measures)} |"
    yield ""
    for name, case in scenario.cases.items():
        if case.absent:
            yield f"Not measured: {name} ({case.absent})."
            yield ""


def _cell(case: CaseResult, measure: str) -> str:
    values = case.values.get(measure)
    if not values:
        return ""
    middle = _number(case.median(measure) or 0.0)
    if len(values) == 1:
        return middle
    return f"{middle} ({_number(min(values))} - {_number(max(values))})"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
