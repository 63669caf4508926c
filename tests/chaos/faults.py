"""One function per fault of plan.FAULTS. Each strikes, lasts, and heals what would not heal by
itself.
"""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import aiohttp
from tests.chaos.autoscaler import KINDS
from tests.chaos.history import LOAD
from tests.chaos.plan import FAULT_NAMES, SLOTS, WORKER_SLOTS, Blow
from tests.chaos.slot import Slot
from tests.chaos.stage import DRAIN_SECONDS, LEASE_SECONDS, Stage

from reveille.database import DATABASE_ERRORS, Connection, connect
from reveille.migrate import migrate, migrations_directory, read_migrations

Fault = Callable[[Stage, Blow], Awaitable[None]]


class Missed(Exception):
    """It could not strike, and why."""


STOP_SECONDS_MAX = DRAIN_SECONDS + 15.0
MIGRATION = """-- breaking: no
ALTER TABLE processing_queue ADD COLUMN chaos_note text;
CREATE INDEX chaos_company ON processing_queue (company_id);
"""


async def kill(stage: Stage, blow: Blow) -> None:
    """SIGKILL."""
    stage.slots[blow.target].signal(signal.SIGKILL)


async def kill_all_workers(stage: Stage, _blow: Blow) -> None:
    """SIGKILL to every worker at once: the machine is gone."""
    for name in WORKER_SLOTS:
        stage.slots[name].signal(signal.SIGKILL)


async def _freeze(slot: Slot, seconds: float) -> None:
    if slot.signal(signal.SIGSTOP):
        pid = slot.pid
        await asyncio.sleep(seconds)
        if slot.pid == pid:
            slot.signal(signal.SIGCONT)


async def freeze_briefly(stage: Stage, blow: Blow) -> None:
    """SIGSTOP for less than the lease: nothing is to be run again."""
    await _freeze(stage.slots[blow.target], blow.seconds / 2)


async def freeze_beyond_lease(stage: Stage, blow: Blow) -> None:
    """SIGSTOP until others have its tasks; then it wakes up and believes that it still holds them."""
    await _freeze(stage.slots[blow.target], LEASE_SECONDS + 2 + blow.seconds)


async def half_open(stage: Stage, blow: Blow) -> None:
    """The connections of a service hear nothing more and are not told; new ones work."""
    proxy = stage.slots[blow.target].proxy
    proxy.swallow()
    await asyncio.sleep(2 * blow.seconds)
    proxy.heal()


async def cut_off(stage: Stage, blow: Blow) -> None:
    """No byte gets through, on old connections or new ones."""
    proxy = stage.slots[blow.target].proxy
    proxy.cut_off()
    await asyncio.sleep(2 * blow.seconds)
    proxy.heal()


async def sigterm(stage: Stage, blow: Blow) -> None:
    """A drain: it must end by itself, with 0, soon after its grace."""
    await _restart_in_order(stage, stage.slots[blow.target])


async def sigterm_twice(stage: Stage, blow: Blow) -> None:
    """The second one is immediate."""
    slot = stage.slots[blow.target]
    if slot.signal(signal.SIGTERM):
        await asyncio.sleep(0.2)
        slot.signal(signal.SIGTERM)


async def rolling_restart(stage: Stage, _blow: Blow) -> None:
    """Everybody, one after the other, as a deployment does."""
    for name in SLOTS:
        await _restart_in_order(stage, stage.slots[name])


async def _restart_in_order(stage: Stage, slot: Slot) -> None:
    child = slot.child
    if child is None or not slot.signal(signal.SIGTERM):
        return
    try:
        await asyncio.wait_for(asyncio.to_thread(child.process.wait), STOP_SECONDS_MAX)
    except TimeoutError:
        if not slot.was_frozen:
            stage.note_overrun(slot, STOP_SECONDS_MAX)
        child.process.kill()  # what Docker does after its grace


async def postgres_crash(stage: Stage, blow: Blow) -> None:
    """Immediate stop: every backend dies in the middle; recovery after a pause."""
    async with stage.stopping_postgres:
        await asyncio.to_thread(stage.postgres.stop, "immediate")
        await asyncio.sleep(blow.seconds)
        await asyncio.to_thread(stage.postgres.start)


async def postgres_restart(stage: Stage, _blow: Blow) -> None:
    """Fast stop and start."""
    async with stage.stopping_postgres:
        await asyncio.to_thread(stage.postgres.restart)


async def end_sessions(stage: Stage, blow: Blow) -> None:
    """pg_terminate_backend on some sessions of the services: listeners, pools, heartbeats."""
    random = Random(blow.seed)
    kind = random.choice(("%listener", "%heartbeat", "%", "reveille%worker"))
    async with _session(stage) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name LIKE 'reveille%' "
            "AND application_name LIKE $1",
            kind,
        )


async def exhaust_connections(stage: Stage, blow: Blow) -> None:
    """Somebody else takes all that Postgres allows."""
    greedy: list[Connection] = []
    try:
        with suppress(*DATABASE_ERRORS):
            while True:
                greedy.append(await connect(stage.dsn, application_name=LOAD))
        await asyncio.sleep(blow.seconds)
    finally:
        for connection in greedy:
            connection.terminate()


async def slow_commits(stage: Stage, blow: Blow) -> None:
    """A slow disk: each commit waits for a tenth of a second between its NOTIFY and its effect."""
    settings = {"fsync": "on", "commit_delay": "100000", "commit_siblings": "0"}
    async with _session(stage) as connection:
        for name, value in settings.items():
            await connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        await connection.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(2 * blow.seconds)
    async with _session(stage) as connection:
        await connection.execute("ALTER SYSTEM RESET ALL")
        await connection.execute("SELECT pg_reload_conf()")


async def idle_in_transaction(stage: Stage, blow: Blow) -> None:
    """A forgotten session holds some live tasks' rows, and a server's."""
    async with _session(stage) as connection, connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await connection.execute(
            "UPDATE processing_queue SET company_id = company_id WHERE id IN (SELECT id FROM "
            "processing_queue WHERE status IN ('queued', 'processing', 'blocked') "
            "ORDER BY id LIMIT 4 FOR UPDATE SKIP LOCKED)"
        )
        await connection.execute("SELECT 1 FROM processing_servers LIMIT 1 FOR UPDATE SKIP LOCKED")
        await asyncio.sleep(2 * blow.seconds)


async def disk_full(stage: Stage, blow: Blow) -> None:
    """Not a byte is left for the database: statements fail, and its log may stop it altogether."""
    if stage.disk.folder is None:
        raise Missed(stage.disk.lacks)
    async with stage.stopping_postgres:  # it may not start without a byte to write
        await asyncio.to_thread(stage.disk.fill)
        try:
            await asyncio.sleep(blow.seconds)
        finally:
            stage.disk.clear()
        await stage.revive_postgres()


async def unplug(stage: Stage, blow: Blow) -> None:
    """A worker's cable is pulled: neither side is told, nothing arrives, retransmissions pile up."""
    if stage.namespace.lacks:
        raise Missed(stage.namespace.lacks)
    stage.slots[blow.target].proxy.swallowed = True
    await stage.namespace.unplug(3 * blow.seconds)


async def spoil_provider(stage: Stage, blow: Blow) -> None:
    """Whoever runs containers answers too late, having done the work; or refuses; or forgets one."""
    seconds = 2 * blow.seconds
    stage.spoil_provider(Random(blow.seed).choice(KINDS), seconds)
    await asyncio.sleep(seconds)


async def kill_container(stage: Stage, blow: Blow) -> None:
    """SIGKILL to a container of the autoscaler's."""
    pids = sorted(stage.container_pids().values())
    if not pids:
        raise Missed("no container runs")
    os.kill(Random(blow.seed).choice(pids), signal.SIGKILL)


async def hold_wake_gate(stage: Stage, blow: Blow) -> None:
    """A transaction that has the wake gate takes long, and then fails: its NOTIFY never comes."""
    async with _session(stage) as connection:
        await connection.execute("BEGIN")
        for pool in ("text", "visual"):
            await connection.execute(
                "SELECT pg_try_advisory_xact_lock(reveille_lock_space(), hashtext($1))", pool
            )
        await asyncio.sleep(blow.seconds / 2)
        await connection.execute("ROLLBACK")


async def kill_model(stage: Stage, blow: Blow) -> None:
    """The model server dies in the middle of its answers, and comes back."""
    if stage.model is not None and stage.model.alive:
        stage.model.process.kill()
        await asyncio.to_thread(stage.model.process.wait)
        await asyncio.sleep(blow.seconds / 2)
        stage.start_model()


async def spoil_model(stage: Stage, blow: Blow) -> None:
    """A few answers never come, break off, or are nonsense."""
    random = Random(blow.seed)
    faults = [
        {"kind": kind, "times": random.randint(1, 4), "seconds": 2.0}
        for kind in random.sample(
            ("hang", "slow", "cut_body", "stream_eof", "done_false", "length_cut_json"), 2
        )
    ]
    with suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as http:
            await http.post(f"{stage.model_url}/_stub/faults", json=faults)


async def run_migration(stage: Stage, _blow: Blow) -> None:
    """A compatible migration while everybody works."""
    number = len(read_migrations()) + 1
    with tempfile.TemporaryDirectory() as folder:
        for path in migrations_directory().glob("*.sql"):
            shutil.copy(path, folder)
        (Path(folder) / f"{number:04}_chaos.sql").write_text(MIGRATION)
        with suppress(*DATABASE_ERRORS):
            await migrate(stage.dsn, directory=Path(folder))


@asynccontextmanager
async def _session(stage: Stage) -> AsyncIterator[Connection]:
    """A session of the suite's own, past the proxies."""
    connection = await connect(stage.dsn, application_name=LOAD)
    try:
        yield connection
    finally:
        connection.terminate()


FUNCTIONS: dict[str, Fault] = {
    name: {"migrate": run_migration}.get(name) or globals()[name] for name in FAULT_NAMES
}


async def strike(stage: Stage, blow: Blow) -> bool:
    """One fault; False when it could not strike: the database was away, the machine has no such
    thing, nobody was there.
    """
    try:
        await FUNCTIONS[blow.fault](stage, blow)
    except (*DATABASE_ERRORS, Missed):
        return False
    return True
