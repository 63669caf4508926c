"""Commands that look: tasks, task, servers, costs, report, doctor, healthcheck."""

import os
import urllib.error
import urllib.request
from typing import Annotated

import typer

from reveille.cli.asked import Status, TaskId, check_known
from reveille.cli.doctor import examine
from reveille.cli.session import console, rows_of, show, with_database
from reveille.costs import (
    ALWAYS_ON_USD_PER_MONTH,
    Costs,
    costs_of_document,
    costs_of_month,
    parse_month,
)
from reveille.errors import ConfigurationError
from reveille.report import REPORT_DAYS, report_of

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

AlwaysOn = Annotated[
    float,
    typer.Option(
        "--always-on",
        envvar="REVEILLE_ALWAYS_ON_USD_PER_MONTH",
        min=0.01,
        help="What the always-on server to compare with costs a month.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(tasks)
    app.command()(task)
    app.command()(servers)
    app.command()(costs)
    app.command()(report)
    app.command()(doctor)
    app.command()(healthcheck)


def tasks(
    status: Status = None,
    task_type: Annotated[str | None, typer.Option("--type")] = None,
    document_id: Annotated[int | None, typer.Option("--document")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 30,
    as_json: Json = False,
) -> None:
    """The newest tasks."""
    rows = rows_of(
        "SELECT id, document_id, task_type, priority, status, progress_percentage AS progress, current_step, "
        "retry_count AS retries, locked_by AS server, created_at, completed_at, last_error FROM processing_queue_all "
        "WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR task_type = $2) "
        "AND ($3::bigint IS NULL OR document_id = $3) ORDER BY id DESC LIMIT $4",
        status,
        task_type,
        document_id,
        limit,
    )
    if not rows:  # a type that is gone may still have tasks
        check_known("--type", task_type, "task type", "SELECT name FROM task_types ORDER BY name")
    columns = [
        "id",
        "document_id",
        "task_type",
        "priority",
        "status",
        "progress",
        "retries",
        "created_at",
        "last_error",
    ]
    show(rows, as_json=as_json, title="tasks", columns=columns, one_line=True)


def task(task_id: TaskId, as_json: Json = False) -> None:
    """One task: its row, its steps, its attempts, what it waits for."""
    found = rows_of("SELECT * FROM processing_queue_all WHERE id = $1", task_id)
    if not found:
        typer.echo(f"no task {task_id}", err=True)
        raise typer.Exit(1)
    row = found[0]
    archived = row.pop("reveille_history") or {}
    if archived:
        row["archived_at"] = archived["archived_at"]
    row["trace_id"] = str(row["traceparent"] or "--").split("-")[1]
    steps = rows_of(
        "SELECT created_at, step_name, step_status, progress_percentage, message, step_data "
        "FROM processing_progress WHERE processing_queue_id = $1 ORDER BY id",
        task_id,
    ) or archived.get("steps", [])
    attempts = rows_of(
        "SELECT * FROM task_attempts WHERE task_id = $1 ORDER BY attempt, lease_token", task_id
    ) or archived.get("attempts", [])
    parents = rows_of(
        "SELECT d.depends_on_task_id AS id, q.task_type, q.status, d.dependency_type, d.satisfied_at "
        "FROM task_dependencies d LEFT JOIN processing_queue_all q ON q.id = d.depends_on_task_id "
        "WHERE d.dependent_task_id = $1 ORDER BY 1",
        task_id,
    )
    if as_json:
        show(
            [{**row, "steps": steps, "attempts": attempts, "parents": parents}],
            as_json=True,
            title="task",
        )
        return
    shown = [{"field": k, "value": v} for k, v in row.items() if v not in (None, "", {}, [])]
    show(shown, as_json=False, title=f"task {task_id}")
    for title, rows, columns in (
        (
            "steps",
            steps,
            ["created_at", "step_name", "step_status", "progress_percentage", "message"],
        ),
        (
            "attempts that did not complete it",
            attempts,
            ["attempt", "server_id", "started_at", "ended_at", "outcome", "reason", "error"],
        ),
        ("depends on", parents, None),
    ):
        if rows:
            console.print()
            show(rows, as_json=False, title=title, columns=columns)
    if base := os.environ.get("REVEILLE_JAEGER_URL"):
        console.print(f"\ntrace: {base.rstrip('/')}/trace/{row['trace_id']}")


def servers(as_json: Json = False) -> None:
    """Registered servers, external ones included."""
    rows = rows_of(
        "SELECT id, server_type, pool, status, status_reason, current_load AS load, max_concurrent_tasks AS slots, "
        "last_heartbeat, container_id, http_url, version FROM processing_servers ORDER BY status, id"
    )
    columns = ["id", "server_type", "status", "load", "slots", "last_heartbeat", "status_reason"]
    show(rows, as_json=as_json, title="servers", columns=columns, one_line=True)


def costs(
    month: Annotated[str | None, typer.Option(help="Such as 2026-01; unset: this one.")] = None,
    document: Annotated[int | None, typer.Option(help="Only this document's tasks.")] = None,
    always_on: AlwaysOn = ALWAYS_ON_USD_PER_MONTH,
    as_json: Json = False,
) -> None:
    """A month's spending by pool and task type, against the always-on server for the same time."""
    if document is not None:
        _costs_of_document(document, as_json)
        return
    try:
        begins_at = None if month is None else parse_month(month)
    except ValueError:
        raise ConfigurationError(f"{month!r} is not a month; write 2026-01") from None
    found = with_database(lambda connection: costs_of_month(connection, begins_at, always_on))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    _show_costs(found)


def _show_costs(found: Costs) -> None:
    pools = [
        {
            "pool": pool.pool,
            "containers": pool.containers,
            "hours": pool.billed_seconds / 3600,
            "cost_usd": pool.cost_usd,
            "busy_usd": pool.busy_usd,
            "boot_usd": pool.boot_usd,
            "idle_usd": pool.idle_usd,
        }
        for pool in found.pools
        if pool.containers
    ]
    show(pools, as_json=False, title=f"costs of {found.begins_at:%Y-%m}", empty="no container ran")
    if found.task_types:
        console.print()
        types = [kind.model_dump() for kind in found.task_types]
        show(types, as_json=False, title="of which busy with")
    each = found.cost_per_document_usd
    console.print(
        f"${found.cost_usd:.4f} for {found.documents} documents"
        + (f", ${each:.4f} each" if each is not None else "")
        + _compared(found)
    )


def _compared(found: Costs) -> str:
    if found.compared_from >= found.ends_at:
        return "; nothing was on record then"
    since = (
        f"since records begin, {found.compared_from:%Y-%m-%d %H:%M} UTC"
        if found.compared_later
        else "in the same time"
    )
    saved = found.saved_percent
    if saved is None:
        gained = ""
    elif saved < 0:
        gained = f" (${-found.saved_usd:.2f} less)"
    else:
        gained = f" ({saved:.1f} % saved)"
    return f"; the always-on server costs ${found.always_on_usd:.2f} {since}{gained}"


def _costs_of_document(document_id: int, as_json: bool) -> None:
    found = with_database(lambda connection: costs_of_document(connection, document_id))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    rows = [task.model_dump() for task in found.tasks]
    show(rows, as_json=False, title=f"costs of document {document_id}", empty="no container ran")
    console.print(f"${found.cost_usd:.4f}; boot and idle time belong to no document")


def report(
    days: Annotated[int, typer.Option(min=1, max=366, help="The last so many days.")] = REPORT_DAYS,
    always_on: AlwaysOn = ALWAYS_ON_USD_PER_MONTH,
    as_json: Json = False,
) -> None:
    """The success metrics: target, measured value, verdict."""
    found = with_database(lambda connection: report_of(connection, days, always_on))
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
        return
    rows = [
        {
            "metric": metric.title,
            "target": metric.target,
            "measured": metric.shown,
            "verdict": metric.verdict,
            "from": metric.basis,
        }
        for metric in found.metrics
    ]
    show(rows, as_json=False, title=f"success metrics, the last {days} days")
    since = found.records_from
    console.print(f"on record since {since:%Y-%m-%d %H:%M} UTC" if since else "nothing on record")


def doctor(as_json: Json = False) -> None:
    """Check database, LISTEN, TLS, clock, schema, services, model server, providers; say what to do."""
    findings = examine()
    show(
        [{"check": f.name, "verdict": f.verdict, "detail": f.detail} for f in findings],
        as_json=as_json,
        title="doctor",
    )
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def healthcheck(
    port: Annotated[int, typer.Option(envvar="REVEILLE_HTTP_PORT")] = 8080, path: str = "/livez"
) -> None:
    """Exit 0 when the service on this machine answers; for a container's HEALTHCHECK."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=3) as answer:
            typer.echo(answer.read().decode())
    except (OSError, urllib.error.URLError) as error:
        typer.echo(f"no answer on port {port}: {error}", err=True)
        raise typer.Exit(1) from None
