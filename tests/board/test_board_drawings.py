"""What the board draws, from numbers to coordinates: charts, marks on slides, graphs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queue_gateway.board.charts import added, chart
from queue_gateway.board.graph import NODES_MAX, graph
from queue_gateway.board.marks import marks
from queue_gateway.board.phases import starts
from queue_gateway.containers import Container
from queue_gateway.task_view import TaskSummary
from queue_gateway.tasks import Edge
from reveille.render.pages import Word

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def task(task_id: int, **values: Any) -> TaskSummary:
    """A queued task of visual analysis."""
    empty = dict.fromkeys(TaskSummary.model_fields)
    given = {"id": task_id, "document_id": 1, "task_type": "visual_analysis", "status": "queued"}
    numbers = {"priority": 1, "progress_percentage": 0, "attempt": 0, "retry_count": 0}
    return TaskSummary.model_validate(empty | given | numbers | {"created_at": NOW} | values)


def edge(parent: int, child: int, done: bool = False) -> Edge:
    """`child` waits for `parent`."""
    values = {"depends_on_task_id": parent, "dependent_task_id": child}
    known = dict.fromkeys(Edge.model_fields) | values
    known |= {"dependency_type": "completion", "satisfied_at": NOW if done else None}
    return Edge.model_validate(known)


def words(*lines: str) -> list[Word]:
    """Words that stand side by side, one line below the other."""
    return [
        Word(text, at / 10, row / 10, at / 10 + 0.08, row / 10 + 0.05)
        for row, line in enumerate(lines)
        for at, text in enumerate(line.split())
    ]


@pytest.mark.parametrize("values", [[], [None], [None, None, None]])
def test_chart_of_nothing_known_draws_nothing(values: list[float | None]) -> None:
    """No path, no bar, and no division by zero."""
    drawn = chart(values)

    assert (drawn.line, drawn.area, drawn.bars) == ("", "", ())
    assert (drawn.last, drawn.most, drawn.total) == (0, 0, 0)
    assert drawn.top > 0


def test_chart_of_zeros_is_a_line_on_the_ground() -> None:
    """Nothing happened is not the same as nothing known."""
    assert chart([0, 0]).line == "M0.5,100.0L1.5,100.0"
    assert chart([0, 0]).bars == ()


def test_chart_of_one_value_reaches_the_top() -> None:
    """One bar, as high as the drawing."""
    assert chart([3]).bars == ((0.1, 0.0, 100.0),)


def test_chart_never_leaves_its_drawing() -> None:
    """Values above a given top end there; what is not known is left out."""
    drawn = chart([50, None, 1e300], top=100)

    assert drawn.line == "M0.5,50.0L2.5,0.0"
    assert drawn.last == 1e300
    assert chart([1.0] * 10_000).width == 10_000


def test_sums_know_only_what_a_part_knows() -> None:
    """Unknown is not nothing."""
    assert added([[1, None, None], [2, 3, None]]) == [3, 3, None]
    assert added([]) == []


def test_marks_cover_each_line_of_a_quote() -> None:
    """A quote over two lines is two boxes, whatever stands between its letters."""
    page = words("We raise 5M", "from angels today")

    first, second = marks(page, "raise 5M — from Angels")

    assert (first.left, first.right) == (pytest.approx(0.1), pytest.approx(0.28))
    assert (second.left, second.right) == (pytest.approx(0.0), pytest.approx(0.18))


@pytest.mark.parametrize("quote", ["", "—", "5M", "aise", "nobody said this"])
def test_marks_begin_and_end_with_whole_words(quote: str) -> None:
    """5M is not marked inside 25M, and nothing that is not there is marked."""
    assert marks(words("We raise 25M"), quote) == []


def test_graph_draws_the_order_without_detours() -> None:
    """An edge that a longer way implies is not drawn; done ones are told apart."""
    drawn = graph(
        [task(1), task(2), task(3)], [edge(1, 2, done=True), edge(2, 3), edge(1, 3), edge(9, 1)]
    )

    assert drawn is not None
    first, second, third = drawn.nodes
    assert first.x < second.x < third.x
    assert [done for _, done in drawn.edges] == [True, False]


def test_graph_of_too_little_or_too_much_is_none() -> None:
    """Without an edge, or with more than a picture holds, the list is shown instead."""
    many = [task(n) for n in range(1, NODES_MAX + 2)]

    assert graph([task(1)], []) is None
    assert graph([], []) is None
    assert graph(many, [edge(1, 2)]) is None


def container(container_id: int, **seconds: float) -> Container:
    """A container by the seconds at which it reached each mark."""
    marks = {f"{name}_at": NOW + timedelta(seconds=at) for name, at in seconds.items()}
    empty = dict.fromkeys(Container.model_fields)
    given = {"id": container_id, "name": "c", "pool": "text", "slot": 0, "provider": "p"}
    words = {"state": "ready", "reason": "", "state_changed_at": NOW, "intended_at": NOW}
    numbers = {"price_usd_per_hour": 0, "cost_usd": 0, "failure_count": 0}
    return Container.model_validate(empty | given | words | numbers | marks)


def test_cold_start_is_drawn_phase_by_phase_on_one_scale() -> None:
    """What took the time is seen: the GPU, the image, the start or the model; or the boot as a whole."""
    told = container(1, creating=1, booting=2, gpu=6, image=12, registered=14, ready=20)
    untold = container(2, creating=1, booting=2, ready=10)

    drawn = starts([told, untold], NOW)

    assert [(phase.name, phase.seconds) for phase in drawn[1]] == [
        *(("intended", 1), ("creating", 1), ("waiting", 4), ("pulling", 6)),
        *(("starting", 2), ("loading", 6)),
    ]
    assert [(phase.name, phase.left, phase.width) for phase in drawn[2]] == [
        *(("intended", 0, 5), ("creating", 5, 5), ("booting", 10, 40)),
    ]


def test_start_under_way_is_drawn_until_now() -> None:
    """A container that waits for its GPU shows how long already."""
    (phase,) = starts([container(1)], NOW + timedelta(seconds=30))[1]
    assert (phase.name, phase.seconds) == ("intended", 30)
