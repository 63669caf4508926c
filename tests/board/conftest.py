"""One browser for all tests of a process, and a database and a gateway for each."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from tests.board.browsing import CHROMIUM, Window, running_browser, window

from queue_gateway.testing import RunningGateway, running_gateway
from reveille.testing import Database, Databases

TOKENS = "box=read,clerk=read+submit,boss=read+submit+operate"


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Chromium; without one the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def shop(databases: Databases) -> AsyncIterator[Database]:
    """A database for a test that runs in the browser's loop."""
    async with databases.migrated() as database:
        yield database


@pytest_asyncio.fixture(loop_scope="session")
async def counter(shop: Database) -> AsyncIterator[RunningGateway]:
    """A gateway over `shop` that asks for tokens."""
    async with running_gateway(shop.dsn, api_tokens=TOKENS) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="session")
async def boss(browser: Browser, counter: RunningGateway) -> AsyncIterator[Window]:
    """A window of somebody who may do everything. Its pages must not complain."""
    async with window(browser, counter, "boss") as mine:
        yield mine
        assert mine.complaints == []
