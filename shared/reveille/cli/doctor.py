"""What `reveille doctor` checks: the things that are wrong when nothing happens."""

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from reveille.cli.session import database_url
from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.errors import ConfigurationError, ReveilleError
from reveille.migrate import check_schema

NOTIFY_SECONDS_MAX = 3.0
SKEW_SECONDS_MAX = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `detail` says what was seen, or what to do."""

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """All checks; those that need the database are left out when it cannot be reached."""
    return [*asyncio.run(_database()), _model_server()]


async def _database() -> list[Finding]:
    try:
        dsn = database_url()
    except ReveilleError as error:
        return [Finding("database", False, str(error))]
    assert dsn is not None  # noqa: S101
    try:
        connection = await connect(dsn, application_name="reveille doctor")
    except ConfigurationError as error:
        return [Finding("database", False, str(error))]
    except DATABASE_ERRORS as error:
        return [Finding("database", False, f"{error}; check DATABASE_URL and that Postgres runs")]
    try:
        version = connection.get_server_version()
        findings = [
            Finding("database", version.major >= 15, f"PostgreSQL {version.major}.{version.minor}")
        ]
        findings += [await _schema(connection), await _listen(connection), await _clock(connection)]
        if findings[1].ok:
            findings += [await _servers(connection), await _waiting(connection)]
        return findings
    finally:
        await connection.close(timeout=5)


async def _schema(connection: Connection) -> Finding:
    try:
        await check_schema(connection)
    except ReveilleError as error:
        return Finding("schema", False, str(error))
    return Finding("schema", True, "up to date")


async def _listen(connection: Connection) -> Finding:
    heard = asyncio.Event()
    await connection.add_listener("reveille_doctor", lambda *_: heard.set())
    started = time.monotonic()
    await connection.execute("SELECT pg_notify('reveille_doctor', '')")
    with suppress(TimeoutError):
        async with asyncio.timeout(NOTIFY_SECONDS_MAX):
            await heard.wait()
        return Finding("LISTEN", True, f"heard after {(time.monotonic() - started) * 1000:.1f} ms")
    return Finding(
        "LISTEN",
        False,
        "no notification arrives: DATABASE_URL must be direct, not a transaction pooler",
    )


async def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    skew = (theirs - before).total_seconds()
    return Finding(
        "clock",
        abs(skew) < SKEW_SECONDS_MAX,
        f"database is {skew:+.3f} s from this machine (only traces mind: leases use the database's clock)",
    )


async def _servers(connection: Connection) -> Finding:
    rows = await connection.fetch(
        "SELECT status, count(*) AS n FROM processing_servers GROUP BY status"
    )
    text = ", ".join(f"{row['n']} {row['status']}" for row in rows) or "none registered yet"
    reasons = await connection.fetch(
        "SELECT id, status_reason FROM processing_servers "
        "WHERE status = 'starting' AND status_reason IS NOT NULL LIMIT 3"
    )
    if reasons:
        return Finding(
            "servers", False, "; ".join(f"{r['id']}: {r['status_reason']}" for r in reasons)
        )
    return Finding("servers", True, text)


async def _waiting(connection: Connection) -> Finding:
    row = await connection.fetchrow(
        "SELECT count(*) AS n, extract(epoch FROM reveille_now() - min(claimable_at))::float8 AS oldest "
        "FROM processing_queue WHERE status = 'queued'"
    )
    if not row["n"]:
        return Finding("queue", True, "nothing waits")
    late = row["oldest"] > 300
    return Finding(
        "queue",
        not late,
        f"{row['n']} wait, the oldest for {row['oldest']:.0f} s"
        + ("; is the autoscaler running, or its pool paused? see `reveille pools`" if late else ""),
    )


def _model_server() -> Finding:
    host = os.environ.get("OLLAMA_HOST") or "http://127.0.0.1:11434"
    host = host if "://" in host else f"http://{host}"
    try:
        with urllib.request.urlopen(f"{host}/api/tags", timeout=3) as answer:  # noqa: S310
            names = [model["name"] for model in json.load(answer)["models"]]
    except (OSError, ValueError, KeyError, urllib.error.URLError) as error:
        return Finding("model server", False, f"{host}: {error}; start Ollama or set OLLAMA_HOST")
    return Finding(
        "model server",
        bool(names),
        f"{host}: {', '.join(names[:6]) or 'no models; ollama pull one'}",
    )
