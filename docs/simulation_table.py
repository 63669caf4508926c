"""Write the tables of docs/simulation.md: `make simulation`, a quarter of an hour on one core.

The months have seeds from 1001 on; what is constant in the policies was chosen on seeds below 100.
Every number is the median of the months, beside the worst ratio; what a goal is judged by is the worst.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from autoscaler.scaling_file import read_scaling
from autoscaler.simulate.load import pitch_decks
from autoscaler.simulate.months import months_of
from autoscaler.simulate.score import Score
from autoscaler.simulate.weather import Weather

PAGE = Path(__file__).parent / "simulation.md"
FIRST_SEED, DAYS = 1001, 28
DOCUMENTS, COLD_STARTS = (5, 20, 60), (60.0, 120.0, 300.0)
POLICIES = ("letter", "threshold", "marginal", "combined")
SERVER_USD_PER_MONTH = 800.0
# A number of the goal, and whether a score has it: a saving is against the server that is always on.
GOALS: Mapping[str, tuple[Callable[[Score], str], Callable[[Score], bool]]] = {
    "under $100 a month": (lambda s: f"${s.usd_per_month:.0f}", lambda s: s.usd_per_month < 100),
    "over 90 % less than $800": (lambda s: f"{saved(s):.1f} %", lambda s: saved(s) > 90),
    "under $0.10 a document": (
        lambda s: f"${s.usd_per_document:.3f}",
        lambda s: s.usd_per_document < 0.10,
    ),
    "mean wait under 5 minutes": (
        lambda s: f"{s.wait_mean_seconds:.0f} s",
        lambda s: s.wait_mean_seconds < 300,
    ),
    "95 % within 10 minutes": (
        lambda s: f"{s.share_within_10_minutes:.1%}".replace("%", " %"),
        lambda s: s.share_within_10_minutes >= 0.95,
    ),
    "at most 1.3 times the bound": (lambda s: f"{s.ratio:.2f}", lambda s: s.ratio <= 1.3),
}

Case = tuple[float, float, str]  # documents a day, cold start, policy


def saved(score: Score) -> float:
    """In percent of the server."""
    return 100 * (1 - score.usd_per_month / SERVER_USD_PER_MONTH)


def played(documents: float, cold_start: float, name: str, months: int) -> tuple[Score, Score]:
    """The median and the worst month; `combined` is marginal with both models on every card."""
    loads = [pitch_decks(documents, DAYS, FIRST_SEED + n) for n in range(months)]
    if name == "combined":
        loads = [load.combined for load in loads]
    policy = "marginal" if name == "combined" else name
    weather = Weather(cold_start=cold_start, seed=FIRST_SEED)
    middle, worst = months_of(loads, [policy], read_scaling(None), [weather], DAYS)
    return replace(middle, policy=name), replace(worst, policy=name)


def numbers(found: Mapping[Case, tuple[Score, Score]], months: int) -> Iterator[str]:
    """The table of everything."""
    yield f"{months} months of {DAYS} days, seeds {FIRST_SEED} to {FIRST_SEED + months - 1}:"
    yield ""
    yield (
        "| documents/day | cold start | policy | $/month | $/document | ratio (worst) | GPU hours | "
        "wait mean | p95 | longest | within 10 min |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for (documents, cold_start, name), (middle, worst) in found.items():
        yield (
            f"| {documents:g} | {cold_start:g} s | {name} | {middle.usd_per_month:.2f} | "
            f"{middle.usd_per_document:.3f} | {middle.ratio:.2f} ({worst.ratio:.2f}) | "
            f"{middle.gpu_hours:.0f} | {middle.wait_mean_seconds:.0f} s | "
            f"{middle.wait_p95_seconds:.0f} s | {worst.wait_max_seconds:.0f} s | "
            f"{100 * middle.share_within_10_minutes:.1f} % |"
        )


def goals(found: Mapping[Case, tuple[Score, Score]], name: str) -> Iterator[str]:
    """Under one policy, by the worst month: the number, bold where the goal is missed."""
    columns = [(d, s) for d in DOCUMENTS for s in COLD_STARTS]
    yield f"| goal, `{name}` | " + " | ".join(f"{d}/day, {s:g} s" for d, s in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for goal, (told, met) in GOALS.items():
        worst = [found[d, s, name][1] for d, s in columns]
        cells = [told(score) if met(score) else f"**{told(score)}**" for score in worst]
        yield f"| {goal} | " + " | ".join(cells) + " |"


def written(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with the lines between the marks of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, after = page.split(begin)
    return before + begin + "\n".join(lines) + "\n" + end + after.split(end)[1]


def main(months: int) -> None:
    """Play all cases, two at a time, and write the page."""
    cases = [(d, s, name) for d in DOCUMENTS for s in COLD_STARTS for name in POLICIES]
    with ProcessPoolExecutor(2) as workers:
        results = workers.map(played, *zip(*cases, strict=True), [months] * len(cases))
        found = {}
        for case, result in zip(cases, results, strict=True):
            found[case] = result
            sys.stderr.write(f"{case}: {result[0].usd_per_month} {result[0].ratio}\n")
    page = PAGE.read_text(encoding="utf-8")
    page = written(page, "numbers", numbers(found, months))
    for name in ("marginal", "threshold"):
        page = written(page, f"goals of {name}", goals(found, name))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
