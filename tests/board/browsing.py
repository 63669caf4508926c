"""A real browser: Debian's chromium, driven by Playwright."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from queue_gateway.testing import RunningGateway

CHROMIUM = shutil.which("chromium")
# Nothing of it leaves this machine.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
WITHIN_MS = 20_000  # a busy machine


@asynccontextmanager
async def running_browser() -> AsyncIterator[Browser]:
    """Chromium without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


class Window:
    """A browser window on a gateway's board. What its pages complain about is in `complaints`."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    async def open(self, path: str) -> Page:
        """Go to a page of the board."""
        await self.page.goto(self.url + path)
        return self.page

    async def open_live(self, path: str) -> Page:
        """The same, and wait until its events arrive. The page is marked: `stayed`."""
        page = await self.open(path)
        await page.locator("#live.on").wait_for()
        await page.evaluate("window.marked = true")
        return page

    async def stayed(self) -> bool:
        """Whether the page that was marked is still there: it was not loaded anew."""
        return bool(await self.page.evaluate("window.marked === true"))

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@asynccontextmanager
async def window(
    browser: Browser, gateway: RunningGateway, token: str | None = None, **options: Any
) -> AsyncIterator[Window]:
    """A fresh profile, logged in when there is a token; `options` are Playwright's for a context."""
    context: BrowserContext = await browser.new_context(**options)
    context.set_default_timeout(WITHIN_MS)
    if token is not None:
        cookie: Any = {"name": "reveille_token", "value": token, "url": gateway.url}
        await context.add_cookies([cookie])
    try:
        yield Window(await context.new_page(), gateway.url)
    finally:
        await context.close()
