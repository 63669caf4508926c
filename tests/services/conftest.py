"""What several tests of the command line share."""

import asyncio

import pytest
from tests.command_line import Run
from typer.testing import CliRunner, Result

from reveille.cli.app import app
from reveille.testing import Database


@pytest.fixture
def run(database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command against this test's database, with the terminal's width."""
    monkeypatch.setenv("DATABASE_URL", database.dsn)

    async def invoke(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return invoke
