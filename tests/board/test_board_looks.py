"""Every page of the board, full and empty, in the browser: accessible, and fit for a phone."""

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from tests.board.browsing import Window, window
from tests.board.furniture import furnish

from queue_gateway.testing import RunningGateway
from reveille.testing import Database

PAGES = ("/", "/tasks", "/documents", "/fleet", "/decisions", "/costs", "/report")
CONTAINERS = "SELECT '/containers/' || id AS path FROM containers ORDER BY id"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
CONTRAST = {"runOnly": ["color-contrast"]}
PHONE = {"width": 390, "height": 844}
OPEN = "document.querySelectorAll('main details:not(.route, [id^=schema])').forEach((d) => d.open = true)"

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


async def furnished(shop: Database) -> list[str]:
    """Every page, over a database with something of everything."""
    document_id, tasks = await furnish(shop)
    told = ("deck_date_extraction", "slide_feedback", "funding_amount_extraction")
    of_tasks = [f"/tasks/{tasks[name]}" for name in told]
    of_containers = [row["path"] for row in await shop.fetch(CONTAINERS)]
    return [
        *PAGES,
        *of_tasks,
        *of_containers,
        f"/documents/{document_id}",
        "/documents/404404",
        "/docs",
    ]


async def faults(mine: Window, path: str, options: Any) -> list[str]:
    """What axe finds on a page, with everything on it opened."""
    page = await mine.open(path)
    await page.evaluate(OPEN)
    return await judged(page, path, options)


async def judged(page: Page, path: str, options: Any) -> list[str]:
    """What axe finds on a page as it is."""
    found: Any = await Axe().run(page, options=options | {"resultTypes": ["violations"]})
    return [
        f"{path}: {fault['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for fault in found.response["violations"]
        for node in fault["nodes"]
    ]


async def test_full_pages_are_accessible(boss: Window, shop: Database) -> None:
    """Names, roles, contrast, order, landmarks: axe has nothing to say."""
    paths = await furnished(shop)
    found = [fault for path in paths for fault in await faults(boss, path, RULES)]
    boss.complaints.clear()  # of the page that is not there

    assert found == []


async def test_empty_pages_questions_and_the_door_are_accessible(
    browser: Browser, counter: RunningGateway, shop: Database
) -> None:
    """The same of what one sees first, and of the layer in which a question is asked."""
    async with window(browser, counter) as stranger:
        found = await faults(stranger, "/login", RULES)
    async with window(browser, counter, "boss") as mine:
        found += [fault for path in PAGES for fault in await faults(mine, path, RULES)]
        page = await mine.open("/")
        await page.get_by_role("button", name="Pause").first.click()
        found += await judged(page, "a question", RULES)

    assert found == []


async def test_dark_pages_have_contrast(
    browser: Browser, counter: RunningGateway, shop: Database
) -> None:
    """Every word can be read in the dark scheme too."""
    paths = await furnished(shop)
    async with window(browser, counter, "boss", color_scheme="dark") as mine:
        assert [fault for path in paths for fault in await faults(mine, path, CONTRAST)] == []


async def test_no_page_is_wider_than_a_phone(
    browser: Browser, counter: RunningGateway, shop: Database
) -> None:
    """Long words break or scroll in their own box, and what is pressed is large enough."""
    async with window(browser, counter, "boss", viewport=PHONE) as mine:
        for path in await furnished(shop):
            page = await mine.open(path)
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, (path, wide)
            small = await page.evaluate(
                "[...document.querySelectorAll('main button')].filter((b) => b.checkVisibility() && "
                "b.getBoundingClientRect().height < 24).map((b) => b.outerHTML)"
            )
            assert small == [], path
