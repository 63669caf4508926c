"""`python -m tests.soak --minutes 40`: run, judge, and write the page; exit 1 when something was lost,
doubled, or did not stay flat. `--from FILE` judges the samples of an earlier run again.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.soak.kept import Kept, read, write
from tests.soak.page import write_page
from tests.soak.run import soak
from tests.soak.sample import Sample
from tests.soak.stage import Setting
from tests.soak.verdict import judge

READER_AFTER_MINUTES = 2
MINUTES_AFTER_READER = 3
MINUTES_MIN = 6  # the verdict compares thirds of the time beside the reader


def main() -> int:
    """Exit status."""
    arguments = _arguments()
    kept = read(arguments.again) if arguments.again else _run(arguments)
    findings = [*kept.wrong, *judge(kept)]
    if arguments.report:
        write_page(kept, findings, arguments.report)
    _say("nothing to object" if not findings else "\n".join(findings))
    return 1 if findings else 0


def _run(arguments: argparse.Namespace) -> Kept:
    setting = Setting(
        rate=arguments.rate,
        seconds=arguments.minutes * 60,
        reader_from_seconds=READER_AFTER_MINUTES * 60,
        reader_until_seconds=(arguments.minutes - MINUTES_AFTER_READER) * 60,
        sample_seconds=arguments.sample_seconds,
    )
    folder = Path(tempfile.mkdtemp(prefix="reveille-soak-"))
    _say(f"logs and samples: {folder}")
    kept = Kept(setting=setting, samples=[], ends={}, requeued={}, wrong=[])

    def keep(sample: Sample) -> None:
        kept.samples.append(sample)
        write(kept, folder / "soak.json")
        if sample.waits:
            _say(
                f"{sample.at_seconds:6.0f} s {'R' if sample.reader else ' '} "
                f"p50 {sample.waits.p50:.1f} p99 {sample.waits.p99:.1f} ms, backlog {sample.backlog}, "
                f"{sample.database['dead_rows']:,} dead, "
                f"{sample.database['table_bytes'] / 2**20:.0f} MiB, load {sample.load:.1f}"
            )

    count = asyncio.run(soak(setting, folder, keep))
    kept.ends, kept.requeued, kept.wrong = count.ends, count.requeued, count.wrong
    write(kept, folder / "soak.json")
    return kept


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=_minutes,
        default=35.0,
        help=f"in all; beside a reader but for the first {READER_AFTER_MINUTES} "
        f"and the last {MINUTES_AFTER_READER}",
    )
    parser.add_argument("--rate", type=float, default=250.0, help="tasks a second")
    parser.add_argument("--sample-seconds", type=float, default=10.0)
    parser.add_argument("--report", type=Path, help="write the page here, its picture to images/")
    parser.add_argument("--from", dest="again", type=Path, help="samples of an earlier run")
    return parser.parse_args()


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not minutes >= MINUTES_MIN:
        raise argparse.ArgumentTypeError(f"at least {MINUTES_MIN}, not {text!r}")
    return minutes


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
