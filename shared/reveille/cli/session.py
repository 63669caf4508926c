"""Where the commands find the database, and how they show what they found: a table for people,
JSON for machines.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reveille import stack
from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.errors import ConfigurationError, ReveilleError

T = TypeVar("T")

WIDTH_ELSEWHERE = 120  # of what is read from a pipe or a file, unless COLUMNS says otherwise

console = Console(highlight=False)
if not console.is_terminal and "COLUMNS" not in os.environ:
    console.width = WIDTH_ELSEWHERE

# Columns of sentences: where there is too little room, these are cut and the others stay whole.
SENTENCES = frozenset({"reason", "status_reason", "last_error", "step"})

# Heads of one-line tables, as short as what stands below them: eighty columns are to be enough.
_HEADS = {
    "attempt": "try",
    "containers": "cont.",
    "cost_usd": "$",
    "created_at": "created",
    "document": "doc",
    "document_id": "doc",
    "last_heartbeat": "heard",
    "month_usd": "$ month",
    "oldest_seconds": "oldest",
    "priority": "pri",
    "processing": "running",
    "progress": "%",
    "seconds": "s",
    "silent_seconds": "silent s",
    "today_usd": "$ today",
    "usd_per_hour": "$/h",
}

_NO_SUCH_THING = frozenset({"42P01", "42883", "42703"})  # table, function, column

COLUMN_WIDTH_MIN = 20  # of a table cut to one line a row: short columns stay whole


def database_url(*, required: bool = True) -> str | None:
    """DATABASE_URL, else the database of a `reveille up` that runs in this folder."""
    if found := os.environ.get("DATABASE_URL"):
        return found
    if state := stack.remembered():
        return state["database_url"]
    if required:
        raise ConfigurationError(
            "no database: set DATABASE_URL, or run `reveille up` in this folder first"
        )
    return None


def with_database(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run `work` with one connection. Raises ReveilleError with what to do when there is none, and
    with the database's words for what it refuses.
    """

    async def run() -> T:
        dsn = database_url()
        assert dsn is not None  # noqa: S101
        try:
            connection = await connect(dsn, application_name="reveille cli")
        except DATABASE_ERRORS as error:
            raise ReveilleError(
                f"cannot reach the database: {error}; see `reveille doctor`"
            ) from None
        try:
            return await work(connection)
        except DATABASE_ERRORS as error:
            raise ReveilleError(f"the database refuses: {words_of(error)}") from None
        finally:
            await connection.close(timeout=5)

    return asyncio.run(run())


def words_of(error: BaseException) -> str:
    """What the database or the driver said, in one line, and what to do where that is known."""
    if getattr(error, "sqlstate", None) in _NO_SUCH_THING:
        return f"it has not this program's schema ({error.args[0]}): run `reveille migrate`"
    said = str(error).split("\nHINT:")[0] or type(error).__name__
    hint = getattr(error, "hint", None)
    return f"{said} ({hint})" if hint else said


def rows_of(sql: str, *arguments: object) -> list[dict[str, Any]]:
    """One statement's rows."""

    async def work(connection: Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(sql, *arguments)]

    return with_database(work)


def show(
    rows: Sequence[Mapping[str, Any]],
    *,
    as_json: bool,
    title: str,
    empty: str = "nothing",
    columns: Sequence[str] | None = None,
    one_line: bool = False,
) -> None:
    """Print rows. JSON has every field; the table has `columns`, cut to `one_line` a row if asked."""
    if as_json:
        typer.echo(json.dumps([dict(row) for row in rows], default=plain, indent=2))
        return
    if not rows:
        console.print(f"[dim]{title}: {empty}[/dim]")
        return
    names = list(columns or rows[0].keys())
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for name in names:
        longest = max(len(cell(row[name], no_wrap=one_line).plain) for row in rows)
        if one_line and name in SENTENCES:
            least = min(longest, COLUMN_WIDTH_MIN)
            table.add_column(Text(head(name), no_wrap=True), overflow="ellipsis", min_width=least)
            continue
        numeric = all(isinstance(row[name], int | float | Decimal | None) for row in rows)
        table.add_column(
            Text(head(name), no_wrap=True) if one_line else name.replace("_", " "),
            justify="right" if numeric else "left",
            no_wrap=one_line,
            overflow="ellipsis" if one_line else "fold",
            min_width=min(longest, COLUMN_WIDTH_MIN) if one_line else None,
        )
    for row in rows:
        table.add_row(*[cell(row[name], no_wrap=one_line) for name in names])
    console.print(table)


def head(name: str) -> str:
    """A column's name over a one-line table."""
    return _HEADS.get(name, name.replace("_", " "))


def cell(value: Any, *, no_wrap: bool | None = None) -> Text:
    """A value for a table, never read as markup: decks and models write it. In one line a moment
    of today is a time, another one a date.
    """
    if no_wrap and isinstance(value, datetime):
        at = value.astimezone()
        form = "%H:%M:%S" if at.date() == datetime.now().astimezone().date() else "%Y-%m-%d"
        return Text(at.strftime(form), no_wrap=True)
    text = _cell(value)
    text.no_wrap = no_wrap
    return text


def _cell(value: Any) -> Text:
    match value:
        case None:
            return Text("–", style="dim")
        case bool():
            return Text("yes" if value else "no")
        case float() | Decimal():
            return Text(f"{value:.4g}")
        case datetime():
            return Text(value.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
        case dict() | list():
            return Text(json.dumps(value, default=plain, ensure_ascii=False))
        case _:
            text = "".join(c if c.isprintable() else " " for c in str(value))
            return Text(text, style=STATUS_STYLES.get(text, ""))


STATUS_STYLES = {
    "completed": "green",
    "ready": "green",
    "active": "green",
    "processing": "cyan",
    "queued": "yellow",
    "blocked": "dim",
    "retry": "magenta",
    "failed": "red",
    "lost": "red",
    "cancelled": "dim red",
    "ok": "green",
    "note": "yellow",
    "PROBLEM": "bold red",
}


def plain(value: Any) -> Any:
    """What JSON has no word for, in one that it has."""
    if isinstance(value, Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
