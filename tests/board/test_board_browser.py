"""The board in a real browser: main flows, live pages, hostile text, many tasks, the keyboard."""

import re
from base64 import b64encode
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, expect
from tests.board.browsing import WITHIN_MS, Window, window
from tests.board.furniture import DECK, furnish

from queue_gateway.testing import RunningGateway, running_gateway
from reveille.testing import Database, eventually

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
INSERT = "INSERT INTO processing_queue (document_id, task_type) VALUES ($1, 'visual_analysis') RETURNING id"
FAILED = "SELECT id FROM containers WHERE state = 'failed'"
STATUS = "SELECT status FROM processing_queue WHERE id = $1"
MANY = """
INSERT INTO processing_queue (document_id, task_type)
SELECT 1 + n / 11, (ARRAY['visual_analysis', 'deck_date_extraction'])[1 + n % 2] FROM generate_series(1, 10000) AS n
"""
DROP = """([name, base64]) => {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "application/pdf" }));
  for (const kind of ["dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
}"""
SLIP_IN = """() => {
  window.refused = [];
  const hear = (event) => window.refused.push(event.effectiveDirective);
  document.addEventListener("securitypolicyviolation", hear);
  const script = document.createElement("script");
  script.textContent = "window.ran = true";
  document.body.append(script);
  const markup = "<img src='data:,' onerror='window.ran = true'><p style='color: red'>x</p>";
  document.body.insertAdjacentHTML("beforeend", markup);
}"""

pytestmark = [pytest.mark.asyncio(loop_scope="session")]
expect.set_options(timeout=WITHIN_MS)


async def add(shop: Database, document_id: int = 7) -> int:
    """A task of visual analysis."""
    task_id: int = await shop.fetchval(INSERT, document_id)
    return task_id


async def test_overview_and_task_follow_a_life_without_reload(boss: Window, shop: Database) -> None:
    """A task that is inserted, claimed, worked on and completed shows so in pages that stay open."""
    page = await boss.open_live("/")
    task_id = await add(shop)
    row = page.locator(f"#row-{task_id}")
    await expect(row.locator(".status")).to_have_text("queued")
    await shop.execute(
        "UPDATE processing_queue SET status = 'processing', started_at = reveille_now(), "
        "progress_percentage = 30, current_step = 'slide-3' WHERE id = $1",
        task_id,
    )
    await expect(row.locator(".status")).to_have_text("processing")
    await expect(row.locator("progress")).to_have_attribute("value", "30")
    assert await boss.stayed()

    await row.get_by_role("link", name=str(task_id), exact=True).click()
    await page.locator("#live.on").wait_for()
    await page.evaluate("window.marked = true")
    await shop.execute(
        "UPDATE processing_queue SET status = 'completed', completed_at = reveille_now() "
        "WHERE id = $1",
        task_id,
    )
    await expect(page.locator("h1 .status")).to_have_text("completed")
    await expect(page.locator(".life li")).to_contain_text(["waiting", "attempt 1"])
    await expect(page.locator("#live")).to_be_empty()
    assert await boss.stayed()


async def test_live_page_leaves_the_reader_alone(boss: Window, shop: Database) -> None:
    """What was ticked, opened, typed, focused and asked stays while rows change around it."""
    first = await add(shop)
    page = await boss.open_live("/tasks")
    box = page.get_by_role("checkbox", name=f"choose task {first}", exact=True)
    await box.check()
    await page.get_by_label("Document", exact=True).fill("12")
    await page.get_by_role("button", name="Cancel chosen").click()

    second = await add(shop)
    await page.locator(f"#row-{second}").wait_for()

    await expect(box).to_be_checked()
    await expect(page.get_by_label("Document", exact=True)).to_have_value("12")
    await expect(page.get_by_label("Document", exact=True)).to_be_editable()
    await expect(page.locator("#chosen")).to_have_text("1 chosen")
    await expect(page.locator("#ask-cancel-chosen")).to_be_visible()
    assert await page.locator("#ask-cancel-chosen :focus").count() == 1
    assert await boss.stayed()


async def test_page_finds_its_way_back_after_a_restart(browser: Browser, shop: Database) -> None:
    """While the gateway is away the page says so; then it shows what happened meanwhile."""
    async with AsyncExitStack() as later:
        async with running_gateway(shop.dsn) as first:
            port = urlsplit(first.url).port
            mine = await later.enter_async_context(window(browser, first))
            page = await mine.open_live("/tasks")
        await expect(page.locator("#live")).to_have_text("reconnecting")
        task_id = await add(shop)
        await later.enter_async_context(running_gateway(shop.dsn, http_port=port))
        await expect(page.locator(f"#row-{task_id}")).to_be_visible()
        await expect(page.locator("#live")).to_have_text("live")
        assert await mine.stayed()


async def test_relative_times_go_on(boss: Window, shop: Database) -> None:
    """A page that stays open does not say for ever that something was just now."""
    task_id = await add(shop)
    page = await boss.open(f"/tasks/{task_id}")
    ago = page.locator("dl.list .ago").first

    await expect(ago).to_have_text(re.compile(r"^[1-9]\d* s ago$"))
    moment = await page.locator("dl.list time").first.get_attribute("title")
    assert moment is not None
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", moment)


async def test_filters_live_in_the_address(boss: Window, shop: Database) -> None:
    """A filtered list can be sent as a link, and the way back is the browser's."""
    await furnish(shop, "plain")
    page = await boss.open("/tasks")
    everything = await page.locator("tbody tr").count()
    await page.get_by_label("Status").select_option("failed")
    await page.get_by_role("button", name="Show").click()

    assert "status=failed" in page.url
    await expect(page.locator("tbody .status")).to_have_text(["failed"])
    await page.reload()
    await expect(page.get_by_label("Status")).to_have_value("failed")
    await page.go_back()
    await expect(page.locator("tbody tr")).to_have_count(everything)
    await boss.open("/tasks?status=failed&task_type=visual_analysis")
    await page.get_by_role("link", name="Show all tasks").click()
    await expect(page.locator("tbody tr")).to_have_count(everything)


async def test_chosen_tasks_are_cancelled_after_one_question(boss: Window, shop: Database) -> None:
    """No does nothing; yes cancels what was ticked, and the page says how many."""
    tasks = [await add(shop) for _ in range(3)]
    page = await boss.open("/tasks")
    for task_id in tasks[:2]:
        await page.get_by_role("checkbox", name=f"choose task {task_id}", exact=True).check()
    dialog = page.get_by_role("dialog")

    await page.get_by_role("button", name="Cancel chosen").click()
    await dialog.get_by_role("button", name="No").click()
    await expect(dialog).to_be_hidden()
    assert {await shop.fetchval(STATUS, task_id) for task_id in tasks} == {"queued"}
    await page.get_by_role("button", name="Cancel chosen").click()
    await dialog.get_by_role("button", name="Cancel tasks").click()

    await expect(page.locator(".said")).to_have_text("2 tasks cancelled.")
    assert [await shop.fetchval(STATUS, task_id) for task_id in tasks] == [
        *("cancelled", "cancelled", "queued")
    ]


async def test_everything_works_from_the_keyboard(boss: Window, shop: Database) -> None:
    """The first Tab leads past the menu; a question opens on No, Escape leaves it, Enter answers."""
    task_id = await add(shop)
    page = await boss.open(f"/tasks/{task_id}")
    press = page.keyboard.press

    await press("Tab")
    await expect(page.locator(":focus")).to_have_text("To the content")
    await press("Enter")
    await expect(page.locator("main:focus")).to_have_count(1)
    await press("Tab")
    await expect(page.locator(":focus")).to_have_text(re.compile("Cancel"))
    await press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await expect(page.locator(":focus")).to_have_text("No")
    await press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    assert await shop.fetchval(STATUS, task_id) == "queued"
    await expect(page.locator(":focus")).to_have_text(re.compile("Cancel"))
    await press("Enter")
    await press("Shift+Tab")
    await expect(page.locator(":focus")).to_have_text("Cancel")
    await press("Enter")

    await expect(page.locator(".said")).to_have_text(f"Task {task_id} is cancelled.")
    assert await shop.fetchval(STATUS, task_id) == "cancelled"


async def test_dropped_deck_is_uploaded_and_shown(boss: Window, shop: Database) -> None:
    """A PDF that is dropped anywhere leads to its document, with its pipeline."""
    page = await boss.open("/")
    await page.evaluate(DROP, ["seed round.pdf", encoded(DECK.read_bytes())])

    await expect(page.locator("h1")).to_contain_text("seed round.pdf")
    await expect(page.locator(".said")).to_contain_text("seed round.pdf is in: 11 tasks.")
    await expect(page.locator("svg.graph a")).to_have_count(11)
    assert await shop.fetchval("SELECT encode(sha256(content), 'hex') = sha256 FROM documents")


async def test_dropped_file_that_is_no_pdf_is_refused_in_words(
    boss: Window, shop: Database
) -> None:
    """The page says why, and nothing is kept."""
    page = await boss.open("/documents")
    await page.evaluate(DROP, ["notes.pdf", encoded(b"these are notes")])

    await expect(page.locator(".said.bad")).to_contain_text("PDF")
    assert await shop.fetchval("SELECT count(*) FROM documents") == 0


async def test_slides_stand_beside_their_analysis_with_the_evidence_marked(
    boss: Window, shop: Database
) -> None:
    """Pictures are rendered, marks lie over them, and a fact leads to its slide."""
    document_id, tasks = await furnish(shop, "plain")
    await shop.execute(
        "UPDATE extraction_results SET evidence_page = 2, evidence_quote = 'Problem'"
    )
    page = await boss.open(f"/documents/{document_id}")

    await page.locator("a.evidence", has_text="slide 2").click()
    slide = page.locator("#slide-2")
    await expect(slide).to_be_in_viewport()
    for picture in (slide.get_by_alt_text("slide 2"), slide.locator("img.marks")):
        await eventually(
            lambda picture=picture: picture.evaluate("i => i.complete && i.naturalWidth > 0")
        )
    marks = await page.request.get(f"{boss.url}/documents/{document_id}/slides/2.svg")
    assert '<rect x="' in await marks.text()
    await expect(page.locator("#slide-1 .note")).to_contain_text("improvement plain")
    node = page.locator("svg.graph a", has_text="company offering")
    await node.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_contain_text(f"Task {max(tasks.values()) + 1}")


async def test_hostile_text_stays_text(boss: Window, shop: Database) -> None:
    """What a deck, a backend, a model or a provider writes is read, never run, on any page."""
    document_id, tasks = await furnish(shop, HOSTILE)
    failed = tasks["deck_date_extraction"]

    for path in (
        "/",
        "/tasks",
        "/documents",
        f"/documents/{document_id}",
        f"/tasks/{failed}",
        "/fleet",
        f"/containers/{await shop.fetchval(FAILED)}",
    ):
        page = await boss.open(path)
        assert await page.locator("img[onerror], main script").count() == 0
        assert "<img src=x onerror=" in await page.locator("main").inner_text()
        assert await page.title() != "owned"
    await boss.open(f"/documents/{document_id}")
    assert (await page.title()).startswith("<img src=x")


async def test_script_that_slips_into_a_page_does_not_run(boss: Window) -> None:
    """The policy refuses inline scripts, handlers and styles, whatever the templates let through."""
    page = await boss.open("/")
    await page.evaluate(SLIP_IN)
    await page.wait_for_function("window.refused.length >= 3")

    assert not await page.evaluate("window.ran")
    assert set(await page.evaluate("window.refused")) == {
        *("script-src-elem", "script-src-attr", "style-src-attr")
    }
    boss.complaints.clear()


async def test_container_shows_its_states_with_the_reason_for_each(
    browser: Browser, counter: RunningGateway, boss: Window, shop: Database
) -> None:
    """Its own, not those of another that bore the name; live, as text, and without scripts."""
    await furnish(shop)
    await shop.execute("UPDATE containers SET state = 'stopped' WHERE name = 'visual-0'")
    again = await shop.fetchval(
        "INSERT INTO containers (name, pool, slot, provider, state, reason) "
        "VALUES ('visual-0', 'visual', 0, 'process', 'ready', $1) RETURNING id",
        HOSTILE,
    )
    page = await boss.open("/fleet")
    await page.locator(f"#container-{again}").get_by_role("link", name="visual-0").click()
    await page.locator("#live.on").wait_for()
    await page.evaluate("window.marked = true")
    states = page.get_by_role("region", name="States").locator("tbody tr")
    await expect(states).to_have_count(1)
    await expect(states.first).to_contain_text(HOSTILE)
    await shop.execute(
        "UPDATE containers SET state = 'draining', reason = 'idle for 120 s' WHERE id = $1", again
    )
    await expect(states.nth(1)).to_contain_text("idle for 120 s")
    await expect(page.locator("h1 .status")).to_have_text("draining")
    assert await boss.stayed()

    async with window(browser, counter, "box", java_script_enabled=False) as mine:
        page = await mine.open("/fleet")
        await page.get_by_role("link", name="visual-0").last.click()
        await expect(page.locator("h1")).to_contain_text("stopped")
        states = page.get_by_role("region", name="States").locator("tbody .status")
        await expect(states).to_have_text(["ready", "stopped"])


async def test_ten_thousand_tasks(boss: Window, shop: Database) -> None:
    """Lists stay pages, lead on to older ones, take 500 at once, and stay live."""
    await shop.execute(MANY)
    page = await boss.open_live("/tasks?limit=500")
    await expect(page.locator("tbody tr")).to_have_count(500)
    await expect(page.locator("tbody tr").first).to_have_id("row-10000")
    newest = await add(shop)
    await expect(page.locator("tbody tr").first).to_have_id(f"row-{newest}")
    await expect(page.locator("tbody tr")).to_have_count(500)
    assert await boss.stayed()

    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("tbody tr").first).to_have_id("row-9501")
    await page.get_by_label("all on this page").check()
    await expect(page.locator("#chosen")).to_have_text("500 chosen")
    await page.get_by_role("button", name="Cancel chosen").click()
    await page.get_by_role("button", name="Cancel tasks").click()
    await expect(page.locator(".said")).to_have_text("500 tasks cancelled.")
    await boss.open("/")
    await expect(page.locator(".tile .big").first).to_have_text("9,501")


async def test_what_one_may_not_do_is_not_offered(
    browser: Browser, counter: RunningGateway, shop: Database
) -> None:
    """A token is asked for; without the scope to operate or submit there are no such forms."""
    task_id = await add(shop)
    async with window(browser, counter) as mine:
        page = await mine.open("/")
        await page.get_by_label("Token").fill("box")
        await page.get_by_role("button", name="Show the board").click()
        await expect(page.locator("h1")).to_have_text("Overview")
        for path in ("/", "/tasks", f"/tasks/{task_id}", "/fleet", "/documents"):
            await mine.open(path)
            forms: Any = page.locator("main form:not([method=get])")
            assert await forms.count() == 0, path
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_label("Token")).to_be_visible()


async def test_board_works_without_scripts(
    browser: Browser, counter: RunningGateway, shop: Database
) -> None:
    """Pages are whole, filters filter, uploads upload and questions are asked all the same."""
    task_id = await add(shop)
    async with window(browser, counter, "boss", java_script_enabled=False) as mine:
        page = await mine.open("/tasks?status=queued")
        await page.locator("td.head a").click()
        await page.get_by_role("button", name="Cancel").first.click()
        await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        await expect(page.locator(".said")).to_have_text(f"Task {task_id} is cancelled.")
        await mine.open("/documents")
        await page.get_by_label("choose a PDF").set_input_files(DECK)
        await page.get_by_role("button", name="Upload and process").click()
        await expect(page.locator("h1")).to_contain_text(DECK.name)
        await expect(page.locator("svg.graph a")).to_have_count(11)


def encoded(content: bytes) -> str:
    """As the script in the page takes it."""
    return b64encode(content).decode()
