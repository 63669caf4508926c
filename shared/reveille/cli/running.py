"""`reveille up` keeps the system running on this machine."""

import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from reveille.cli.session import console
from reveille.stack import STATE_FILE, Stack, StackError, StackOptions, remember

CHECK_SECONDS = 1.0


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(up)


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
                f"Try `{command_here()} submit deck.pdf --wait` in another terminal, in this folder. "
                "Ctrl-C stops everything.",
                markup=False,
            )
            while not stop.wait(CHECK_SECONDS):
                for child in stack.failed():
                    raise StackError(
                        f"{child.name} ended with {child.process.returncode}:\n{child.log_tail()}"
                    )
        finally:
            STATE_FILE.unlink(missing_ok=True)
            console.print("[dim]· stopping everything[/dim]")


def command_here() -> str:
    """What to type for this program: its name where the shell finds it, else where it is."""
    own = Path(sys.argv[0]).absolute()
    found = shutil.which("reveille")
    if found is not None and Path(found).absolute() == own:
        return "reveille"
    here = Path.cwd()
    return str(own.relative_to(here) if own.is_relative_to(here) else own)
