"""A provider's surroundings, as the conformance suite sees and disturbs them from outside.

To join the suite, write a module beside this one with an async context manager that yields a
`ProviderWorld`, and enter it in WORLDS of tests/services/test_provider_conformance.py.
"""

from collections.abc import Mapping
from typing import Protocol

from autoscaler.provider import Provider


class ProviderWorld(Protocol):
    """What runs the containers (processes, an engine, a cloud's stand-in), and its test handles.

    Names are as the autoscaler gives them: `reveille-<pool>-<slot>`.
    """

    restarts_ended: bool
    """Whether an ended container is started again by the world (a cloud, a cluster), so that its
    provider never shows `exited`."""

    def open(self) -> Provider:
        """A provider object over this world. A second one is an autoscaler that was restarted."""

    async def until_running(self, name: str) -> None:
        """Return when the container of that name truly runs: asked of the world."""

    async def running(self) -> set[str]:
        """Names of all containers that run, foreign ones included: asked of the world."""

    async def environment(self, name: str) -> Mapping[str, str]:
        """The environment that the worker inside was given. The container runs."""

    async def end(self, name: str) -> None:
        """Its worker ends by itself; returns when the world has noticed."""

    async def add_foreign(self, name: str) -> None:
        """Something that runs and is not the autoscaler's."""

    async def break_down(self) -> None:
        """From now on the world cannot be asked: every call of a provider must fail."""
