"""The board's forms over HTTP: what each does, who may, and that only ours are heard."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import FormData
from tests.board.visitor import Visitor, visiting

from queue_gateway.board.actions import ACTIONS, BULK_MAX
from queue_gateway.testing import RunningGateway, running_gateway
from reveille.testing import Database

TOKENS = "box=read,clerk=read+submit,boss=read+submit+operate"
PDF = b"%PDF-1.7\n" + b"x" * 3000
FORMS = [action.path for action in ACTIONS]


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway that asks for tokens and takes documents of up to 8 KiB."""
    async with running_gateway(database.dsn, api_tokens=TOKENS, document_bytes_max=8192) as gateway:
        yield gateway


@pytest.fixture
async def boss(gateway: RunningGateway) -> AsyncIterator[Visitor]:
    """A visitor who may operate, with a page open."""
    async with visiting(gateway, "boss") as visitor:
        await visitor.look("/")
        yield visitor


async def add_task(database: Database, status: str = "queued", document_id: int = 1) -> int:
    """One task of visual analysis."""
    task_id: int = await database.fetchval(
        "INSERT INTO processing_queue (document_id, task_type, status) "
        "VALUES ($1, 'visual_analysis', $2) RETURNING id",
        document_id,
        status,
    )
    return task_id


async def status_of(database: Database, task_id: int) -> str:
    """As the row has it."""
    status: str = await database.fetchval(
        "SELECT status FROM processing_queue WHERE id = $1", task_id
    )
    return status


async def add_container(database: Database, state: str = "ready") -> None:
    """visual-0."""
    await database.execute(
        "INSERT INTO containers (name, pool, slot, provider, state) "
        "VALUES ('visual-0', 'visual', 0, 'process', $1)",
        state,
    )


def deck(
    proof: str, content: bytes = PDF, name: str = "deck.pdf", kind: str = "application/pdf"
) -> FormData:
    """The upload's form as a browser sends it."""
    form = FormData(quote_fields=False)
    form.add_field("proof", proof)
    form.add_field("file", content, filename=name, content_type=kind)
    return form


async def test_task_is_cancelled_and_retried_from_its_page(
    boss: Visitor, database: Database
) -> None:
    """Each form leads back to where it was sent from, and the page says once what came of it."""
    task_id = await add_task(database)
    here, fields = f"/tasks/{task_id}", [("id", str(task_id)), ("back", f"/tasks/{task_id}")]

    before = await boss.look(here)
    cancelled = await boss.send("/tasks/cancel", *fields)
    assert await status_of(database, task_id) == "cancelled"
    again = await boss.send("/tasks/cancel", *fields)
    retried = await boss.send("/tasks/retry", *fields)

    assert await status_of(database, task_id) == "queued"
    assert 'action="/tasks/cancel"' in before.html
    assert 'action="/tasks/retry"' not in before.html
    assert (cancelled.path, cancelled.said) == (here, f"Task {task_id} is cancelled.")
    assert "cancelled" in again.said
    assert retried.said == f"Task {task_id} is queued again."
    assert (await boss.look(here)).said == ""


async def test_chosen_tasks_are_changed_and_the_others_named(
    boss: Visitor, database: Database
) -> None:
    """Of many tasks those that can be are changed; how many were left, and why, is said."""
    waiting = [await add_task(database) for _ in range(3)]
    done = await add_task(database, "completed")
    chosen = [("task", str(task_id)) for task_id in (*waiting, done, waiting[0])]

    cancelled = await boss.send("/tasks/cancel-chosen", ("back", "/tasks"), *chosen)
    retried = await boss.send("/tasks/retry-chosen", ("back", "/tasks"), ("task", str(waiting[1])))
    none = await boss.send("/tasks/retry-chosen", ("back", "/tasks"))
    odd = await boss.send("/tasks/cancel-chosen", ("task", "1; DROP TABLE"), ("back", "/tasks"))
    many = await boss.send("/tasks/cancel-chosen", *(("task", str(n)) for n in range(BULK_MAX + 1)))

    statuses = [await status_of(database, task_id) for task_id in (*waiting, done)]
    assert statuses == ["cancelled", "queued", "cancelled", "completed"]
    assert cancelled.said.startswith("3 tasks cancelled. 1 left as they were:")
    assert retried.said == "1 task queued again."
    assert none.said == "No task was chosen."
    assert "id" in odd.said
    assert many.said == f"Choose {BULK_MAX} tasks at most."


async def test_fleet_and_pools_hear_the_operators_wishes(boss: Visitor, database: Database) -> None:
    """Draining, stopping, keeping and pausing are rows, as with the API."""
    await add_container(database)
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, pool, has_presence) "
        "VALUES ('w/1', 'visual_container', 'visual', true)"
    )

    async def send(path: str, name: str, value: str) -> str:
        return (await boss.send(path, (name, value), ("back", "/fleet"))).said

    async def wish() -> str | None:
        found: str | None = await database.fetchval("SELECT wish FROM containers")
        return found

    drained = await send("/servers/drain", "id", "w/1")
    assert await database.fetchval("SELECT status FROM processing_servers") == "draining"
    assert drained == "Server w/1 drains: it finishes 0 and takes nothing new."
    await send("/containers/drain", "name", "visual-0")
    assert await wish() == "drain"
    await send("/containers/start", "name", "visual-0")
    assert await wish() is None
    await send("/containers/stop", "name", "visual-0")
    assert await wish() == "stop"
    await send("/pools/pause", "name", "visual")
    assert await database.fetchval("SELECT paused FROM pools WHERE name = 'visual'")
    await send("/pools/resume", "name", "visual")
    assert not await database.fetchval("SELECT paused FROM pools WHERE name = 'visual'")
    assert "There is no server nobody" in await send("/servers/drain", "id", "nobody")
    assert "There is no pool" in await send("/pools/pause", "name", "nothing")


@pytest.mark.parametrize("path", FORMS)
async def test_form_needs_the_operate_scope(
    gateway: RunningGateway, database: Database, path: str
) -> None:
    """A form that is sent although the page does not offer it changes nothing."""
    task_id = await add_task(database)
    async with visiting(gateway, "clerk") as clerk, visiting(gateway) as stranger:
        page = await clerk.look(f"/tasks/{task_id}")
        refused = await clerk.send(path, ("id", str(task_id)), ("task", str(task_id)))
        unknown = await stranger.send(path, ("id", str(task_id)), ("task", str(task_id)))

    assert f'action="{path}"' not in page.html
    assert (refused.status, unknown.path) == (403, "/login")
    assert "operate" in refused.text
    assert await status_of(database, task_id) == "queued"


@pytest.mark.parametrize("path", [*FORMS, "/logout"])
async def test_form_without_the_right_proof_changes_nothing(boss: Visitor, path: str) -> None:
    """A page elsewhere cannot know the proof, and the proof of another visitor is none."""
    answers = [
        await boss.post(path, [("id", "1")]),
        await boss.post(path, [("proof", ""), ("id", "1")]),
        await boss.post(path, [("proof", "0" * 64), ("id", "1")]),
        await boss.post(path, [("proof", "ü"), ("id", "1")]),
    ]
    if path != "/logout":
        elsewhere = {"Sec-Fetch-Site": "cross-site"}
        answers.append(await boss.send(path, ("id", "1"), headers=elsewhere))

    assert [answer.status for answer in answers] == [403] * len(answers)
    assert (await boss.look("/")).path == "/"  # still logged in


async def test_proof_of_another_visitor_is_refused(
    boss: Visitor, gateway: RunningGateway, database: Database
) -> None:
    """Two browsers with the same token have different proofs."""
    task_id = await add_task(database)
    async with visiting(gateway, "boss") as other:
        await other.look("/")
        refused = await boss.post("/tasks/cancel", [("proof", other.proof), ("id", str(task_id))])

    assert other.proof != boss.proof
    assert refused.status == 403
    assert await status_of(database, task_id) == "queued"


@pytest.mark.parametrize(
    "where", ["//evil.example", "/\\evil.example", "https://evil.example/", "/a\r\nSet-Cookie: x=1"]
)
async def test_form_leads_back_to_the_board_only(boss: Visitor, where: str) -> None:
    """The address to return to comes from the form, so it is not believed."""
    assert (await boss.send("/tasks/cancel", ("id", "1"), ("back", where))).path == "/"


async def test_what_a_form_did_is_kept_for_the_page_that_is_opened(boss: Visitor) -> None:
    """A live page in another tab that refreshes meanwhile does not swallow it."""
    script = {"Reveille-Script": "1"}
    answer = await boss.send("/tasks/cancel", ("id", "1"), ("back", "/tasks"), headers=script)

    assert answer.said == (await boss.look("/tasks")).said == "There is no task 1."
    assert (await boss.look("/tasks")).said == ""


async def test_said_cookie_cannot_put_markup_on_a_page(boss: Visitor) -> None:
    """What a form did is told with names from the form; they stay text."""
    said = await boss.send(
        "/containers/drain", ("name", "<script>alert(1)</script>"), ("back", "/fleet")
    )

    assert "<script>alert" not in said.html
    assert "<script>alert(1)</script>" in said.said


async def test_deck_is_uploaded_with_its_pipeline(boss: Visitor, database: Database) -> None:
    """The form leads to the document; the same deck again leads there too."""
    first = await boss.post("/documents", deck(boss.proof, name="../../Série <b>A</b>.pdf"))
    again = await boss.post("/documents", deck(boss.proof))

    document = await database.fetchrow("SELECT id, filename FROM documents")
    assert document is not None
    assert document["filename"] == "b>.pdf"  # what follows the last slash
    assert first.path == again.path == f"/documents/{document['id']}"
    assert "b&gt;.pdf" in first.html
    assert await database.fetchval("SELECT count(*) FROM processing_queue") > 5
    assert "known already" in again.said


@pytest.mark.parametrize(
    ("content", "kind", "why"),
    [
        (b"%PDF-1.7\n" + b"x" * 9000, "application/pdf", "8192 bytes at most"),
        (b"GIF89a" + b"x" * 3000, "application/pdf", "not a PDF"),
        (b"", "application/pdf", "empty"),
        (PDF, "image/png", "must be application/pdf"),
    ],
)
async def test_unusable_upload_is_told_on_the_page(
    boss: Visitor, database: Database, content: bytes, kind: str, why: str
) -> None:
    """Too large, not a PDF, empty, of another type: nothing is kept, and the page says why."""
    told = await boss.post("/documents", deck(boss.proof, content, kind=kind))

    assert told.path == "/documents"
    assert why in told.said
    assert await database.fetchval("SELECT count(*) FROM documents") == 0


async def test_upload_needs_scope_and_proof(gateway: RunningGateway, database: Database) -> None:
    """Without the scope, without a proof, with a wrong one, or with the proof behind the file."""
    late = FormData()
    late.add_field("file", PDF, filename="deck.pdf", content_type="application/pdf")
    async with visiting(gateway, "box") as reader, visiting(gateway, "clerk") as clerk:
        page = await reader.look("/documents")
        refused = await reader.post("/documents", deck(reader.proof))
        await clerk.look("/documents")
        late.add_field("proof", clerk.proof)
        answers = [
            await clerk.post("/documents", deck("")),
            await clerk.post("/documents", deck("0" * 64)),
            await clerk.post("/documents", late),
        ]
    async with visiting(gateway) as stranger:
        unknown = await stranger.post("/documents", deck("x"))

    assert 'id="upload"' not in page.html
    assert "submit" in refused.text
    assert [answer.status for answer in (refused, *answers)] == [403] * 4
    assert unknown.path == "/login"
    assert await database.fetchval("SELECT count(*) FROM documents") == 0


async def test_logging_out_takes_the_token_back(boss: Visitor) -> None:
    """The pages ask for a token again."""
    left = await boss.send("/logout")

    assert left.path == "/login"
    assert (await boss.look("/tasks")).path == "/login"
