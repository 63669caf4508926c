"""What `reveille doctor` checks: the things that are wrong when nothing happens.

The database first, since everything meets there; doctor_around.py has what is around it.
"""

import asyncio
import ipaddress
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from reveille.cli import doctor_around
from reveille.cli.finding import Finding
from reveille.cli.session import database_url
from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.errors import ConfigurationError, ReveilleError
from reveille.migrate import check_schema
from reveille.uptime import GAP_SECONDS_MAX

NOTIFY_SECONDS_MAX = 3.0
SKEW_SECONDS_MAX = 2.0
WAIT_SECONDS_MAX = 300.0
SNAPSHOT_SECONDS_MAX = 300.0
NOTIFY_QUEUE_MAX = 0.5  # of what Postgres keeps for listeners that do not read
_POOLER_SAYS = "unsupported startup parameter"
_GO_DIRECT = (
    "give services and commands the address of Postgres itself; a pooler is fine for those who only "
    "enqueue"
)


def examine() -> list[Finding]:
    """All checks; those that need the database are left out when it cannot be reached."""
    program = Finding(
        "program", True, f"Reveille {version('reveille')}, Python {platform.python_version()}"
    )
    try:
        dsn = database_url()
    except ReveilleError as error:
        return [program, Finding("database", False, str(error)), *doctor_around.examine(None)]
    assert dsn is not None  # noqa: S101
    return [program, *asyncio.run(_database(dsn)), *doctor_around.examine(dsn)]


async def _database(dsn: str) -> list[Finding]:
    try:
        connection = await connect(dsn, application_name="reveille doctor")
    except ConfigurationError as error:
        return [Finding("database", False, str(error))]
    except DATABASE_ERRORS as error:
        return [Finding("database", False, _unreachable(error))]
    try:
        found = connection.get_server_version()
        said = f"PostgreSQL {await connection.fetchval('SHOW server_version')}"
        findings = [
            Finding(
                "database", found.major >= 15, said if found.major >= 15 else f"{said}: too old"
            ),
            await _directness(connection),
            await _encryption(connection),
            await _listen(connection, dsn),
            await _clock(connection),
        ]
        schema = await _schema(connection)
        findings.append(schema)
        if schema.ok:
            findings += [await _services(connection), await _servers(connection)]
            findings += [await _waiting(connection), await _notifications(connection)]
            findings.append(await _snapshots(connection))
        return findings
    finally:
        await connection.close(timeout=5)


def _unreachable(error: BaseException) -> str:
    if _POOLER_SAYS in str(error):
        return f"a pooler such as PgBouncer answers ({error}): {_GO_DIRECT}"
    said = str(error) or type(error).__name__
    return f"{said}; check DATABASE_URL, that Postgres runs, and that this machine may reach it"


async def _directness(connection: Connection) -> Finding:
    """A pooler makes up the process id that it greets with; whether it matters, LISTEN says."""
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    if backend == connection.get_server_pid():
        return Finding("connection", True, "direct")
    return Finding("connection", True, "goes through a pooler", note=True)


async def _encryption(connection: Connection) -> Finding:
    row = await connection.fetchrow(
        "SELECT coalesce((SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl), '') AS tls, "
        "host(inet_server_addr()) AS address"
    )
    if row["tls"]:
        return Finding("TLS", True, row["tls"])
    if row["address"] is None or ipaddress.ip_address(row["address"]).is_loopback:
        return Finding("TLS", True, "none, and none needed: the database is on this machine")
    said = f"passwords' hashes and decks travel to {row['address']} in the clear; add ?sslmode=verify-full"
    private = ipaddress.ip_address(row["address"]).is_private
    return Finding("TLS", private, said, note=private)


async def _schema(connection: Connection) -> Finding:
    try:
        await check_schema(connection)
    except ReveilleError as error:
        return Finding("schema", False, str(error))
    newest = await connection.fetchval("SELECT max(version) FROM reveille_migrations")
    return Finding("schema", True, f"up to date: migration {newest}")


async def _listen(connection: Connection, dsn: str) -> Finding:
    """A second connection speaks: through a transaction pooler the first would hear itself."""
    heard = asyncio.Event()
    await connection.add_listener("reveille_doctor", lambda *_: heard.set())
    other = await connect(dsn, application_name="reveille doctor")
    try:
        started = time.monotonic()
        await other.execute("SELECT pg_notify('reveille_doctor', '')")
        with suppress(TimeoutError):
            async with asyncio.timeout(NOTIFY_SECONDS_MAX):
                await heard.wait()
    finally:
        await other.close(timeout=5)
    if heard.is_set():
        return Finding("LISTEN", True, f"heard after {(time.monotonic() - started) * 1000:.1f} ms")
    return Finding(
        "LISTEN", False, f"no notification arrives, as through a transaction pooler: {_GO_DIRECT}"
    )


async def _clock(connection: Connection) -> Finding:
    before = datetime.now(UTC)
    theirs = await connection.fetchval("SELECT clock_timestamp()")
    taken = datetime.now(UTC) - before
    skew = (theirs - before - taken / 2).total_seconds()
    sound = abs(skew) < SKEW_SECONDS_MAX
    return Finding(
        "clock",
        sound,
        f"the database's is {skew:+.3f} s from this machine's"
        + (
            ""
            if sound
            else "; run NTP on both: traces mix the two, leases go by the database's alone"
        ),
    )


async def _services(connection: Connection) -> Finding:
    """Gateway and monitor say each minute that they are well; an autoscaler leads by a lock."""
    rows = await connection.fetch(
        "SELECT part, max(ended_at) AS last, reveille_now() AS now FROM uptime_spans "
        "WHERE part IN ('gateway', 'monitor') GROUP BY part"
    )
    fresh = timedelta(seconds=GAP_SECONDS_MAX)
    well = sorted(row["part"] for row in rows if row["now"] - row["last"] < fresh)
    missing = sorted({"gateway", "monitor"} - set(well))
    if await connection.fetchval(
        "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'reveille autoscaler%')"
    ):
        well.append("autoscaler")
    else:
        missing.append("autoscaler")
    said = f"well: {', '.join(well) or 'none'}"
    if not missing:
        return Finding("services", True, said)
    said += f"; not heard of lately: {', '.join(missing)}"
    if "monitor" in missing:
        return Finding("services", False, f"{said}; without a monitor nobody notices dead workers")
    return Finding("services", True, said, note=True)


async def _servers(connection: Connection) -> Finding:
    rows = await connection.fetch(
        "SELECT status, count(*) AS n FROM processing_servers GROUP BY status ORDER BY status"
    )
    text = ", ".join(f"{row['n']} {row['status']}" for row in rows) or "none registered yet"
    reasons = await connection.fetch(
        "SELECT id, status_reason FROM processing_servers "
        "WHERE status = 'starting' AND status_reason IS NOT NULL ORDER BY id LIMIT 3"
    )
    if reasons:
        return Finding(
            "servers", False, "; ".join(f"{r['id']}: {r['status_reason']}" for r in reasons)
        )
    others = await connection.fetchval(
        "SELECT string_agg(DISTINCT version, ', ') FROM processing_servers "
        "WHERE has_presence AND status IN ('starting', 'active', 'draining') AND version <> $1",
        version("reveille"),
    )
    if others:
        return Finding("servers", True, f"{text}; some are of version {others}", note=True)
    return Finding("servers", True, text)


async def _waiting(connection: Connection) -> Finding:
    row = await connection.fetchrow(
        "SELECT count(*) AS n, extract(epoch FROM reveille_now() - min(claimable_at))::float8 AS oldest, "
        "(SELECT string_agg(name, ', ') FROM pools WHERE paused) AS paused "
        "FROM processing_queue WHERE status = 'queued'"
    )
    paused = f"; paused pools: {row['paused']}" if row["paused"] else ""
    if not row["n"]:
        return Finding("queue", True, f"nothing waits{paused}", note=bool(paused))
    late = row["oldest"] > WAIT_SECONDS_MAX
    said = f"{row['n']} wait, the oldest for {row['oldest']:.0f} s{paused}"
    if late:
        said += "; `reveille pools` says what the autoscaler decided and why"
    return Finding("queue", not late, said)


async def _notifications(connection: Connection) -> Finding:
    used = await connection.fetchval("SELECT pg_notification_queue_usage()")
    said = f"{100 * used:.3g} % of Postgres's notification queue in use"
    if used < NOTIFY_QUEUE_MAX:
        return Finding("notifications", True, said)
    return Finding(
        "notifications",
        False,
        f"{said}: some session has been listening inside a transaction for long; find it in "
        "pg_stat_activity (state 'idle in transaction') and end it, or commits will fail",
    )


async def _snapshots(connection: Connection) -> Finding:
    """What has died since the oldest one stays in the tables, whatever vacuum does."""
    row = await connection.fetchrow(
        "SELECT pid, usename, application_name, state, "
        "extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds FROM pg_stat_activity "
        "WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND datname = current_database() "
        "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1"
    )
    if row is None or row["seconds"] < SNAPSHOT_SECONDS_MAX:
        return Finding("snapshots", True, "none that holds vacuum back, of those this user may see")
    return Finding(
        "snapshots",
        True,
        f"process {row['pid']} ({row['usename']}, {row['application_name'] or 'unnamed'}, {row['state']}) keeps a "
        f"snapshot for {row['seconds'] / 60:.0f} minutes: dead rows pile up until it ends (docs/soak-report.md)",
        note=True,
    )
