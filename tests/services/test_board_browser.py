"""The board in a real browser; skipped where none is installed."""

import asyncio
import shutil
from pathlib import Path

import pytest

from queue_gateway.testing import running_gateway
from reveille.testing import Database

BROWSER = shutil.which("chromium")
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")


async def open_page(url: str, profile: Path) -> tuple[str, str]:
    """The page after its scripts ran, as HTML, and what the browser said meanwhile."""
    assert BROWSER is not None
    browser = await asyncio.create_subprocess_exec(
        BROWSER,
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--enable-logging=stderr", "--timeout=4000", f"--user-data-dir={profile}"),
        *("--dump-dom", url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        html, said = await asyncio.wait_for(browser.communicate(), 60)
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()
    return html.decode(), said.decode()


async def test_hostile_text_stays_text_in_a_browser(database: Database, tmp_path: Path) -> None:
    """What a deck or a backend writes never runs."""
    task_id = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, file_path, current_step) "
        "VALUES (5, 'visual_analysis', $1::text, $1::text) RETURNING id",
        HOSTILE,
    )
    async with running_gateway(database.dsn) as gateway:
        html, said = await open_page(f"{gateway.url}/tasks/{task_id}", tmp_path)

    assert "<title>owned" not in html
    assert "&lt;script&gt;" in html
    assert "Content Security Policy" not in said
