"""What the last hours looked like, from rows: tasks waiting, running and done, containers, spend.

Nothing is recorded for it. Each task says when it became claimable, was claimed and ended, each
container when it was billed; a value is the mean over its part of the span (an event late in a part
counts for the rest of it). Only the newest tasks are read, so that a table of millions costs no more
than one of thousands; what lies before them is shown as unknown. The answer is kept for a moment,
for many windows that refresh at the same time.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

from queue_gateway.desk import Desk

PARTS = 60
NEWEST_MAX = 10_000  # tasks that a chart looks at
KEPT_SECONDS = 2.0
SPANS_SECONDS: Mapping[str, int] = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 7 * 86_400}
MEANS = frozenset({"waiting", "running", "containers"})

Values = list[float | None]


@dataclass(frozen=True, slots=True)
class History:
    """Series by kind (waiting, running, done, failed, containers, usd) and pool, oldest first."""

    span: str
    begins_at: datetime
    ends_at: datetime
    series: Mapping[tuple[str, str], Values]

    def of(self, kind: str, pool: str) -> Values:
        """One series; zeros where nothing happened."""
        return self.series.get((kind, pool), [0.0] * PARTS)

    @property
    def part_seconds(self) -> float:
        """How long one value stands for."""
        return SPANS_SECONDS[self.span] / PARTS


class Histories:
    """Reads histories, one at a time, and keeps each for a moment."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: dict[str, tuple[float, History]] = {}
        self._turn = asyncio.Lock()

    async def read(self, span: str) -> History:
        """`span` is one of SPANS_SECONDS."""
        async with self._turn:
            kept = self._kept.get(span)
            if kept is not None and monotonic() - kept[0] < KEPT_SECONDS:
                return kept[1]
            history = await self._read(span)
            self._kept[span] = (monotonic(), history)
            return history

    async def _read(self, span: str) -> History:
        store, seconds = self._desk.store, SPANS_SECONDS[span]
        tasks = await store.rows("history_tasks", seconds, PARTS, NEWEST_MAX)
        containers = await store.rows("history_containers", seconds, PARTS)
        ends_at = await store.value("now")
        begins_at = ends_at - timedelta(seconds=seconds)
        known_from = tasks[0]["known_from"] if tasks else None
        series: dict[tuple[str, str], Values] = {}
        for rows, start in ((tasks, known_from), (containers, None)):
            unknown = _parts_before(start, begins_at, seconds)
            series |= {
                key: [None if at < unknown else value for at, value in enumerate(values)]
                for key, values in series_of(rows, seconds / PARTS).items()
            }
        return History(span, begins_at, ends_at, series)


def series_of(rows: Sequence[Mapping[str, Any]], part_seconds: float) -> dict[tuple[str, str], Any]:
    """Steps by part to values by part: levels for what is waiting, sums for what was done. Pure.

    A row has kind, pool, part (0: before the span), `steps` (their sum) and `seconds` (each step
    times the seconds from it to the end of its part).
    """
    grouped: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    for row in rows:
        if row["kind"] is not None:
            parts = grouped.setdefault((row["kind"], row["pool"]), {})
            parts[row["part"]] = (row["steps"], row["seconds"])
    return {key: _values(key[0], parts, part_seconds) for key, parts in grouped.items()}


def _values(kind: str, parts: Mapping[int, tuple[float, float]], seconds: float) -> list[float]:
    level = parts.get(0, (0.0, 0.0))[0]
    values: list[float] = []
    for part in range(1, PARTS + 1):
        steps, weighted = parts.get(part, (0.0, 0.0))
        if kind in MEANS:
            values.append(max(0.0, level + weighted / seconds))
        elif kind == "usd":  # a step is a price per second that begins or ends
            values.append(max(0.0, level * seconds + weighted))
        else:
            values.append(steps)
        level += steps
    return values


def _parts_before(start: datetime | None, begins_at: datetime, seconds: int) -> int:
    if start is None:
        return 0
    return max(0, int((start - begins_at).total_seconds() / (seconds / PARTS)) + 1)
