"""`python -m autoscaler.simulate`, also `reveille simulate`: policies side by side on one load."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from autoscaler.scaling_file import PoolScaling, parse_duration, read_scaling
from autoscaler.simulate.history import read_history
from autoscaler.simulate.load import DAY_SECONDS, Load, pitch_decks, read_trace
from autoscaler.simulate.months import months_of
from autoscaler.simulate.picture import WIDTH, course_of, svg
from autoscaler.simulate.score import VARIANTS, Outcome, Score, play
from autoscaler.simulate.table import COLUMNS, drawn, row, told
from autoscaler.simulate.tune import tune
from autoscaler.simulate.weather import Weather
from reveille.errors import ConfigurationError
from reveille.render.picture import png_of

DAYS = 28


def command(  # noqa: PLR0917 - each is an option of the command line
    documents: Annotated[
        float | None, typer.Option(help="Invented decks per day; unset: 20.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="How many days; unset: 28.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another month.")] = 1,
    months: Annotated[
        int, typer.Option(help="So many, of seeds from --seed on: their median and worst.", min=1)
    ] = 1,
    trace: Annotated[Path | None, typer.Option(help="A CSV instead of invented decks.")] = None,
    stretch: Annotated[float, typer.Option(help="Slows the clock of the trace.", min=1e-6)] = 1.0,
    from_database: Annotated[
        bool, typer.Option("--from-database", help="Your own history, from DATABASE_URL.")
    ] = False,
    cold_start: Annotated[
        list[str] | None,
        typer.Option(help="May be repeated; unset: as your history has it, else 120s."),
    ] = None,
    spread: Annotated[float, typer.Option(help="Of cold starts: sigma of a log-normal.")] = 0.0,
    failing: Annotated[float, typer.Option(help="Share of starts that fail.")] = 0.0,
    crashes: Annotated[float, typer.Option(help="Of a busy replica, per hour.")] = 0.0,
    policy: Annotated[list[str] | None, typer.Option(help="May be repeated; unset: all.")] = None,
    scaling: Annotated[Path | None, typer.Option(help="A scaling file.")] = None,
    combined: Annotated[bool, typer.Option(help="One pool serves all task types.")] = False,
    tuned: Annotated[
        bool, typer.Option("--tune", help="Search the cheapest configuration.")
    ] = False,
    goal: Annotated[str, typer.Option(help="--tune: the mean wait to stay below.")] = "300s",
    picture: Annotated[
        list[Path] | None, typer.Option("--picture", "--svg", help="Draw into this .svg or .png.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Compare policies on a load: cost, waits, and how far from what no policy could beat."""
    _refuse(
        {
            "--months goes with invented decks, without --tune and --picture": months > 1
            and bool(trace or from_database or tuned or picture),
            "--tune tries every policy: leave --policy out": tuned and bool(policy),
            "--tune draws nothing: leave --picture out": tuned and bool(picture),
            "--trace and --from-database: choose one": from_database and trace is not None,
            "--documents is of invented decks: leave it out": documents is not None
            and bool(trace or from_database),
            "a trace is played whole: leave --days out": trace is not None and days is not None,
        }
    )
    for path in picture or ():
        _check_picture(path)
    per_day, measured = 20.0 if documents is None else documents, tuple[float, ...]()
    if from_database:
        load, measured = read_history(_dsn(), days or DAYS)
    elif trace is not None:
        load = read_trace(trace, stretch)
    else:
        load = pitch_decks(per_day, days or DAYS, seed)
    span = _days(load) if trace or from_database else float(days or DAYS)
    configs = _configs(scaling)
    if combined:
        load = load.combined
    weathers = [
        Weather(
            cold_start=seconds,
            cold_start_spread=spread,
            measured=() if cold_start else measured,
            failing_starts=failing,
            crashes_per_hour=crashes,
            seed=seed,
        )
        for seconds in _seconds("--cold-start", cold_start or [_expected(measured)])
    ]
    if tuned:
        _tune(load, configs, weathers, span, _seconds("--goal", [goal])[0], as_json=as_json)
        return
    if months > 1:
        loads = [load] + [pitch_decks(per_day, int(span), seed + n) for n in range(1, months)]
        if combined:
            loads = [one.combined for one in loads]
        scores = months_of(loads, _policies(policy or list(VARIANTS)), configs, weathers, span)
        _print(scores, as_json=as_json)
        return
    outcomes = {
        (weather.cold_start, name): play(load, name, configs, weather, span)
        for weather in weathers
        for name in _policies(policy or list(VARIANTS))
    }
    _show(outcomes, span * DAY_SECONDS, as_json=as_json)
    for path in picture or ():
        _draw(path, outcomes, span * DAY_SECONDS)


def _refuse(mistakes: Mapping[str, bool]) -> None:
    """Options that would be ignored beside each other are no plan."""
    for words, made in mistakes.items():
        if made:
            raise ConfigurationError(words)


def _days(load: Load) -> float:
    """Until its last arrival; at least an hour, so that a single task has a rate."""
    return max(load.tasks[-1].arrival_s, 3600.0) / DAY_SECONDS


def _expected(measured: Sequence[float]) -> str:
    """The cold start that policies expect at first: the median of those measured."""
    return f"{median(measured)}s" if measured else "120s"


def _dsn() -> str:
    dsn = os.environ.get("DATABASE_URL")
    if not dsn:
        raise ConfigurationError("--from-database: DATABASE_URL is not set")
    return dsn


def _configs(path: Path | None) -> dict[str, PoolScaling]:
    # Money that a cap would not have spent is no saving: caps are left out.
    return {
        pool: PoolScaling.model_validate(config.model_dump())
        for pool, config in read_scaling(path).items()
    }


def _seconds(option: str, given: Sequence[str]) -> list[float]:
    try:
        seconds = [parse_duration(value) for value in given]
    except ValueError as error:
        raise ConfigurationError(f"{option}: {error}") from None
    if min(seconds) <= 0:
        raise ConfigurationError(f"{option} must be more than 0")
    return seconds


def _policies(given: list[str]) -> list[str]:
    for name in given:
        if name not in VARIANTS:
            raise ConfigurationError(f"unknown policy {name!r}; known are {', '.join(VARIANTS)}")
    return given


def _tune(
    load: Load,
    configs: Mapping[str, PoolScaling],
    weathers: Sequence[Weather],
    days: float,
    wait_goal: float,
    *,
    as_json: bool,
) -> None:
    answers = []
    for weather in weathers:
        best = tune(
            load,
            configs,
            weather,
            days,
            wait_goal=wait_goal,
            tell=lambda trial: None if as_json else typer.echo(told(trial)),
        )
        answers.append(
            {"changes": best.changes, "meets": best.meets, "score": best.score.as_json()}
        )
    if as_json:
        typer.echo(json.dumps(answers, indent=2))


def _show(outcomes: Mapping[tuple[float, str], Outcome], seconds: float, *, as_json: bool) -> None:
    scores = [score for outcome in outcomes.values() for score in outcome.scores]
    _print(scores, as_json=as_json)
    if as_json:
        return
    for (start, name), outcome in outcomes.items():
        typer.echo("\n".join(drawn(f"{name}, {start:g} s", outcome, seconds)))


def _print(scores: Sequence[Score], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([score.as_json() for score in scores], indent=2))
    else:
        typer.echo("\n".join([COLUMNS, *map(row, scores)]))


def _check_picture(path: Path) -> None:
    """Before a month is played for nothing."""
    if path.suffix not in {".svg", ".png"}:
        raise ConfigurationError(f"--picture {path}: the name must end in .svg or .png")
    if not path.parent.is_dir():
        raise ConfigurationError(f"--picture {path}: there is no folder {path.parent}")


def _draw(path: Path, outcomes: Mapping[tuple[float, str], Outcome], seconds: float) -> None:
    drawing = svg(
        {
            f"{name}, cold start {start:g} s, {pool}": course_of(
                moments, seconds, WIDTH, outcome.usd_per_hour[pool]
            )
            for (start, name), outcome in outcomes.items()
            for pool, moments in outcome.moments.items()
        }
    )
    if path.suffix == ".svg":
        path.write_text(drawing, encoding="utf-8")
    else:
        path.write_bytes(png_of(drawing))


def main() -> None:
    """Run the command; a wrong input is one sentence and exit code 78."""
    try:
        typer.run(command)
    except (ConfigurationError, OSError) as error:
        sys.stderr.write(f"reveille simulate: {error}\n")
        sys.exit(78)


if __name__ == "__main__":
    main()
