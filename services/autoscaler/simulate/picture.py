"""Queue, replicas and cost over time: a line of blocks in the terminal, an SVG for a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from autoscaler.simulate.engine import Moment

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 960, 70
WAITING_COLOUR, REPLICAS_COLOUR, USD_COLOUR = "#9a6412", "#274c77", "#2f7d32"


@dataclass(frozen=True, slots=True)
class Course:
    """Slice by slice: the most waiting, the most replicas, and what was spent until its end."""

    waiting: Sequence[int]
    replicas: Sequence[int]
    usd: Sequence[float]


def course_of(moments: Sequence[Moment], seconds: float, count: int, usd_per_hour: float) -> Course:
    """The time from 0 to `seconds` in `count` equal slices."""
    waiting, replicas, usd = [0] * count, [0] * count, [0.0] * count
    width = seconds / count
    last = Moment(0.0, 0, 0, 0, 0.0)
    place = 0
    for moment in [*moments, Moment(seconds, 0, 0, 0, 0.0)]:
        here = min(int(moment.at / width), count - 1)
        for n in range(place, here + 1):  # what was before holds until now
            waiting[n] = max(waiting[n], last.waiting)
            replicas[n] = max(replicas[n], last.replicas)
            until = min((n + 1) * width, max(moment.at, last.at))
            billed = last.replica_seconds + last.replicas * (until - last.at)
            usd[n] = billed / 3600 * usd_per_hour
        last, place = moment, here
        waiting[here] = max(waiting[here], moment.waiting)
        replicas[here] = max(replicas[here], moment.replicas)
    return Course(waiting, replicas, usd)


def line(values: Sequence[float]) -> str:
    """Block characters, the highest value a full block."""
    most = max(values, default=0) or 1
    return "".join(BLOCKS[ceil(value * (len(BLOCKS) - 1) / most)] for value in values)


def svg(courses: Mapping[str, Course]) -> str:
    """A band for each name: waiting tasks as an area, replicas and what was spent as lines, each to
    its own scale.
    """
    bands = [_band(name, course, n) for n, (name, course) in enumerate(courses.items())]
    height = len(bands) * (HEIGHT + 30) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(bands) + "\n</svg>\n"
    )


def _band(name: str, course: Course, place: int) -> str:
    top = place * (HEIGHT + 30) + 24
    area = _points(course.waiting, top)
    return (
        f'<text x="4" y="{top - 8}">{name}: at most '
        f'<tspan fill="{WAITING_COLOUR}">{max(course.waiting)} waiting</tspan>, '
        f'<tspan fill="{REPLICAS_COLOUR}">{max(course.replicas)} replicas</tspan>, in the end '
        f'<tspan fill="{USD_COLOUR}">${course.usd[-1]:.2f}</tspan></text>\n'
        f'<polygon points="0,{top + HEIGHT} {area} {WIDTH},{top + HEIGHT}" fill="#f3c178"/>\n'
        f'<polyline points="{_points(course.replicas, top)}" fill="none" '
        f'stroke="{REPLICAS_COLOUR}"/>\n'
        f'<polyline points="{_points(course.usd, top)}" fill="none" stroke="{USD_COLOUR}" '
        f'stroke-dasharray="4 3"/>'
    )


def _points(values: Sequence[float], top: int) -> str:
    most = max(values) or 1
    step = WIDTH / max(len(values) - 1, 1)
    return " ".join(
        f"{n * step:.1f},{top + HEIGHT - value / most * HEIGHT:.1f}"
        for n, value in enumerate(values)
    )
