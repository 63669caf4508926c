"""Rendering: pages a second and core, and how much of it hides behind the model."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile

from tests.bench.scenario import Case, Measures, Scenario
from tests.bench.stage import ROOT, Stage

from reveille.render.document import Document
from reveille.render.limits import DocumentLimits

DECKS = ("cardiosense_pitch.pdf", "tidewell_pitch.pdf")
PASSES = 3


async def _pages_per_second(deck: Path) -> float:
    with TemporaryFile() as file:
        file.write(deck.read_bytes())
        file.seek(0)
        document = await Document.start(file.fileno(), DocumentLimits())
        async with document:
            began = time.perf_counter()
            for _ in range(PASSES):
                for page in range(1, document.page_count + 1):
                    await document.page(page)
            return PASSES * document.page_count / (time.perf_counter() - began)


def _case(name: str) -> Case:
    async def measure(stage: Stage) -> Measures:
        del stage
        return {"pages/s": await _pages_per_second(ROOT / "examples" / name)}

    return Case(name=name, measure=measure)


def _cases(short: bool) -> Sequence[Case]:
    del short
    return [_case(name) for name in DECKS]


SCENARIO = Scenario(
    name="render",
    title="Rendering in the confined child process, one core: image of 1,024 pixels and text layer",
    unit="pages/s",
    better="more",
    cases=_cases,
)
