"""What the GPUs of this machine do, for /metrics: asked of `nvidia-smi`, which the GPU runtimes put
into every container that has a GPU. Where there is none, the gauges stay absent.
"""

import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from reveille.metrics import Metrics, Sample
from reveille.semconv import LABEL_GPU

log = structlog.stdlib.get_logger(__name__)

_FIELDS = "index,utilization.gpu,memory.used,memory.total"
# It takes 20 to 500 ms: one answer serves the three gauges of a scrape, and close scrapes too.
KEEP_SECONDS = 5.0
ANSWER_SECONDS_MAX = 3.0
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. What it does not tell (a share of a GPU has no utilisation) is None."""

    index: str
    used_ratio: float | None
    memory_used_bytes: float | None
    memory_bytes: float | None


class Gpus:
    """The GPUs as `program` sees them. Called in the scraping thread; blocks for at most 3 s."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._seen: tuple[Gpu, ...] = ()
        self._seen_at = float("-inf")

    def look(self) -> tuple[Gpu, ...]:
        """An answer of the last seconds; nothing where the driver does not answer."""
        if time.monotonic() - self._seen_at > KEEP_SECONDS:
            self._seen = self._ask()
            self._seen_at = time.monotonic()
        return self._seen

    def _ask(self) -> tuple[Gpu, ...]:
        command = [self._program, f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(  # noqa: S603 - no word of it comes from outside
                command, capture_output=True, text=True, timeout=ANSWER_SECONDS_MAX, check=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            log.debug("gpu_silent", error=str(error))
            return ()
        return parse(done.stdout)


def parse(text: str) -> tuple[Gpu, ...]:
    """The lines of nvidia-smi's CSV: percent and MiB; "[N/A]" where the GPU does not tell."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 4:
            used, memory_used, memory = map(_number, cells[1:])
            gpus.append(
                Gpu(
                    cells[0],
                    _times(used, 0.01),
                    _times(memory_used, MEBIBYTE),
                    _times(memory, MEBIBYTE),
                )
            )
    return tuple(gpus)


def follow_gpus(metrics: Metrics, program: str = "nvidia-smi") -> None:
    """Show this machine's GPUs on /metrics, if it has any."""
    found = shutil.which(program)
    if found is None:
        return
    gpus = Gpus(found)
    metrics.gpu_used.follow(lambda: _samples((g.index, g.used_ratio) for g in gpus.look()))
    metrics.gpu_memory_used.follow(
        lambda: _samples((g.index, g.memory_used_bytes) for g in gpus.look())
    )
    metrics.gpu_memory.follow(lambda: _samples((g.index, g.memory_bytes) for g in gpus.look()))


def _samples(values: Iterable[tuple[str, float | None]]) -> list[Sample]:
    return [Sample(value, {LABEL_GPU: index}) for index, value in values if value is not None]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
