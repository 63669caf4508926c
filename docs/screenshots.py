"""Make the README's pictures of the board: the whole system, one deck, headless Chromium.

Needs a `chromium` on the PATH; run it with `make screenshots`.
"""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from reveille.cli.demo import example_deck
from reveille.cli.live import follow_document
from reveille.cli.operate import enqueue, store_document
from reveille.database import connect
from reveille.stack import Stack, StackOptions

IMAGES = Path(__file__).parent / "images"
PICTURES = {"board.png": "/", "document.png": "/documents/1"}
CHROMIUM = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--window-size=1200,1100", "--timeout=3000"),
)


async def process_a_deck(dsn: str) -> None:
    """Returns when all its tasks have ended."""
    connection = await connect(dsn, application_name="screenshots")
    try:
        async with connection.transaction():
            deck = example_deck()
            content = await asyncio.to_thread(deck.read_bytes)
            tasks = await enqueue(connection, await store_document(connection, deck.name, content))
        await follow_document(connection, tasks)
    finally:
        connection.terminate()


def main() -> None:
    """Overwrite the pictures."""
    browser = shutil.which("chromium")
    if browser is None:
        sys.exit("chromium is not installed")
    IMAGES.mkdir(exist_ok=True)
    with Stack(StackOptions(), report=print) as stack, tempfile.TemporaryDirectory() as profile:
        asyncio.run(process_a_deck(stack.dsn))
        for name, path in PICTURES.items():
            shot = (f"--user-data-dir={profile}", f"--screenshot={IMAGES / name}")
            command = [browser, *CHROMIUM, *shot, f"{stack.gateway_url}{path}"]
            subprocess.run(command, check=True, timeout=60)  # noqa: S603 - ours


if __name__ == "__main__":
    main()
