"""The backend under chaos: submits what the plan says, meddles with it, and remembers what was
acknowledged.

Each submission carries its number as company_id. When a commit's answer is lost, that number tells
whether the rows are there; so nothing is submitted twice, and what was acknowledged is known.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from tests.chaos.history import LOAD
from tests.chaos.plan import PAGES_MAX, Meddling, Plan, Submission
from tests.chaos.worker import POISON

from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.testing_pdfs import deck

TEXTS = (
    "CardioLoop: remote care after heart surgery",
    "We are raising 4.5 million EUR in our Series A. March 2025",
    "A CE-marked class IIa device, validated with 120 patients",
)
BAD_PDF_ID, ABSENT_ID = 900, 999
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.2
HTTP_TIMEOUT = aiohttp.ClientTimeout(total=10)

MEDDLE: dict[Meddling, str] = {
    "cancel": "UPDATE processing_queue SET status = 'cancelled' WHERE id = $1 "
    "AND status IN ('blocked', 'queued', 'processing', 'retry')",
    "fail": "UPDATE processing_queue SET status = 'failed' WHERE id = $1",
    "complete": "UPDATE processing_queue SET status = 'completed' WHERE id = $1",
    "requeue": "UPDATE processing_queue SET status = 'queued' WHERE id = $1",
    "redrive": "SELECT retry_failed_task($1)",
    "delete": "DELETE FROM processing_queue WHERE id = $1",
    # A claim by hand, as an old worker does it, whose lock soon expires.
    "claim": "UPDATE processing_queue SET status = 'processing', locked_by = 'by-hand', "
    "lock_expires_at = reveille_now() + interval '3 seconds' WHERE id = $1 AND status = 'queued'",
}


@dataclass(slots=True)
class Accepted:
    """What the database acknowledged."""

    ids: dict[int, Submission] = field(default_factory=dict)  # by task id

    def add(self, submission: Submission, ids: Sequence[int]) -> None:
        """Remember."""
        self.ids |= dict.fromkeys(ids, submission)


class Load:
    """One backend. `accepted` grows while it runs."""

    def __init__(self, dsn: str, plan: Plan, document_root: Path, gateway_url: str) -> None:
        self._dsn = dsn
        self._gateway_url = gateway_url
        self._plan = plan
        self._root = document_root
        self.accepted = Accepted()

    async def prepare(self) -> None:
        """Decks into the table and the folder."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            connection = await connect(self._dsn, application_name=LOAD)
        for pages in range(1, PAGES_MAX + 1):
            content = deck(*TEXTS[:pages])
            (self._root / f"{pages}.pdf").write_bytes(content)
            await _add_document(connection, pages, content)
        await _add_document(connection, BAD_PDF_ID, b"%PDF-1.7 and then nothing")
        await connection.close()

    async def run(self) -> None:
        """Everything in the plan; returns when the last answer is in."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for submission in self._plan.submissions:
                await asyncio.sleep(max(0.0, began + submission.at_seconds - time.monotonic()))
                group.create_task(self._submit(submission))

    async def _submit(self, submission: Submission) -> None:
        work = self._post if submission.by_http else self._insert
        ids = await self._persist(lambda connection: work(connection, submission))
        self.accepted.add(submission, ids)
        if submission.meddling is not None:
            await asyncio.sleep(submission.after_seconds)
            statement, target = MEDDLE[submission.meddling], Random(submission.number).choice(ids)
            await self._persist(lambda connection: connection.execute(statement, target))

    async def _post(self, connection: Connection, submission: Submission) -> list[int]:
        """Through the gateway; an answer that is not there is a connection that broke."""
        marker = f"chaos-{submission.number}"
        if there := await _rows_of(connection, marker):
            return there
        task = _Rows(connection, submission, marker).as_json()
        try:
            async with (
                aiohttp.ClientSession(timeout=HTTP_TIMEOUT) as http,
                http.post(f"{self._gateway_url}/api/tasks", json=task) as answer,
            ):
                if answer.status == 409 or answer.status >= 500:  # 409: an earlier try was heard
                    raise ConnectionError(f"the gateway said {answer.status}")
                answer.raise_for_status()
                said = await answer.json()
        except aiohttp.ClientConnectionError as error:
            raise ConnectionError(str(error)) from error
        return [said["id"]]

    async def _persist(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        """Do `work` in a transaction on a connection of its own, until the database acknowledges."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._once(work)
            except DATABASE_ERRORS:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _once(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        connection = await connect(self._dsn, application_name=LOAD)
        try:
            async with connection.transaction():
                return await work(connection)
        finally:
            connection.terminate()

    async def _insert(self, connection: Connection, submission: Submission) -> list[int]:
        marker = POISON if submission.kind == "poison" else f"chaos-{submission.number}"
        if there := await _rows_of(connection, marker):
            return there
        ids = await _Rows(connection, submission, marker).insert()
        await asyncio.sleep(submission.open_seconds)
        return ids


class _Rows:
    """The rows of one submission."""

    def __init__(self, connection: Connection, submission: Submission, marker: str) -> None:
        self._connection = connection
        self._submission = submission
        self._types = submission.task_types
        self._common = {
            "document_id": submission.pages,
            "file_path": f"{submission.pages}.pdf" if submission.by_path else None,
            "company_id": marker,
            "priority": submission.priority,
        }

    def as_json(self) -> dict[str, Any]:
        """A single one, as the gateway takes it."""
        marker = self._common["company_id"]
        return {"task_type": self._types[0], "dedupe_key": marker, **self._common}

    async def insert(self) -> list[int]:
        """Their ids."""
        match self._submission.kind:
            case "pipeline":
                return await self._pipeline()
            case "chain":
                return await self._chain()
            case "fan":
                return await self._fan()
            case _:
                return [await self._row(self._types[0], **await self._peculiar())]

    async def _peculiar(self) -> dict[str, Any]:
        match self._submission.kind:
            case "scheduled":
                due = "SELECT reveille_now() + make_interval(secs => $1)"
                after_seconds = self._submission.after_seconds
                return {"next_retry_at": await self._connection.fetchval(due, after_seconds)}
            case "bad_options":
                return {"processing_options": {"no_such_option": 1}}
            case "bad_pdf":
                return {"document_id": BAD_PDF_ID, "file_path": None}
            case "no_document":
                return {"document_id": ABSENT_ID, "file_path": None}
            case _:
                return {}

    async def _pipeline(self) -> list[int]:
        rows = await self._connection.fetch(
            "SELECT * FROM enqueue_document($1, $2, $3) AS id",
            self._common["document_id"],
            self._common["file_path"],
            self._common["company_id"],
        )
        return [row["id"] for row in rows]

    async def _chain(self) -> list[int]:
        first = await self._row(self._types[0])
        second = await self._row(self._types[1], depends_on=[first])
        return [first, second, await self._row(self._types[2], depends_on=[second])]

    async def _fan(self) -> list[int]:
        first, second = await self._row(self._types[0]), await self._row(self._types[1])
        last = await self._row(self._types[2], depends_on=[first])
        await self._connection.execute(
            "INSERT INTO task_dependencies (dependent_task_id, depends_on_task_id, "
            "dependency_type) VALUES ($1, $2, 'finished')",
            last,
            second,
        )
        return [first, second, last]

    async def _row(self, task_type: str, **more: Any) -> int:
        columns = self._common | more
        marks = ", ".join(f"${n}" for n in range(2, len(columns) + 2))
        task_id: int = await self._connection.fetchval(
            f"INSERT INTO processing_queue (task_type, {', '.join(columns)}) "  # noqa: S608
            f"VALUES ($1, {marks}) RETURNING id",
            task_type,
            *columns.values(),
        )
        return task_id


async def _rows_of(connection: Connection, marker: str) -> list[int]:
    rows = await connection.fetch(
        "SELECT id FROM processing_queue WHERE company_id = $1 ORDER BY id", marker
    )
    return [row["id"] for row in rows]


async def _add_document(connection: Connection, document_id: int, content: bytes) -> None:
    await connection.execute(
        "INSERT INTO documents (id, filename, sha256, size_bytes, content) "
        "VALUES ($1, 'deck.pdf', $2, $3, $4)",
        document_id,
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
    )
