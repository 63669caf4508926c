"""`reveille watch`: pools, containers, servers, running tasks and spending, as they are now.

On a terminal a picture that fills the window and is redrawn each second, at once when the window
changes; with `--json` a line of JSON each time, for programs. A database that goes away is said,
and waited for.
"""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from reveille.cli.session import SENTENCES, cell, console, database_url, head, plain, words_of
from reveille.costs import costs_between
from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.errors import ReveilleError
from reveille.logs import mask_text

ROWS_MAX = 50
SPENDING_SECONDS = 10.0  # how old the sums may be: they are read from the whole month
AGAIN_SECONDS = 2.0

Json = Annotated[bool, typer.Option("--json", help="A line of JSON each time.")]
Look = dict[str, Any]

_SECTIONS = {
    "pools": """SELECT p.name AS pool, p.paused, coalesce(sum(d.queued), 0)::int AS queued,
        coalesce(sum(d.processing), 0)::int AS processing, coalesce(sum(d.blocked), 0)::int AS blocked,
        coalesce(sum(d.retry), 0)::int AS retry,
        extract(epoch FROM reveille_now() - min(d.oldest_claimable_at))::int AS oldest_seconds,
        (SELECT count(*)::int FROM containers c
         WHERE c.pool = p.name AND c.state NOT IN ('stopped', 'failed')) AS containers
        FROM pools p LEFT JOIN queue_depth d ON d.pool = p.name GROUP BY p.name ORDER BY p.name DESC""",
    "containers": """SELECT name, state, coalesce(wish, '') AS wish,
        extract(epoch FROM reveille_now() - state_changed_at)::int AS seconds,
        price_usd_per_hour::float8 AS usd_per_hour, reason
        FROM containers WHERE state NOT IN ('stopped', 'failed') ORDER BY name LIMIT $1""",
    "running": """SELECT id, task_type, document_id AS document, progress_percentage AS progress,
        extract(epoch FROM reveille_now() - started_at)::int AS seconds, attempt, locked_by AS server,
        progress_message AS step
        FROM processing_queue WHERE status = 'processing' ORDER BY started_at, id LIMIT $1""",
    # The load in the row is as old as the last heartbeat.
    "servers": """WITH held AS MATERIALIZED (SELECT locked_by, count(*)::int AS tasks
            FROM processing_queue WHERE status = 'processing' GROUP BY 1)
        SELECT id, server_type AS type, status, coalesce(held.tasks, 0) AS load, max_concurrent_tasks AS slots,
        extract(epoch FROM reveille_now() - last_heartbeat)::int AS silent_seconds, status_reason
        FROM processing_servers LEFT JOIN held ON held.locked_by = id
        WHERE status <> 'inactive' ORDER BY status, id LIMIT $1""",
    "latest ends": """SELECT id, task_type, status, processing_duration_seconds AS seconds, last_error
        FROM processing_queue WHERE completed_at IS NOT NULL ORDER BY completed_at DESC, id DESC LIMIT least($1, 10)""",
}
_CUT_FIRST = SENTENCES | {"server"}
_UNLIMITED = frozenset({"pools"})


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(watch)


def watch(
    seconds: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between two looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    as_json: Json = False,
) -> None:
    """A live view of pools, containers, running tasks, servers and spending."""
    once = once or not (as_json or console.is_terminal)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        if as_json:
            asyncio.run(_follow(_print_line, seconds, once))
        elif once:
            asyncio.run(_follow(_print_picture, seconds, once))
        else:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                asyncio.run(_follow(lambda look: live.update(Fitted(look), refresh=True), seconds))


async def _follow(show: Callable[[Look], None], seconds: float, once: bool = False) -> None:
    """Look and show, again and again. Raises ReveilleError when it is for `once`."""
    dsn = database_url()
    assert dsn is not None  # noqa: S101
    resized = asyncio.Event()
    with suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, resized.set)
    latest: Look = {}

    def redraw() -> None:
        show(latest)

    while True:
        try:
            connection = await connect(dsn, application_name="reveille watch")
            try:
                looker = Looker(connection)
                while True:
                    latest = await looker.look()
                    show(latest)
                    if once:
                        return
                    await _rest(seconds, resized, redraw)
            finally:
                connection.terminate()
        except DATABASE_ERRORS as error:
            words = mask_text(words_of(error))
            if once:
                raise ReveilleError(
                    f"cannot read the database: {words}; see `reveille doctor`"
                ) from None
            trouble = f"cannot read the database: {words}; waiting, `reveille doctor` says more"
            latest = {**latest, "at": datetime.now(UTC), "trouble": trouble}
            show(latest)
            await _rest(AGAIN_SECONDS, resized, redraw)


async def _rest(seconds: float, resized: asyncio.Event, redraw: Callable[[], None]) -> None:
    """Sleep; a window that changes meanwhile is filled at once."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await resized.wait()
            resized.clear()
            redraw()


class Looker:
    """Reads what is shown; the sums of money not each time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._spent: dict[str, dict[str, float]] = {}
        self._spent_at = float("-inf")

    async def look(self) -> Look:
        """Everything as it is now."""
        sections: Look = {"at": await self._connection.fetchval("SELECT reveille_now()")}
        for name, sql in _SECTIONS.items():
            arguments = () if name in _UNLIMITED else (ROWS_MAX,)
            rows = await self._connection.fetch(sql, *arguments)
            sections[name.replace(" ", "_")] = [dict(row) for row in rows]
        if time.monotonic() - self._spent_at > SPENDING_SECONDS:
            self._spent = await self._spending(sections["at"])
            self._spent_at = time.monotonic()
        for pool in sections["pools"]:
            pool.update(self._spent.get(pool["pool"], {}))
        return sections

    async def _spending(self, now: datetime) -> dict[str, dict[str, float]]:
        today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        spent: dict[str, dict[str, float]] = {}
        for name, begin in (("today_usd", today), ("month_usd", today.replace(day=1))):
            costs = await costs_between(self._connection, begin, now + timedelta(microseconds=1), 0)
            for pool in costs.pools:
                spent.setdefault(pool.pool, {})[name] = pool.cost_usd
        return spent


def _print_line(look: Look) -> None:
    sys.stdout.write(json.dumps(look, default=plain) + "\n")
    sys.stdout.flush()


def _print_picture(look: Look) -> None:
    console.print(picture(look))


class Fitted:
    """A look that fills the window it is drawn in: as many rows as there is room for."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def __rich_console__(self, console: Any, options: Any) -> Any:
        yield picture(self._look, lines_max=options.height or console.height)


def picture(look: Look, lines_max: int | None = None) -> RenderableType:
    """The tables, one below the other; with `lines_max` the longest are cut, and say so."""
    parts: list[RenderableType] = [_headline(look)]
    names = [name.replace(" ", "_") for name in _SECTIONS if look.get(name.replace(" ", "_"))]
    rows = shares([len(look[name]) for name in names], lines_max)
    for name, most in zip(names, rows, strict=True):
        parts.append(_table(name.replace("_", " "), look[name], most))
    return Group(*parts)


def shares(lengths: Sequence[int], lines_max: int | None) -> list[int]:
    """How many rows each table may show: three lines are its title, its head and a gap."""
    if lines_max is None:
        return list(lengths)
    left = lines_max - 1 - 3 * len(lengths)
    given = [0] * len(lengths)
    while left > 0 and any(g < n for g, n in zip(given, lengths, strict=True)):
        for index, length in enumerate(lengths):
            if given[index] < length and left > 0:
                given[index] += 1
                left -= 1
    return given


def _headline(look: Look) -> Text:
    at: datetime | None = look.get("at")
    line = Text(f"reveille watch · {at.astimezone():%H:%M:%S}" if at else "reveille watch")
    if trouble := look.get("trouble"):
        return line.append(f" · {trouble}", style="bold red")
    pools = look["pools"]
    today, month = (sum(p.get(key) or 0 for p in pools) for key in ("today_usd", "month_usd"))
    return line.append(f" · ${today:.2f} today, ${month:.2f} this month", style="dim")


def _table(title: str, rows: Sequence[Mapping[str, Any]], most: int) -> Table:
    hidden = len(rows) - most
    table = Table(
        title=f"{title}, {hidden} more" if hidden > 0 else title,
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name in rows[0]:
        table.add_column(
            Text(head(name), no_wrap=True),
            no_wrap=name not in _CUT_FIRST,
            overflow="ellipsis",
            justify="right" if _is_number(name, [row[name] for row in rows]) else "left",
        )
    for row in rows[:most]:
        table.add_row(*(_shown(name, value) for name, value in row.items()))
    return table


def _is_number(name: str, values: Sequence[Any]) -> bool:
    """By all rows: a column does not jump when its first value comes or goes."""
    known = [value for value in values if value is not None]
    if not known:
        return name.endswith(("seconds", "_usd", "_hour"))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)
    return numbers and name not in {"id", "progress"}


def _shown(name: str, value: Any) -> RenderableType:
    if name == "progress":
        return ProgressBar(total=100, completed=value or 0, width=10)
    if name.endswith("_usd") and value is not None:
        return Text(f"{value:.2f}")
    return cell(value, no_wrap=True)
