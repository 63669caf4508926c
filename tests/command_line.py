"""The command line as tests call it."""

from collections.abc import Awaitable, Callable

from typer.testing import Result

Run = Callable[..., Awaitable[Result]]  # the words of a command
