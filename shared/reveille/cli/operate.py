"""Commands that change tasks: submit, cancel, retry."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from reveille.cli.live import follow_document
from reveille.cli.session import console, rows_of, show, with_database
from reveille.database import Connection
from reveille.errors import ReveilleError

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(submit)
    app.command()(cancel)
    app.command()(retry)


def submit(
    deck: Annotated[
        Path, typer.Argument(help="A PDF file.", exists=True, dir_okay=False, readable=True)
    ],
    task_type: Annotated[
        str | None, typer.Option("--type", help="One task type; default: the whole pipeline.")
    ] = None,
    priority: Annotated[int, typer.Option(min=1, max=3, help="1 normal, 2 high, 3 critical.")] = 1,
    company_id: Annotated[str | None, typer.Option()] = None,
    options: Annotated[str, typer.Option(help="processing_options as JSON.")] = "{}",
    wait: Annotated[
        bool, typer.Option("--wait", help="Show progress until everything has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Store a deck and enqueue its tasks."""
    parsed = _options(options)
    content = deck.read_bytes()

    async def work(connection: Connection) -> dict[str, Any]:
        async with connection.transaction():
            document_id = await store_document(connection, deck.name, content, company_id)
            ids = await enqueue(
                connection,
                document_id,
                task_type=task_type,
                priority=priority,
                company_id=company_id,
                options=parsed,
            )
        return {"document_id": document_id, "task_ids": ids}

    result = with_database(work)
    if as_json:
        typer.echo(json.dumps(result))
    else:
        console.print(
            f"document {result['document_id']}: {len(result['task_ids'])} tasks "
            f"({result['task_ids'][0]}–{result['task_ids'][-1]})"
        )
    if wait and not with_database(lambda c: follow_document(c, result["task_ids"])):
        raise typer.Exit(1)


async def store_document(
    connection: Connection, filename: str, content: bytes, company_id: str | None = None
) -> int:
    """A row of `documents`; its id."""
    document_id: int = await connection.fetchval(
        "INSERT INTO documents (filename, sha256, size_bytes, content, company_id) "
        "VALUES ($1, $2, $3, $4, $5) RETURNING id",
        filename,
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
        company_id,
    )
    return document_id


async def enqueue(
    connection: Connection,
    document_id: int,
    *,
    task_type: str | None = None,
    priority: int = 1,
    company_id: str | None = None,
    options: dict[str, Any] | None = None,
) -> list[int]:
    """One task, or with no type the whole pipeline; the ids."""
    if task_type is None:
        rows = await connection.fetch(
            "SELECT * FROM enqueue_document($1, NULL, $2, $3, $4) AS id",
            document_id,
            company_id,
            priority,
            options or {},
        )
    else:
        rows = await connection.fetch(
            "INSERT INTO processing_queue (document_id, task_type, company_id, priority, processing_options) "
            "VALUES ($1, $2, $3, $4, $5) RETURNING id",
            document_id,
            task_type,
            company_id,
            priority,
            options or {},
        )
    return [row["id"] for row in rows]


def _options(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise ReveilleError(f"--options is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise ReveilleError('--options must be a JSON object, such as \'{"template_id": "x"}\'')
    return parsed


def cancel(task_ids: Annotated[list[int], typer.Argument()], as_json: Json = False) -> None:
    """Cancel tasks in any live state; a running one stops within a second."""
    rows = rows_of(
        "UPDATE processing_queue SET status = 'cancelled', last_error = 'cancelled by an operator' "
        "WHERE id = ANY ($1) AND status IN ('blocked', 'queued', 'processing', 'retry') "
        "RETURNING id, task_type, status",
        task_ids,
    )
    _say_which(task_ids, rows, "cancelled", as_json)


def retry(task_ids: Annotated[list[int], typer.Argument()], as_json: Json = False) -> None:
    """Redrive failed or cancelled tasks; dependents that they cancelled revive."""
    _say_which(
        task_ids,
        with_database(lambda connection: _redrive(connection, task_ids)),
        "redriven",
        as_json,
    )


async def _redrive(connection: Connection, task_ids: list[int]) -> list[dict[str, Any]]:
    """In one transaction, so that the status shown is the redrive's and no worker's since."""
    async with connection.transaction():
        redriven = await connection.fetch(
            "SELECT id FROM unnest($1::bigint[]) AS id WHERE retry_failed_task(id) ORDER BY id",
            task_ids,
        )
        rows = await connection.fetch(
            "SELECT id, task_type, status FROM processing_queue WHERE id = ANY ($1) ORDER BY id",
            [row["id"] for row in redriven],
        )
    return [dict(row) for row in rows]


def _say_which(asked: list[int], rows: list[dict[str, Any]], done: str, as_json: bool) -> None:
    show(rows, as_json=as_json, title=done)
    if missed := sorted(set(asked) - {row["id"] for row in rows}):
        typer.echo(
            f"not {done}: {', '.join(map(str, missed))} (unknown, or in a state that does not allow it; "
            "see `reveille task ID`)",
            err=True,
        )
        raise typer.Exit(1)
