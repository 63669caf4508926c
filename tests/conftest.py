"""One Postgres per test run, one database per test.

The server is started by the process that the user started, when it is first needed, and handed to
xdist's workers by its address; so there is one to stop, and it stops with that process however
that ends.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import settings
from tests.roles import connect_under_roles

from reveille.testing import Database, Databases
from reveille.testing_server import PostgresServer, choose_server

# How long an example takes says how busy the machine is; pytest-timeout ends what hangs.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

SERVER = pytest.StashKey[PostgresServer]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the server; starting waits until a test asks for a database."""
    if not hasattr(config, "workerinput"):
        config.stash[SERVER] = choose_server()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the server in the header."""
    server = config.stash.get(SERVER, None)
    return None if server is None else f"postgres: {server.description}"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give xdist's workers the address."""
    node.workerinput["postgres"] = node.config.stash[SERVER].start()
    node.workerinput["prefix"] = _prefix()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop what is ours and stop what we started."""
    server = config.stash.get(SERVER, None)
    if server is None:
        return
    if server.started:
        asyncio.run(Databases(server.start(), prefix=_prefix()).drop_all())
    server.stop()


@pytest.fixture(scope="session")
def databases(request: pytest.FixtureRequest) -> Databases:
    """The server, as something that makes databases."""
    given = getattr(request.config, "workerinput", None)
    if given is not None:
        return Databases(given["postgres"], prefix=given["prefix"])
    return Databases(request.config.stash[SERVER].start(), prefix=_prefix())


@pytest.fixture(autouse=True)
def roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services run under their roles, in every test."""
    connect_under_roles(monkeypatch)


@pytest.fixture
async def database(databases: Databases) -> AsyncIterator[Database]:
    """A database of this test's own, with the schema."""
    async with databases.migrated() as database:
        yield database


@pytest.fixture
async def empty_database(databases: Databases) -> AsyncIterator[Database]:
    """A database of this test's own, without the schema."""
    async with databases.empty() as database:
        yield database


def _prefix() -> str:
    return f"reveille_test_{os.getpid()}"
