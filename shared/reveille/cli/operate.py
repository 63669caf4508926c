"""Commands that change tasks: submit, cancel, retry."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from reveille.cli.asked import TaskIds
from reveille.cli.live import follow_document
from reveille.cli.session import rows_of, show, with_database, words_of
from reveille.database import DATABASE_ERRORS, Connection
from reveille.errors import ReveilleError

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Row = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(submit)
    app.command()(cancel)
    app.command()(retry)


def submit(
    decks: Annotated[list[Path], typer.Argument(metavar="DECK", help="A PDF file, or several.")],
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
    """Store decks, each as a document of its own, and enqueue their tasks."""
    alone = len(decks) == 1
    store = partial(
        _store,
        task_type=task_type,
        priority=priority,
        company_id=company_id,
        options=_options(options),
    )
    if alone:
        results = [with_database(partial(store, deck=decks[0], content=_of_one(decks[0])))]
    else:
        results = with_database(lambda connection: _store_each(connection, decks, store))
    if as_json:
        typer.echo(json.dumps(results[0] if alone else results))
    else:
        for result in results:
            _say_stored(result)
    ids = [task_id for result in results for task_id in result.get("task_ids", ())]
    ended_well = not (wait and ids) or with_database(lambda c: follow_document(c, ids))
    if not ended_well or any("error" in result for result in results):
        raise typer.Exit(1)


def _of_one(deck: Path) -> bytes:
    try:
        return _read(deck)
    except ReveilleError as error:
        raise typer.BadParameter(str(error), param_hint="DECK") from None


def _read(deck: Path) -> bytes:
    """Raises ReveilleError."""
    try:
        return deck.read_bytes()
    except OSError as error:
        raise ReveilleError(f"{deck} cannot be read: {error.strerror}") from None


async def _store(
    connection: Connection, deck: Path, content: bytes, *, company_id: str | None, **asked: Any
) -> Row:
    async with connection.transaction():
        document_id = await store_document(connection, deck.name, content, company_id)
        ids = await enqueue(connection, document_id, company_id=company_id, **asked)
    return {"document_id": document_id, "task_ids": ids}


async def _store_each(
    connection: Connection, decks: list[Path], store: Callable[..., Awaitable[Row]]
) -> list[Row]:
    """What became of each; one that cannot be had does not keep the others."""
    results = []
    for deck in decks:
        result: Row = {"file": str(deck)}
        try:
            result |= await store(connection, deck=deck, content=_read(deck))
        except ReveilleError as error:
            result["error"] = str(error)
        except DATABASE_ERRORS as error:
            if connection.is_closed():
                raise
            result["error"] = f"the database refuses {deck}: {words_of(error)}"
        results.append(result)
    return results


def _say_stored(result: Row) -> None:
    of = f" of {result['file']}" if "file" in result else ""
    if "error" in result:
        typer.echo(result["error"], err=True)
        return
    ids = result["task_ids"]
    typer.echo(f"document {result['document_id']}{of}: {len(ids)} tasks ({ids[0]}–{ids[-1]})")


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


def cancel(task_ids: TaskIds, as_json: Json = False) -> None:
    """Cancel tasks in any live state; a running one stops within a second."""
    rows = rows_of(
        "UPDATE processing_queue SET status = 'cancelled', last_error = 'cancelled by an operator' "
        "WHERE id = ANY ($1) AND status IN ('blocked', 'queued', 'processing', 'retry') "
        "RETURNING id, task_type, status",
        task_ids,
    )
    _say_which(task_ids, rows, "cancelled", as_json)


def retry(task_ids: TaskIds, as_json: Json = False) -> None:
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
    if as_json:
        show(rows, as_json=True, title=done)
    else:
        for row in rows:
            typer.echo(f"task {row['id']} {row['task_type']}: {row['status']}")
    if missed := sorted(set(asked) - {row["id"] for row in rows}):
        typer.echo(
            f"not {done}: {', '.join(map(str, missed))} (unknown, or in a state that does not allow it; "
            "see `reveille task ID`)",
            err=True,
        )
        raise typer.Exit(1)
