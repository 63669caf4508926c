"""Commands that look: tasks, task, servers, costs, report, doctor, healthcheck."""

import json
import os
import urllib.error
import urllib.request
from typing import Annotated, Any

import typer

from reveille.cli.doctor import examine
from reveille.cli.session import console, rows_of, show, with_database
from reveille.report import REPORT_DAYS, report_of

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]

ALWAYS_ON_USD_PER_MONTH = 800.0  # what the server that Reveille replaces costs


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
    status: Annotated[str | None, typer.Option()] = None,
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


def task(task_id: int, as_json: Json = False) -> None:
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


def costs(as_json: Json = False) -> None:
    """This month's spending per pool, against the always-on server for the same time."""
    rows = rows_of(
        "SELECT pool, count(*)::int AS containers, sum(billed_seconds) / 3600 AS hours, "
        "sum(boot_seconds) / 3600 AS boot_hours, sum(busy_seconds) / 3600 AS busy_hours, sum(cost_usd) AS cost_usd "
        "FROM container_costs WHERE billed_from >= date_trunc('month', reveille_now()) GROUP BY pool ORDER BY pool"
    )
    totals = rows_of(
        "SELECT (SELECT count(DISTINCT document_id) FROM processing_queue_all WHERE status = 'completed' "
        "AND completed_at >= date_trunc('month', reveille_now()))::int AS documents, "
        "extract(epoch FROM reveille_now() - date_trunc('month', reveille_now()))::float8 / 86400 AS days"
    )[0]
    spent = sum(float(row["cost_usd"]) for row in rows)
    summary: dict[str, Any] = {
        "cost_usd": spent,
        "documents": totals["documents"],
        "cost_per_document_usd": spent / totals["documents"] if totals["documents"] else None,
        "always_on_usd_same_time": ALWAYS_ON_USD_PER_MONTH * totals["days"] / 30.44,
    }
    if as_json:
        typer.echo(
            json.dumps({"pools": [{k: _number(v) for k, v in r.items()} for r in rows], **summary})
        )
        return
    show(rows, as_json=False, title="costs this month", empty="no container ran")
    each = summary["cost_per_document_usd"]
    console.print(
        f"${spent:.4f} for {totals['documents']} documents"
        + (f", ${each:.4f} each" if each is not None else "")
        + f"; the always-on server would have cost ${summary['always_on_usd_same_time']:.2f} by now"
    )


def report(
    days: Annotated[int, typer.Option(min=1, max=366, help="The last so many days.")] = REPORT_DAYS,
    as_json: Json = False,
) -> None:
    """The success metrics: target, measured value, verdict."""
    found = with_database(lambda connection: report_of(connection, days, ALWAYS_ON_USD_PER_MONTH))
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


def _number(value: Any) -> Any:
    return value if isinstance(value, str | int) else float(value)


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
