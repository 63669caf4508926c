"""`reveille simulate`: hands over to the autoscaler's simulator, which this package may not import."""

import os
import sys

import typer


def add_to(app: typer.Typer) -> None:
    """Register the command; every argument, `--help` included, is the simulator's."""
    app.command(
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        }
    )(simulate)


def simulate(context: typer.Context) -> None:
    """Compare scaling policies on invented or recorded load: cost, waits, distance to the bound."""
    sys.stdout.flush()
    os.execv(  # noqa: S606 - our own interpreter, and arguments that no shell reads
        sys.executable, [sys.executable, "-m", "autoscaler.simulate", *context.args]
    )
