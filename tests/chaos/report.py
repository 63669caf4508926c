"""The page about many seeds."""

import argparse
import os
import platform
from collections import Counter
from collections.abc import Sequence

from tests.chaos.run import Run


def sentence(run: Run) -> str:
    """One seed in one line."""
    ends = ", ".join(f"{count} {status}" for status, count in run.statuses.items())
    tries = ", ".join(f"{count} {outcome}" for outcome, count in run.attempts.items()) or "none"
    struck = sum(one.struck for one in run.struck)
    return (
        f"seed {run.seed}: {run.count('lost')} lost, {run.count('doubled')} doubled, "
        f"{run.count('wrong')} wrong · {run.tasks} tasks ({ends}) · attempts not completed: {tries} "
        f"· {struck} faults, {run.restarts} restarts · {run.seconds:.0f} s, "
        f"the last task {run.settled_seconds:.0f} s after the last fault"
    )


def report(runs: Sequence[Run], arguments: argparse.Namespace) -> str:
    """Markdown."""
    tasks = sum(run.tasks for run in runs)
    minutes = sum(run.seconds for run in runs) / 60
    lacks = sorted({lack for run in runs for lack in run.lacks})
    lines = [
        "# Chaos report",
        "",
        f"{tasks:,} tasks over {len(runs)} seeds, {sum(len(r.struck) for r in runs)} faults, "
        f"{sum(r.restarts for r in runs)} processes replaced: "
        f"**{sum(r.count('lost') for r in runs)} lost, "
        f"{sum(r.count('doubled') for r in runs)} doubled, "
        f"{sum(r.count('wrong') for r in runs)} otherwise wrong.**",
        "",
        f"`python -m tests.chaos --seeds {arguments.seeds} --first-seed {arguments.first_seed} "
        f"--tasks {arguments.tasks} --seconds {arguments.seconds:g} --faults {arguments.faults}` "
        f"{'as root' if os.geteuid() == 0 else 'not as root'}, on {os.cpu_count()} cores (load "
        f"{os.getloadavg()[2]:.0f} at the end), {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}; {minutes:.0f} minutes. Every service connects under its own "
        "database role. What is done and counted: [chaos.md](chaos.md).",
        *(["", "Not to be had on this machine: " + "; ".join(lacks) + "."] if lacks else []),
        *_findings(runs),
        "",
        *_ends(runs),
        "",
        *_faults(runs),
        "",
        *_seeds(runs),
    ]
    return "\n".join(lines) + "\n"


def _findings(runs: Sequence[Run]) -> list[str]:
    found = [f"- seed {run.seed}: {finding}" for run in runs for finding in run.findings]
    return ["", "Found:", "", *found] if found else []


def _ends(runs: Sequence[Run]) -> list[str]:
    statuses: Counter[str] = Counter()
    attempts: Counter[str] = Counter()
    for run in runs:
        statuses.update(run.statuses)
        attempts.update(run.attempts)
    poisoned = sum(run.poisoned for run in runs)
    return [
        "| tasks ended as | | attempts that ended otherwise than well | |",
        "|---|---|---|---|",
        *(
            f"| {left[0]} | {left[1]} | {right[0]} | {right[1]} |"
            for left, right in _side_by_side(sorted(statuses.items()), sorted(attempts.items()))
        ),
        "",
        f"Set aside as poison, three workers having died with them: {poisoned} (each seed has one "
        "such task; the others had bad luck with kills).",
    ]


def _side_by_side(
    left: Sequence[tuple[str, object]], right: Sequence[tuple[str, object]]
) -> list[tuple[tuple[str, object], tuple[str, object]]]:
    rows = max(len(left), len(right))
    pad = [("", "")]
    return list(
        zip([*left, *pad * (rows - len(left))], [*right, *pad * (rows - len(right))], strict=True)
    )


def _faults(runs: Sequence[Run]) -> list[str]:
    struck = [one for run in runs for one in run.struck if one.struck]
    freed = sorted(seconds for one in struck for seconds in one.freed_seconds)
    lines = ["| fault | times | mean duration |", "|---|---|---|"]
    for fault, count in sorted(Counter(one.fault for one in struck).items()):
        lasted = [one.lasted_seconds for one in struck if one.fault == fault]
        lines.append(f"| {fault} | {count} | {sum(lasted) / count:.1f} s |")
    if freed:
        lines += [
            "",
            f"From the SIGKILL of a worker to the next claim of a task that it held: median "
            f"{freed[len(freed) // 2]:.1f} s, 90 % {freed[int(len(freed) * 0.9)]:.1f} s, "
            f"most {freed[-1]:.1f} s ({len(freed)} tasks; other faults under way, and no free slot "
            "at the time, included).",
        ]
    return lines


def _seeds(runs: Sequence[Run]) -> list[str]:
    return [
        "| seed | tasks | faults | lost | doubled | wrong | settled after |",
        "|---" * 7 + "|",
        *(
            f"| {run.seed} | {run.tasks} | {len(run.struck)} | {run.count('lost')} | "
            f"{run.count('doubled')} | {run.count('wrong')} | {run.settled_seconds:.0f} s |"
            for run in runs
        ),
    ]
