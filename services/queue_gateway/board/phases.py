"""A container's start as bars, phase by phase. Pure."""

from dataclasses import dataclass
from datetime import datetime

from queue_gateway.containers import Container
from reveille.cold_start import ColdStart

# What each is called on the page, in order of time; a boot that tells nothing of itself is one phase.
PHASES = {
    "intended": "wanted",
    "creating": "created",
    "booting": "booted",
    "waiting": "waited for a GPU",
    "pulling": "fetched the image",
    "starting": "started",
    "loading": "loaded the model",
}


@dataclass(frozen=True, slots=True)
class Phase:
    """`left` and `width` are percent of the longest start on the page."""

    name: str
    left: float
    width: float
    seconds: float


def starts(containers: list[Container], now: datetime) -> dict[int, list[Phase]]:
    """The phases of each container's start by container id, on one scale."""
    spans = {container.id: _spans(container, now) for container in containers}
    longest = max((sum(s for _, s in span) for span in spans.values()), default=0.0)
    return {key: _phases(span, longest or 1.0) for key, span in spans.items()}


def start_seconds(container: Container) -> float | None:
    """From the wish to ready; None for one that is not there yet or never was."""
    if container.ready_at is None:
        return None
    return (container.ready_at - container.intended_at).total_seconds()


def _spans(container: Container, now: datetime) -> list[tuple[str, float]]:
    """As the trace of the task that waited for it has them."""
    start = ColdStart(
        container=container.name,
        pool=container.pool,
        provider=container.provider,
        intended_at=container.intended_at,
        creating_at=container.creating_at,
        booting_at=container.booting_at,
        gpu_at=container.gpu_at,
        image_at=container.image_at,
        registered_at=container.registered_at,
        ended_at=container.ready_at or container.ended_at or now,
    )
    return [(name, (until - begin).total_seconds()) for name, begin, until in start.phases()]


def _phases(spans: list[tuple[str, float]], longest: float) -> list[Phase]:
    phases, left = [], 0.0
    for name, seconds in spans:
        width = 100 * seconds / longest
        phases.append(Phase(name, round(left, 2), round(width, 2), seconds))
        left += width
    return phases
