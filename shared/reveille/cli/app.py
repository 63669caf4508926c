"""All commands, and how errors leave: one sentence on stderr and an exit code, never a stack."""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from reveille.cli import decisions, demo, fleet, inspect, operate, running, simulate, watch
from reveille.cli.session import database_url
from reveille.errors import ConfigurationError, ReveilleError
from reveille.logs import configure_logging, mask_text
from reveille.migrate import migrate, pending_sql

app = typer.Typer(
    help="Wakes GPU workers the moment a row lands in Postgres.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"reveille {version('reveille')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", "-V", callback=_say_version, is_eager=True, help="Say the version and end."
        ),
    ] = False,
) -> None:
    """What comes before a command."""


@app.command(name="migrate")
def migrate_command(
    show: Annotated[
        bool, typer.Option("--print", help="Print the pending SQL, change nothing.")
    ] = False,
    directory: Annotated[Path | None, typer.Option("--dir", help="Folder of migrations.")] = None,
) -> None:
    """Bring the database that DATABASE_URL names to this program's schema."""
    if show:
        typer.echo(asyncio.run(pending_sql(database_url(required=False), directory=directory)))
        return
    dsn = database_url()
    assert dsn is not None  # noqa: S101
    done = asyncio.run(migrate(dsn, directory=directory, on_progress=typer.echo))
    typer.echo(f"{len(done)} applied" if done else "nothing to do: the schema is up to date")


demo.add_to(app)
running.add_to(app)
watch.add_to(app)
operate.add_to(app)
fleet.add_to(app)
app.command()(decisions.decisions)
inspect.add_to(app)
simulate.add_to(app)


def main() -> None:
    """Entry point of the `reveille` script."""
    configure_logging("warning", json=False)  # unconfigured, a traceback would show local variables
    try:
        app()
    except ConfigurationError as error:
        _fail(str(error), 78)
    except ReveilleError as error:
        _fail(str(error), 1)
    except OSError as error:
        _fail(f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(sentence: str, code: int) -> None:
    sys.stderr.write(f"reveille: {mask_text(sentence)}\n")
    sys.exit(code)
