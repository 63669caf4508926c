"""Results of seeds in a file, one JSON object a line: a long run may be done in parts."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter
from tests.chaos.run import Run

RUN = TypeAdapter(Run)


def keep(run: Run, path: Path) -> None:
    """Add one."""
    with path.open("ab") as file:
        file.write(RUN.dump_json(run) + b"\n")


def kept(path: Path) -> Sequence[Run]:
    """All of them by seed; of a seed that was run again, the worst counts."""
    worst: dict[int, Run] = {}
    for line in path.read_bytes().splitlines():
        run = RUN.validate_json(line)
        if run.seed not in worst or len(run.findings) > len(worst[run.seed].findings):
            worst[run.seed] = run
    return [worst[seed] for seed in sorted(worst)]
