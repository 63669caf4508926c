"""A document's pipeline as a drawing: boxes in columns by depth, curves between them. Pure.

An edge that a longer way implies is not drawn, though it is waited for all the same: what is left
is the order in which things happen.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from queue_gateway.task_view import TaskSummary
from queue_gateway.tasks import Edge

NODE_WIDTH, NODE_HEIGHT = 264, 44  # as in document.html; the longest name of a task type fits
GAP_X, GAP_Y = 64, 12
MARGIN = 2
NODES_MAX = 60  # more is no picture


@dataclass(frozen=True, slots=True)
class Node:
    """A task and the upper left corner of its box."""

    task: TaskSummary
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Graph:
    """`edges` are path data and whether the parent is done."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, bool], ...]
    width: int
    height: int


def graph(tasks: Sequence[TaskSummary], edges: Iterable[Edge]) -> Graph | None:
    """Lay a pipeline out. None without an edge, and for more tasks than a picture can hold."""
    known = {task.id: task for task in tasks}
    parents: dict[int, set[int]] = {task_id: set() for task_id in known}
    satisfied = set()
    for edge in edges:
        if edge.dependent_task_id in known and edge.depends_on_task_id in known:
            parents[edge.dependent_task_id].add(edge.depends_on_task_id)
            if edge.satisfied_at is not None:
                satisfied.add((edge.depends_on_task_id, edge.dependent_task_id))
    if not any(parents.values()) or len(known) > NODES_MAX:
        return None
    depths = _depths(parents)
    kept = _without_detours(parents, depths)
    nodes = _place(known, depths, kept)
    lines = tuple(
        (_curve(nodes[parent], nodes[child]), (parent, child) in satisfied)
        for child in sorted(kept)
        for parent in sorted(kept[child])
    )
    width = max(node.x for node in nodes.values()) + NODE_WIDTH + MARGIN
    height = max(node.y for node in nodes.values()) + NODE_HEIGHT + MARGIN
    return Graph(tuple(nodes.values()), lines, width, height)


def _depths(parents: Mapping[int, set[int]]) -> dict[int, int]:
    """The longest way from a task without parents; the schema refuses cycles."""
    depths: dict[int, int] = {}

    def depth(task_id: int) -> int:
        if task_id not in depths:
            depths[task_id] = max((depth(p) + 1 for p in parents[task_id]), default=0)
        return depths[task_id]

    for task_id in parents:
        depth(task_id)
    return depths


def _without_detours(
    parents: Mapping[int, set[int]], depths: Mapping[int, int]
) -> dict[int, set[int]]:
    ancestors: dict[int, set[int]] = {}
    for task_id in sorted(parents, key=lambda key: depths[key]):
        ancestors[task_id] = parents[task_id].union(*(ancestors[p] for p in parents[task_id]))
    return {
        child: {p for p in mine if not any(p in ancestors[other] for other in mine)}
        for child, mine in parents.items()
    }


def _place(
    known: Mapping[int, TaskSummary], depths: Mapping[int, int], kept: Mapping[int, set[int]]
) -> dict[int, Node]:
    """Columns by depth; within one, near the parents, so that few lines cross."""
    nodes: dict[int, Node] = {}
    for column in range(max(depths.values()) + 1):
        members = [task_id for task_id in known if depths[task_id] == column]

        def height(task_id: int) -> tuple[float, int]:
            above = [nodes[p].y for p in kept[task_id] if p in nodes]
            return (sum(above) / len(above) if above else 0.0, task_id)

        for row, task_id in enumerate(sorted(members, key=height)):
            x = MARGIN + column * (NODE_WIDTH + GAP_X)
            nodes[task_id] = Node(known[task_id], x, MARGIN + row * (NODE_HEIGHT + GAP_Y))
    return nodes


def _curve(parent: Node, child: Node) -> str:
    x0, y0 = parent.x + NODE_WIDTH, parent.y + NODE_HEIGHT // 2
    x1, y1 = child.x, child.y + NODE_HEIGHT // 2
    bend = (x1 - x0) // 2
    return f"M{x0},{y0}C{x0 + bend},{y0} {x1 - bend},{y1} {x1},{y1}"
