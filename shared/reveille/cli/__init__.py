"""The `reveille` command: one module per group of commands, `app.py` puts them together."""

from reveille.cli.app import main

__all__ = ["main"]
