"""Documents over HTTP: upload with its limits, the pipeline, results."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import FormData

from queue_gateway.testing import RunningGateway, running_gateway
from reveille.testing import Database

PDF = b"%PDF-1.7\n" + b"x" * 3000
AS_PDF = {"Content-Type": "application/pdf"}


@pytest.fixture
async def gateway(database: Database) -> AsyncIterator[RunningGateway]:
    """A gateway that takes documents of up to 8 KiB."""
    async with running_gateway(database.dsn, document_bytes_max=8192) as gateway:
        yield gateway


async def upload(
    gateway: RunningGateway, data: Any = PDF, status: int = 201, query: str = "", **options: Any
) -> dict[str, Any]:
    """POST /api/documents with a raw body."""
    options.setdefault("headers", AS_PDF)
    return await gateway.ask("POST", f"/api/documents{query}", status, data=data, **options)


def form(data: bytes = PDF, kind: str = "application/pdf", **fields: str) -> FormData:
    """A browser's form."""
    filled = FormData(quote_fields=False)  # as browsers do
    for name, value in fields.items():
        filled.add_field(name, value)
    filled.add_field("file", data, filename="../../Série A.pdf", content_type=kind)
    return filled


async def test_uploaded_pdf_comes_back_byte_for_byte(gateway: RunningGateway) -> None:
    """What is stored is what was sent, under the digest of it."""
    document = await upload(gateway, query="?filename=deck.pdf&company_id=acme")

    async with gateway.session.get(
        f"{gateway.url}/api/documents/{document['id']}/content"
    ) as answer:
        content = await answer.read()
        disposition = answer.headers["Content-Disposition"]

    assert content == PDF
    assert answer.content_type == "application/pdf"
    assert disposition == "attachment; filename*=UTF-8''deck.pdf"
    assert (document["size_bytes"], document["company_id"]) == (len(PDF), "acme")


async def test_same_bytes_are_the_same_document_unless_a_new_one_is_wanted(
    gateway: RunningGateway,
) -> None:
    """Uploading twice is harmless; another company's document is never given out."""
    first = await upload(gateway)
    again = await upload(gateway, status=200)
    new = await upload(gateway, query="?new=true")
    other = await upload(gateway, query="?company_id=acme")

    assert (again["id"], again["created"]) == (first["id"], False)
    assert len({first["id"], new["id"], other["id"]}) == 3


async def test_same_bytes_at_the_same_time_are_one_document(
    gateway: RunningGateway, database: Database
) -> None:
    """Two uploads that race do not both insert."""

    async def status() -> int:
        async with gateway.session.post(
            f"{gateway.url}/api/documents", data=PDF, headers=AS_PDF
        ) as answer:
            return answer.status

    statuses = await asyncio.gather(*(status() for _ in range(4)))

    assert sorted(statuses) == [200, 200, 200, 201]
    assert await database.fetchval("SELECT count(*) FROM documents") == 1


async def test_form_with_pipeline_enqueues_all_its_tasks(gateway: RunningGateway) -> None:
    """One request from a browser's form: stored, and the whole pipeline is in the queue."""
    document = await upload(
        gateway, form(pipeline="true", priority="3", company_id="acme"), headers={}
    )
    pipeline = await gateway.get(f"/api/documents/{document['id']}/pipeline")

    assert document["filename"] == "Série A.pdf"
    assert [task["id"] for task in pipeline["tasks"]] == document["task_ids"]
    assert {task["task_type"] for task in pipeline["tasks"]} >= {"visual_analysis"}
    assert {task["priority"] for task in pipeline["tasks"]} == {3}
    assert {task["company_id"] for task in pipeline["tasks"]} == {"acme"}
    assert pipeline["status"] == "live"
    assert all(edge["satisfied_at"] is None for edge in pipeline["edges"])


async def test_upload_that_is_no_pdf_is_refused(
    gateway: RunningGateway, database: Database
) -> None:
    """Wrong type, wrong beginning, nothing at all, two files, a broken form: each says what is wrong."""
    film = await upload(gateway, headers={"Content-Type": "video/mp4"}, status=415)
    text = await upload(gateway, b"hello", 422)
    late = await upload(gateway, b"x" * 2000 + PDF, 422)
    empty = await upload(gateway, b"", 422)
    other = FormData(default_to_multipart=True)
    other.add_field("other", "x")
    no_file = await upload(gateway, other, 422, headers={})
    picture = await upload(gateway, form(kind="image/png"), 415, headers={})
    odd = await upload(gateway, form(priority="9"), 422, headers={})
    broken = await upload(
        gateway, b"no form", 400, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert "video/mp4" in film["detail"]
    assert "%PDF-" in text["detail"]
    assert "%PDF-" in late["detail"]
    assert "empty" in empty["detail"]
    assert "file" in no_file["detail"]
    assert "image/png" in picture["detail"]
    assert "priority" in odd["detail"]
    assert "form" in broken["detail"]
    assert await database.fetchval("SELECT count(*) FROM documents") == 0


async def test_upload_over_the_limit_is_refused_declared_or_not(gateway: RunningGateway) -> None:
    """The limit holds for a length that is declared, for a stream without one, and for a form's part."""

    async def chunks() -> AsyncIterator[bytes]:
        yield PDF
        for _ in range(8):
            yield b"x" * 1024

    declared = await upload(gateway, PDF + b"x" * 8192, 413)
    streamed = await upload(gateway, chunks(), 413)
    part = await upload(gateway, form(PDF + b"x" * 8192), 413, headers={})
    fits = await upload(gateway, PDF + b"x" * (8192 - len(PDF)))

    assert {declared["bytes_max"], streamed["bytes_max"], part["bytes_max"]} == {8192}
    assert fits["size_bytes"] == 8192


async def test_documents_listed_newest_first_in_pages(gateway: RunningGateway) -> None:
    """The list leads through all documents, and can be narrowed to a company."""
    ids = [(await upload(gateway, query="?new=true"))["id"] for _ in range(3)]
    acme = await upload(gateway, query="?company_id=acme")

    first = await gateway.get("/api/documents?limit=2")
    rest = await gateway.get(f"/api/documents?limit=2&before={first['next_before']}")
    narrowed = await gateway.get("/api/documents?company_id=acme")

    pages = [document["id"] for page in (first, rest) for document in page["documents"]]
    assert pages == [acme["id"], *reversed(ids)]
    assert [document["id"] for document in narrowed["documents"]] == [acme["id"]]


async def test_pipeline_of_a_document_kept_elsewhere_needs_its_path(
    gateway: RunningGateway,
) -> None:
    """The backend's own documents are named by file_path; without one there must be an upload."""
    problem = await gateway.post("/api/documents/900/pipeline", status=404)
    started = await gateway.post(
        "/api/documents/900/pipeline", {"file_path": "decks/900.pdf", "priority": 2}, 201
    )
    bad = await gateway.post(
        "/api/documents/900/pipeline",
        {"file_path": "x", "processing_options": {"colour": "red"}},
        422,
    )
    shown = await gateway.get("/api/documents/900")

    assert "file_path" in problem["detail"]
    assert "colour" in bad["detail"]
    assert shown["stored"] is None
    assert sum(shown["tasks"].values()) == len(started["task_ids"])


async def test_results_are_those_of_the_view_and_null_before(
    gateway: RunningGateway, database: Database
) -> None:
    """A document without results says so; one with results shows them as they are in the database."""
    document_id = (await upload(gateway))["id"]
    before = await gateway.get(f"/api/documents/{document_id}/results")
    await database.execute(
        "INSERT INTO extraction_results (task_id, document_id, kind, value, confidence, model) "
        "VALUES (1, $1, 'startup_name', 'Acme', 0.9, 'rules-stub')",
        document_id,
    )
    after = await gateway.get(f"/api/documents/{document_id}/results")

    assert (before["status"], before["results"]) == ("none", None)
    assert after["results"]["extractions"]["startup_name"]["value"] == "Acme"


async def test_database_with_its_own_documents_table_refuses_uploads_and_says_why(
    database: Database,
) -> None:
    """A backend's table of that name is left alone; tasks and results go on working."""
    await database.execute("ALTER TABLE documents RENAME TO documents_of_ours")
    await database.execute("CREATE TABLE documents (id integer, title text)")
    async with running_gateway(database.dsn) as gateway:
        problem = await upload(gateway, status=501)
        await gateway.post("/api/documents/5/pipeline", {"file_path": "5.pdf"}, 201)
        shown = await gateway.get("/api/documents/5")
        results = await gateway.get("/api/documents/5/results")

    assert "file_path" in problem["detail"]
    assert shown["stored"] is None
    assert results["status"] == "live"
