"""`python -m tests.bench`: run, and write docs/benchmarks/ when the run was a whole one."""

import argparse
import asyncio
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench import peers
from tests.bench.chart import chart
from tests.bench.machine import load, machine, versions
from tests.bench.page import page
from tests.bench.results import RunResult
from tests.bench.run import run_scenario
from tests.bench.scenario import Scenario
from tests.bench.scenarios import SCENARIOS
from tests.bench.stage import ROOT, Stage

RESULTS = ROOT / "docs" / "benchmarks"


def main() -> int:
    """Exit status: 0 when everything was measured or is known to be absent."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers and Postgres end with us
    arguments = _arguments()
    named = arguments.only
    wanted = [s for s in SCENARIOS if (s.name in named if named else not s.only_by_name)]
    if arguments.install:
        _say("installing the other queues (once, into .bench/)")
        peers.install()
    result = asyncio.run(_run(wanted, short=arguments.short))
    if arguments.out:
        _write(result, arguments.out)
        _say(f"written: {arguments.out}")
    else:
        sys.stdout.write(page(result, None) + "\n")
    return int(any(c.failed for s in result.scenarios for c in s.cases.values()))


async def _run(scenarios: list[Scenario], *, short: bool) -> RunResult:
    began = time.monotonic()
    with TemporaryDirectory(prefix="reveille-bench-") as scratch:
        async with Stage(short=short, scratch=Path(scratch)) as stage:
            result = RunResult(
                date=datetime.now(UTC).strftime("%Y-%m-%d"),
                short=short,
                machine=machine(),
                versions=versions(stage.postgres),
            )
            for scenario in scenarios:
                result.scenarios.append(
                    await run_scenario(
                        scenario,
                        stage,
                        lambda line: _say(f"{time.monotonic() - began:5.0f} s  {line}"),
                    )
                )
    result.machine["load_after"] = load()
    result.seconds = time.monotonic() - began
    return result


def _write(result: RunResult, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{result.date}.json").write_text(json.dumps(result.as_json(), indent=1) + "\n")
    picture = chart(result)
    if picture:
        (folder / f"{result.date}.svg").write_text(picture)
    (folder / "results.md").write_text(page(result, f"{result.date}.svg" if picture else None))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one round of less, under two minutes")
    parser.add_argument(
        "--only", nargs="*", default=(), choices=[s.name for s in SCENARIOS], metavar="SCENARIO"
    )
    parser.add_argument(
        "--no-install", dest="install", action="store_false", help="peers as they are"
    )
    parser.add_argument(
        "--out",
        type=Path,
        nargs="?",
        const=RESULTS,
        help=f"write JSON, page and chart here (default {RESULTS.relative_to(ROOT)}); else print the page",
    )
    return parser.parse_args()


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
