"""Queue and replicas over time: a line of blocks in the terminal, an SVG for a page."""

from collections.abc import Mapping, Sequence

from autoscaler.simulate.engine import Moment

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 960, 70
Course = Sequence[tuple[int, int]]  # the most waiting and the most replicas, slice by slice


def slices(moments: Sequence[Moment], seconds: float, count: int) -> Course:
    """The time from 0 to `seconds` in `count` equal slices."""
    course = [(0, 0)] * count
    last = (0, 0)
    place = 0
    for moment in moments:
        here = min(int(moment.at / seconds * count), count - 1)
        for n in range(place, here + 1):
            course[n] = (max(course[n][0], last[0]), max(course[n][1], last[1]))
        last, place = (moment.waiting, moment.replicas), here
        course[here] = (max(course[here][0], last[0]), max(course[here][1], last[1]))
    for n in range(place + 1, count):
        course[n] = last
    return course


def line(values: Sequence[int]) -> str:
    """Block characters, the highest value a full block."""
    most = max(values, default=0) or 1
    return "".join(BLOCKS[-(-value * (len(BLOCKS) - 1) // most)] for value in values)


def svg(courses: Mapping[str, Course]) -> str:
    """A band for each name: waiting tasks as an area, replicas as a line, each to its own scale."""
    bands = [_band(name, course, n) for n, (name, course) in enumerate(courses.items())]
    height = len(bands) * (HEIGHT + 30) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(bands) + "\n</svg>\n"
    )


def _band(name: str, course: Course, place: int) -> str:
    top = place * (HEIGHT + 30) + 24
    waiting, replicas = [w for w, _ in course], [r for _, r in course]
    area = _points(waiting, top)
    return (
        f'<text x="4" y="{top - 8}">{name}: at most {max(waiting)} waiting, '
        f"{max(replicas)} replicas</text>\n"
        f'<polygon points="0,{top + HEIGHT} {area} {WIDTH},{top + HEIGHT}" fill="#f3c178"/>\n'
        f'<polyline points="{_points(replicas, top)}" fill="none" stroke="#274c77"/>'
    )


def _points(values: Sequence[int], top: int) -> str:
    most = max(values) or 1
    step = WIDTH / max(len(values) - 1, 1)
    return " ".join(
        f"{n * step:.1f},{top + HEIGHT - value / most * HEIGHT:.1f}"
        for n, value in enumerate(values)
    )
