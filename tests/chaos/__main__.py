"""`python -m tests.chaos --seeds 20`: run seeds one after the other; exit 1 when anything was
found.
"""

import argparse
import asyncio
import sys
from pathlib import Path

from tests.chaos.plan import FAULT_NAMES, plan_of
from tests.chaos.report import report, sentence
from tests.chaos.results import keep, kept
from tests.chaos.run import Run, run_seed


def main() -> int:
    """Exit status: 0 when nothing was lost, doubled or otherwise wrong."""
    arguments = _arguments()
    runs: list[Run] = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        plan = plan_of(
            seed,
            tasks=arguments.tasks,
            seconds=arguments.seconds,
            blows=arguments.faults,
            only=arguments.only,
        )
        run = asyncio.run(
            run_seed(plan, keep=arguments.keep, say=_say if arguments.verbose else lambda _: None)
        )
        runs.append(run)
        _say(sentence(run))
        for finding in run.findings:
            _say(f"  {finding}")
        if run.findings:
            _say(f"  again: {_command(arguments, seed)}")
        if arguments.results:
            keep(run, arguments.results)
    page = report(kept(arguments.results) if arguments.results else runs, arguments)
    if arguments.report:
        arguments.report.write_text(page)
    elif arguments.seeds > 1:
        _say(f"\n{page}")
    return 1 if any(run.findings for run in runs) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=200, help="per seed")
    parser.add_argument("--seconds", type=float, default=40.0, help="of load and faults, per seed")
    parser.add_argument("--faults", type=int, default=14, help="per seed")
    parser.add_argument("--only", nargs="*", default=(), choices=FAULT_NAMES, metavar="FAULT")
    parser.add_argument("--results", type=Path, help="add each seed's result to this file")
    parser.add_argument(
        "--report",
        type=Path,
        help="write the page here, about all in --results; else it is printed",
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs of good seeds too")
    parser.add_argument("--verbose", action="store_true", help="say each fault")
    return parser.parse_args()


def _command(arguments: argparse.Namespace, seed: int) -> str:
    only = f" --only {' '.join(arguments.only)}" if arguments.only else ""
    return (
        f"python -m tests.chaos --seeds 1 --first-seed {seed} --tasks {arguments.tasks} "
        f"--seconds {arguments.seconds:g} --faults {arguments.faults}{only} --verbose --keep"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
