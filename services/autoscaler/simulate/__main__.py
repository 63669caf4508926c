"""`python -m autoscaler.simulate`, also `reveille simulate`: policies side by side on one load."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from autoscaler.scaling_file import parse_duration, read_scaling
from autoscaler.simulate.load import DAY_SECONDS, Load, pitch_decks, read_trace
from autoscaler.simulate.picture import WIDTH, line, slices, svg
from autoscaler.simulate.score import VARIANTS, Outcome, Score, play
from reveille.errors import ConfigurationError

COLUMNS = (
    f"{'cold start':>10}  {'policy':<10} {'pool':<7} {'$/month':>8} {'$/doc':>7} {'ratio':>6} "
    f"{'GPU h':>7} {'wait mean':>9} {'p95':>6} {'max':>7} {'≤10 min':>8} {'unserved':>8}"
)
PICTURE_COLUMNS = 96


def command(
    documents: Annotated[float, typer.Option(help="Invented decks per day.")] = 20,
    days: Annotated[int, typer.Option(help="How many days of them.")] = 28,
    seed: Annotated[int, typer.Option(help="Another seed, another month.")] = 1,
    trace: Annotated[Path | None, typer.Option(help="A CSV instead of invented decks.")] = None,
    stretch: Annotated[float, typer.Option(help="Slows the clock of the trace.", min=1e-6)] = 1.0,
    cold_start: Annotated[list[str] | None, typer.Option(help="120s; may be repeated.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="May be repeated; unset: all.")] = None,
    scaling: Annotated[Path | None, typer.Option(help="A scaling file.")] = None,
    svg_file: Annotated[Path | None, typer.Option("--svg", help="Draw into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Compare policies on a load: cost, waits, and how far from what no policy could beat."""
    load = pitch_decks(documents, days, seed) if trace is None else read_trace(trace, stretch)
    span = days if trace is None else _days(load)
    outcomes = {
        (seconds, name): play(load, name, read_scaling(scaling), seconds, span)
        for seconds in _cold_starts(cold_start or ["120s"])
        for name in _policies(policy or list(VARIANTS))
    }
    scores = [score for outcome in outcomes.values() for score in outcome.scores]
    if as_json:
        typer.echo(json.dumps([score.as_json() for score in scores], indent=2))
    else:
        typer.echo("\n".join([COLUMNS, *map(_row, scores)]))
        for (seconds, name), outcome in outcomes.items():
            typer.echo("\n".join(_drawn(f"{name}, {seconds:g} s", outcome, span * DAY_SECONDS)))
    if svg_file is not None:
        svg_file.write_text(svg(_courses(outcomes, span * DAY_SECONDS)), encoding="utf-8")


def _days(load: Load) -> float:
    """At least an hour, so that a single task has a rate."""
    return max(load.tasks[-1].arrival_s, 3600.0) / DAY_SECONDS


def _cold_starts(given: list[str]) -> list[float]:
    try:
        seconds = [parse_duration(value) for value in given]
    except ValueError as error:
        raise ConfigurationError(f"--cold-start: {error}") from None
    if min(seconds) <= 0:
        raise ConfigurationError("--cold-start must be more than 0")
    return seconds


def _policies(given: list[str]) -> list[str]:
    for name in given:
        if name not in VARIANTS:
            raise ConfigurationError(f"unknown policy {name!r}; known are {', '.join(VARIANTS)}")
    return given


def _row(score: Score) -> str:
    return (
        f"{score.cold_start_seconds:>8g} s  {score.policy:<10} {score.pool:<7} "
        f"{score.usd_per_month:>8.2f} {score.usd_per_document:>7.3f} {score.ratio:>6.2f} "
        f"{score.gpu_hours:>7.1f} {score.wait_mean_seconds:>7.0f} s {score.wait_p95_seconds:>6.0f} "
        f"{score.wait_max_seconds:>7.0f} {score.share_within_10_minutes:>8.1%} {score.unserved:>8}"
    )


def _drawn(title: str, outcome: Outcome, seconds: float) -> list[str]:
    lines = [""]
    for pool, moments in outcome.moments.items():
        course = slices(moments, seconds, PICTURE_COLUMNS)
        lines += [
            f"{title}, {pool}: waiting (most {max(w for w, _ in course)}), replicas",
            line([waiting for waiting, _ in course]),
            line([replicas for _, replicas in course]),
        ]
    return lines


def _courses(
    outcomes: dict[tuple[float, str], Outcome], seconds: float
) -> dict[str, list[tuple[int, int]]]:
    return {
        f"{name}, cold start {start:g} s, {pool}": list(slices(moments, seconds, WIDTH))
        for (start, name), outcome in outcomes.items()
        for pool, moments in outcome.moments.items()
    }


def main() -> None:
    """Run the command; a wrong input is one sentence and exit code 78."""
    try:
        typer.run(command)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"reveille simulate: {error}\n")
        sys.exit(78)


if __name__ == "__main__":
    main()
