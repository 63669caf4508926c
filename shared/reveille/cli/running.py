"""`reveille up` keeps the system running on this machine; `reveille watch` shows what it does."""

import asyncio
import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from reveille.cli.session import cell, console, database_url
from reveille.database import Connection, connect
from reveille.stack import STATE_FILE, Stack, StackError, StackOptions, remember

CHECK_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(up)
    app.command()(watch)


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the database here; default: .reveille/postgres.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the gateway and its board.")] = 8080,
    document_root: Annotated[Path | None, typer.Option(envvar="REVEILLE_DOCUMENT_ROOT")] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, services, workers as they are needed."""
    options = StackOptions(
        data_dir=(data_dir or STATE_FILE.parent / "postgres").resolve(),
        gateway_port=port,
        database_url=os.environ.get("DATABASE_URL"),
        ollama_host=os.environ.get("OLLAMA_HOST"),
        otlp_endpoint=os.environ.get("REVEILLE_OTLP_ENDPOINT"),
        document_root=document_root,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Stack(options, report=lambda line: console.print(f"[dim]· {line}[/dim]")) as stack:
        remember(stack)
        try:
            console.print(
                f"board:    {stack.gateway_url}/\nAPI docs: {stack.gateway_url}/docs\ndatabase: {stack.dsn}"
            )
            console.print(
                "Try `reveille submit deck.pdf --wait` in another terminal. Ctrl-C stops everything."
            )
            while not stop.wait(CHECK_SECONDS):
                for child in stack.failed():
                    raise StackError(
                        f"{child.name} ended with {child.process.returncode}:\n{child.log_tail()}"
                    )
        finally:
            STATE_FILE.unlink(missing_ok=True)
            console.print("[dim]· stopping everything[/dim]")


def watch(
    seconds: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between two looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print once and end.")] = False,
) -> None:
    """A live view of pools, servers and running tasks."""
    try:
        asyncio.run(_watch(seconds, once))
    except KeyboardInterrupt:
        return


async def _watch(seconds: float, once: bool) -> None:
    dsn = database_url()
    assert dsn is not None  # noqa: S101
    connection = await connect(dsn, application_name="reveille watch")
    try:
        if once:
            console.print(await _view(connection))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(await _view(connection), refresh=True)
                await asyncio.sleep(seconds)
    finally:
        connection.terminate()


_PARTS = {
    "pools": """SELECT p.name AS pool, p.paused, coalesce(sum(d.queued), 0)::int AS queued,
        coalesce(sum(d.processing), 0)::int AS processing, coalesce(sum(d.blocked), 0)::int AS blocked,
        coalesce(sum(d.retry), 0)::int AS retry,
        extract(epoch FROM reveille_now() - min(d.oldest_claimable_at))::int AS oldest_seconds,
        (SELECT string_agg(state || ' ' || n, ', ') FROM (SELECT state, count(*) AS n FROM containers c
          WHERE c.pool = p.name AND c.state NOT IN ('stopped', 'failed') GROUP BY state) s) AS containers
        FROM pools p LEFT JOIN queue_depth d ON d.pool = p.name GROUP BY p.name ORDER BY p.name DESC""",
    "servers": """SELECT id, server_type AS type, status, current_load AS load, max_concurrent_tasks AS slots,
        extract(epoch FROM reveille_now() - last_heartbeat)::int AS silent_seconds, status_reason
        FROM processing_servers WHERE status <> 'inactive' ORDER BY id LIMIT 20""",
    "running": """SELECT id, task_type, document_id AS document, progress_percentage AS progress, progress_message,
        locked_by AS server, extract(epoch FROM reveille_now() - started_at)::int AS seconds
        FROM processing_queue WHERE status = 'processing' ORDER BY started_at LIMIT 20""",
    "latest ends": """SELECT id, task_type, status, processing_duration_seconds AS seconds,
        left(last_error, 60) AS last_error
        FROM processing_queue WHERE completed_at IS NOT NULL ORDER BY id DESC LIMIT 10""",
}


async def _view(connection: Connection) -> Group:
    tables = []
    for title, sql in _PARTS.items():
        rows = await connection.fetch(sql)
        table = Table(
            title=title, title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for name in rows[0].keys() if rows else ["nothing"]:
            table.add_column(str(name).replace("_", " "))
        for row in rows:
            table.add_row(*[cell(value) for value in row.values()])
        tables.append(table)
    return Group(*tables)
