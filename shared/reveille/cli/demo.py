"""`reveille demo`: the whole system from nothing, one deck through it, everything shown, nothing
left running.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.rule import Rule

from reveille.cli.live import follow_document
from reveille.cli.operate import enqueue, store_document
from reveille.cli.results import show_cost, show_results
from reveille.cli.session import console
from reveille.costs import ALWAYS_ON_USD_PER_MONTH
from reveille.database import connect
from reveille.errors import ReveilleError
from reveille.otlp_sink import OtlpSink
from reveille.span import Span
from reveille.stack import Stack, StackOptions
from reveille.trace_context import trace_id_of
from reveille.trace_picture import svg
from reveille.trace_tree import TraceTree

DEFAULT_DECK = "cardiosense_pitch.pdf"
SPANS_SECONDS_MAX = 10.0


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(demo)


def demo(
    deck: Annotated[
        Path | None, typer.Argument(help="A PDF; default: one of Reveille's own decks.")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option(
            "--stay/--no-stay", help="Keep the board up until Enter; default: on a terminal."
        ),
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Also draw the trace into this SVG file."),
    ] = None,
) -> None:
    """Process a deck with an embedded Postgres, all services, and workers scaled from zero."""
    chosen = deck or example_deck()
    if not chosen.is_file():
        raise ReveilleError(f"{chosen} is no file")
    stays = sys.stdin.isatty() if stay is None else stay
    if not asyncio.run(_with_sink(chosen, stays, picture)):
        raise typer.Exit(1)


def example_deck() -> Path:
    """The demo's own deck, in the checkout or in the installed package."""
    here = Path(__file__).resolve()
    for folder in (here.parents[3] / "examples", here.parents[1] / "_examples"):
        if (folder / DEFAULT_DECK).is_file():
            return folder / DEFAULT_DECK
    raise ReveilleError(f"the example deck {DEFAULT_DECK} is missing; name a PDF")


async def _with_sink(deck: Path, stay: bool, picture: Path | None) -> bool:
    """The demo itself is the trace collector, unless one is configured."""
    endpoint = os.environ.get("REVEILLE_OTLP_ENDPOINT") or os.environ.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    running = asyncio.current_task()
    assert running is not None  # noqa: S101
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    async with OtlpSink() as sink:
        options = StackOptions(
            database_url=os.environ.get("REVEILLE_DEMO_DATABASE_URL"),
            ollama_host=os.environ.get("OLLAMA_HOST"),
            otlp_endpoint=endpoint or sink.url,
        )
        stack = Stack(options, report=lambda line: console.print(f"[dim]· {line}[/dim]"))
        opened = await asyncio.to_thread(stack.__enter__)
        try:
            return await _run(opened, deck, None if endpoint else sink, stay, picture)
        finally:
            console.print("[dim]· stopping everything[/dim]")
            await asyncio.shield(asyncio.to_thread(stack.close))


async def _run(
    stack: Stack, deck: Path, sink: OtlpSink | None, stay: bool, picture: Path | None
) -> bool:
    started = time.monotonic()
    connection = await connect(stack.dsn, application_name="reveille demo")
    try:
        console.print(Rule(f"{deck.name}: one INSERT per task, workers at zero"))
        async with connection.transaction():
            document_id = await store_document(
                connection, deck.name, await asyncio.to_thread(deck.read_bytes)
            )
            task_ids = await enqueue(connection, document_id)
        completed = await follow_document(connection, task_ids)
        console.print(Rule("results"))
        await show_results(connection, document_id)
        console.print(Rule("one task, one trace"))
        await _show_trace(connection, task_ids, sink, picture)
        await show_cost(connection, ALWAYS_ON_USD_PER_MONTH)
    finally:
        connection.terminate()
    verdict = (
        "[green]all tasks completed[/green]"
        if completed
        else "[red]some tasks did not complete[/red]"
    )
    console.print(
        f"{verdict}, {time.monotonic() - started:.1f} s from the INSERTs; board and API docs: "
        f"{stack.gateway_url}/ and {stack.gateway_url}/docs"
    )
    if stay:
        console.print("Press Enter to stop everything (`reveille up` keeps it running).")
        await asyncio.to_thread(sys.stdin.readline)
    return completed


async def _show_trace(
    connection: object, task_ids: list[int], sink: OtlpSink | None, picture: Path | None
) -> None:
    row = await connection.fetchrow(  # type: ignore[attr-defined]
        "SELECT id, task_type, traceparent FROM processing_queue WHERE id = ANY ($1) ORDER BY id LIMIT 1",
        task_ids,
    )
    trace_id = trace_id_of(row["traceparent"])
    if sink is None or trace_id is None:
        console.print(
            f"task {row['id']} ({row['task_type']}): trace {trace_id} is at your collector"
        )
        return

    def settled(spans: tuple[Span, ...]) -> bool:
        return any(s.name.startswith("process ") for s in spans if s.trace_id == trace_id)

    try:
        await sink.wait_for(settled, timeout_seconds=SPANS_SECONDS_MAX)
    except TimeoutError:
        console.print("[yellow]the trace did not arrive in time; what there is of it:[/yellow]")
    console.print(f"task {row['id']} ({row['task_type']}), trace {trace_id}")
    console.print(TraceTree(sink.trace(trace_id)))
    if picture is not None:
        title = f"task {row['id']} ({row['task_type']}), trace {trace_id}"
        drawn = svg(sink.trace(trace_id), title=title)
        await asyncio.to_thread(picture.write_text, drawn, encoding="utf-8")
        console.print(f"the same as a picture: {picture}")
