"""Make the README's pictures of the board: the whole system at work on decks that keep coming.

Needs a `chromium` on the PATH; run it with `make screenshots`. It takes about four minutes.
"""

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Page
from tests.board.browsing import CHROMIUM, running_browser

from reveille.cli.demo import example_deck
from reveille.cli.live import follow_document
from reveille.cli.operate import enqueue, store_document
from reveille.database import Connection, connect
from reveille.stack import Stack, StackOptions

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1200, "height": 900}
SCALE = 1.5  # sharp on most screens, and still small files
# Seconds before each deck: quiet, a rush, quiet. The last is in the middle of its work in the picture.
PAUSES_SECONDS = (0, 40, 4, 4, 30, 6, 25, 12)
ROWS = "table.tasks tbody tr:nth-child(-n+9)"  # of the latest tasks, as many as the picture shows
WAIT_MS = 60_000
ANSWER_SECONDS = 0.25  # what the stand-in takes: a GPU that is not ours would take longer


async def send_deck(connection: Connection, deck: Path, number: int) -> list[int]:
    """Upload a deck of our own and enqueue its pipeline."""
    async with connection.transaction():
        content = await asyncio.to_thread(deck.read_bytes)
        # A document that is known is not kept twice: a comment makes it another one.
        content += f"\n% {number}\n".encode() if number else b""
        return await enqueue(connection, await store_document(connection, deck.name, content))


async def work(dsn: str) -> None:
    """Returns when the last deck has been sent, and the first is done."""
    decks = sorted(example_deck().parent.glob("*_pitch.pdf"))
    connection = await connect(dsn, application_name="screenshots")
    try:
        first: list[int] = []
        for number, pause in enumerate(PAUSES_SECONDS):
            await asyncio.sleep(pause)
            sent = await send_deck(connection, decks[number % len(decks)], number)
            first = first or sent
        await follow_document(connection, first)
    finally:
        connection.terminate()


async def picture(page: Page, name: str, below: str, margin: int) -> None:
    """From the top of the window to where an element ends."""
    await page.evaluate("scrollTo(0, 0)")
    bottom = await page.locator(below).first.evaluate("e => e.getBoundingClientRect().bottom")
    clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": bottom + margin}
    await page.screenshot(path=IMAGES / name, full_page=True, clip=clip)


async def take(dsn: str, url: str) -> None:
    """All pictures, from pages as a visitor sees them; the board's is live while the decks come."""
    async with running_browser() as browser:
        page = await browser.new_page(
            viewport=SIZE, device_scale_factor=SCALE, color_scheme="light"
        )
        page.set_default_timeout(WAIT_MS)
        await page.goto(f"{url}/?span=15m")
        await work(dsn)
        await page.locator(ROWS).locator(".status.good").nth(1).wait_for()
        await page.locator(ROWS).locator(".status.busy").first.wait_for()
        await picture(page, "board.png", f"{ROWS}:nth-child(9)", 1)
        await page.goto(f"{url}/documents/1")
        await picture(page, "document.png", "table.facts", 24)
        slide = page.locator("#slide-3")
        await slide.scroll_into_view_if_needed()
        for image in await slide.locator("img").all():
            await image.evaluate("i => i.decode()")
        await slide.screenshot(path=IMAGES / "slide.png")


def main() -> None:
    """Overwrite the pictures."""
    if CHROMIUM is None:
        sys.exit("chromium is not installed")
    IMAGES.mkdir(exist_ok=True)
    options = StackOptions(stub_service_seconds=ANSWER_SECONDS)
    with Stack(options, report=print) as stack:
        asyncio.run(take(stack.dsn, stack.gateway_url))


if __name__ == "__main__":
    main()
