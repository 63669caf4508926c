"""Everything that runs during one seed, and the orchestrator that replaces whoever ends.

Services reach Postgres through a proxy each. An end that no fault explains is remembered: a
service outlives a database that is away, whatever it was doing.
"""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import randbelow, token_hex

import aiohttp
from tests.chaos.autoscaler import TROUBLE
from tests.chaos.history import LOAD, keep_history
from tests.chaos.machine import Namespace, SmallDisk, wrong_clock_library
from tests.chaos.plan import SLOTS, UNPLUGGABLE, WORKER_SLOTS, Plan
from tests.chaos.proxy import Proxy
from tests.chaos.seams import NAMESPACE, PRELOADED, RUNNER, SHIFT
from tests.chaos.slot import Collapse, Slot
from tests.roles import dsn_as, make_logins

from autoscaler.providers.launch import identity_of
from reveille.database import DATABASE_ERRORS, connect
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import migrate
from reveille.processes import Child, start_module
from reveille.testing import eventually, with_database

DATABASE = "chaos"
CONNECTIONS_MAX = 80
PORTS = range(18_000, 32_000)  # net.ipv4.ip_local_port_range begins at 32768
REPLACE_SECONDS = 0.3  # a container's restart
WATCH_SECONDS = 0.05
START_SECONDS_MAX = 60.0
EXIT_SERVER_ID_TAKEN = 58
ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM)
HEARTBEAT_SECONDS, LEASE_SECONDS = 2.0, 8.0
DRAIN_SECONDS = 4.0
MODULES = {
    "visual": ("tests.chaos.worker", "visual_worker"),
    "text": ("tests.chaos.worker", "text_worker"),
    "monitor": ("heartbeat_monitor",),
    "gateway": ("queue_gateway",),
    "autoscaler": ("tests.chaos.autoscaler",),
}
LOGIN = {
    "visual": "visual_worker",
    "text": "text_worker",
    "monitor": "heartbeat_monitor",
    "gateway": "queue_gateway",
    "autoscaler": "autoscaler",
}
# Containers come and go within a run: text workers beside those that the orchestrator keeps.
CONTAINERS_MAX = 2
SCALING = f"""\
visual_container_scaling: {{max_replicas: 0}}
text_container_scaling:
  policy: threshold
  max_replicas: {CONTAINERS_MAX}
  scale_up_threshold: 4
  scale_up_delay: 1s
  lone_task_delay: 1s
  scale_down_delay: 4s
  startup_timeout: 20s
  failure_backoff: 500ms
  failure_backoff_max: 2s
"""

# Shorter than in production, so that a minute holds many faults; the grace of a lost connection is
# the default, because the five seconds of a killed worker are measured with it.
SETTINGS = {
    "REVEILLE_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    "REVEILLE_LEASE_SECONDS": str(LEASE_SECONDS),
    "REVEILLE_OUTAGE_GRACE_SECONDS": "4",
    "REVEILLE_PING_SECONDS": "2",
    "REVEILLE_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "REVEILLE_BACKOFF_BASE_SECONDS": "0.2",
    "REVEILLE_BACKOFF_MAX_SECONDS": "2",
    "REVEILLE_MODEL_TIMEOUT_SECONDS": "4",
    "REVEILLE_AUDIT_SECONDS": "20",
    "REVEILLE_HTTP_PORT": "0",
    "REVEILLE_LOOK_SECONDS": "0.5",
    "REVEILLE_BACKSTOP_SECONDS": "3",
    "REVEILLE_STANDBY_SECONDS": "1",
    "REVEILLE_UNRESPONSIVE_SECONDS_MAX": "10",
    "REVEILLE_SLOTS": "3",
    "REVEILLE_LOG_JSON": "true",
    "REVEILLE_LOG_LEVEL": "info",
}
MODEL_FAULTS = (
    '[{"kind": "error_500_eof", "times": null, "probability": 0.01},'
    ' {"kind": "cut_body", "times": null, "probability": 0.01},'
    ' {"kind": "busy_503", "times": null, "probability": 0.01},'
    ' {"kind": "wrong_schema", "times": null, "probability": 0.02}]'
)


class Stage:
    """The system under test. `collapses` and `restarts` grow while it runs."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.document_root = folder / "documents"
        self.disk = SmallDisk()
        self.namespace = Namespace()
        self.postgres: EmbeddedPostgres  # set by `open`
        self.stopping_postgres = asyncio.Lock()  # one at a time
        self.slots: dict[str, Slot] = {}
        self.model: Child | None = None
        self.model_port = _free_port()
        self.gateway_port = _free_port()
        self._clock: Path | None = None
        self.collapses: list[Collapse] = []
        self.restarts = 0
        self.closing = False
        self._orchestrators: list[asyncio.Task[None]] = []

    @property
    def dsn(self) -> str:
        """The way to the database that no fault touches."""
        return with_database(self.postgres.dsn, DATABASE)

    async def open(self) -> None:
        """Start everything; returns when all workers are active."""
        self.document_root.mkdir(parents=True)
        (self.folder / "scaling.yaml").write_text(SCALING)
        self._clock = wrong_clock_library(self.folder)
        self.disk.open()
        self.namespace.open()
        self.postgres = EmbeddedPostgres(
            self.disk.folder and self.disk.folder / "postgres",
            trust=True,
            settings={
                "max_connections": str(CONNECTIONS_MAX),
                # An acknowledged commit survives a crash of the server, if not of the machine.
                "synchronous_commit": "on",
                "max_wal_size": "96MB",
                "min_wal_size": "32MB",
            },
        )
        await asyncio.to_thread(self.postgres.start)
        await self._make_database()
        self.start_model()
        for name in SLOTS:
            proxy = Proxy(self.postgres.port, host=self._own_address(name))
            await proxy.start()
            slot = self.slots[name] = Slot(name, proxy)
            self._orchestrators.append(asyncio.create_task(self._orchestrate(slot), name=name))
        await eventually(self.all_active, within_seconds=START_SECONDS_MAX)

    async def close(self) -> None:
        """End everything, at once."""
        self.closing = True
        for orchestrator in self._orchestrators:
            orchestrator.cancel()
        await asyncio.gather(*self._orchestrators, return_exceptions=True)
        for child in (*(slot.child for slot in self.slots.values()), self.model):
            if child is not None and child.alive:
                child.process.kill()
            if child is not None:
                await asyncio.to_thread(child.process.wait)
        for slot in self.slots.values():
            await slot.proxy.stop()
        for pid in self.container_pids().values():
            os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(self.postgres.close)
        await asyncio.to_thread(self.disk.close)
        await asyncio.to_thread(self.namespace.close)

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the machine did not let us have, in words."""
        clock = "" if self._clock else "no compiler: the wrong clock is that of time.time alone"
        return tuple(lack for lack in (self.disk.lacks, self.namespace.lacks, clock) if lack)

    async def heal(self) -> None:
        """Undo what still lasts."""
        for slot in self.slots.values():
            slot.proxy.heal()
            if slot.frozen:
                slot.signal(signal.SIGCONT)
        self.disk.clear()
        self.trouble_path.unlink(missing_ok=True)
        await self.revive_postgres()
        if self.model is None or not self.model.alive:
            self.start_model()
        await self._clear_model_faults()

    async def revive_postgres(self) -> None:
        """Have it run: a database whose disk was full may have ended by itself."""
        try:
            connection = await connect(self.postgres.dsn, application_name=LOAD)
        except DATABASE_ERRORS:
            await asyncio.to_thread(self.postgres.stop, "immediate")
            await asyncio.to_thread(self.postgres.start)
        else:
            connection.terminate()

    @property
    def trouble_path(self) -> Path:
        """Where the autoscaler's provider reads how it is (autoscaler.py)."""
        return self.folder / "provider.json"

    def spoil_provider(self, kind: str, seconds: float) -> None:
        """For so long."""
        draft = self.trouble_path.with_suffix(".draft")
        draft.write_text(json.dumps({"kind": kind, "until": time.time() + seconds}))
        draft.replace(self.trouble_path)

    def container_pids(self) -> dict[str, int]:
        """What the provider runs: pids by name."""
        found = {}
        for file in (self.folder / "containers").glob("*.pid"):
            known = json.loads(file.read_text())
            if identity_of(known["pid"]) == known["started"]:
                found[file.stem] = int(known["pid"])
        return found

    async def all_active(self) -> bool:
        """Whether each worker slot has a server that takes tasks."""
        connection = await connect(self.dsn, application_name=LOAD)
        try:
            active: int = await connection.fetchval(
                "SELECT count(DISTINCT container_id) FROM processing_servers "
                "WHERE status = 'active' AND container_id = ANY ($1::varchar[]) "
                "AND last_heartbeat > reveille_now() - make_interval(secs => $2)",
                list(WORKER_SLOTS),
                LEASE_SECONDS,
            )
        finally:
            await connection.close()
        return active >= len(WORKER_SLOTS)

    def start_model(self) -> None:
        """The stand-in model server, on the same port each time."""
        self.model = start_module(
            "model_stub",
            environment={
                "REVEILLE_STUB_HOST": "0.0.0.0",  # noqa: S104 - the namespace reaches it too
                "REVEILLE_STUB_PORT": str(self.model_port),
                "REVEILLE_STUB_NUM_PARALLEL": "8",
                "REVEILLE_STUB_SERVICE_SECONDS": "0.05",
                "REVEILLE_STUB_FAULTS": MODEL_FAULTS,
            },
            log_path=self.folder / "model.log",
        )

    @property
    def model_url(self) -> str:
        """Where the model server listens."""
        return f"http://127.0.0.1:{self.model_port}"

    @property
    def gateway_url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.gateway_port}"

    async def _clear_model_faults(self) -> None:
        async def cleared() -> bool:
            try:
                url = f"{self.model_url}/_stub/faults"
                async with aiohttp.ClientSession() as http, http.delete(url) as answer:
                    return answer.ok
            except aiohttp.ClientError:
                return False

        await eventually(cleared, within_seconds=START_SECONDS_MAX)

    async def _make_database(self) -> None:
        connection = await connect(self.postgres.dsn, application_name=LOAD)
        await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        await connection.close()
        await migrate(self.dsn)
        connection = await connect(self.dsn, application_name=LOAD)
        await keep_history(connection)
        await make_logins(connection)
        # Faults are frequent here: attempts run out only for what is hopeless.
        await connection.execute("UPDATE task_types SET max_retries = 25")
        await connection.close()

    # The orchestrator

    def start(self, slot: Slot) -> None:
        """Start the service of a slot. Half of the workers keep their server id, as a container
        with a fixed name does; the others get a new one.
        """
        slot.starts += 1
        slot.asked = slot.frozen = slot.was_frozen = False
        slot.child = start_module(
            *self._command(slot),
            environment=self._environment(slot),
            log_path=self.folder / f"{slot.name}.log",
            name=slot.name,
        )

    def _command(self, slot: Slot) -> tuple[str, ...]:
        return MODULES[slot.name.partition("-")[0]]

    def _dsn_for(self, slot: Slot, login: str) -> str:
        """Through the slot's proxy, with the rights of its service's role and no others."""
        address = f"{self._own_address(slot.name)}:{slot.proxy.port}"
        return dsn_as(with_database(f"postgresql://postgres@{address}/", DATABASE), login)

    def _own_address(self, slot_name: str) -> str:
        """Where a slot's process finds this machine."""
        unpluggable = slot_name == UNPLUGGABLE and not self.namespace.lacks
        return self.namespace.host if unpluggable else "127.0.0.1"

    def _environment(self, slot: Slot) -> dict[str, str]:
        address = self._own_address(slot.name)
        kind, _, number = slot.name.partition("-")
        environment = SETTINGS | {
            "DATABASE_URL": self._dsn_for(slot, LOGIN[kind]),
            "OLLAMA_HOST": f"http://{address}:{self.model_port}",
            "REVEILLE_DOCUMENT_ROOT": str(self.document_root),
            RUNNER: str(os.getpid()),
        }
        match kind:
            case "gateway":
                environment["REVEILLE_HTTP_PORT"] = str(self.gateway_port)
            case "autoscaler":
                environment |= {
                    "REVEILLE_SCALING_FILE": str(self.folder / "scaling.yaml"),
                    "REVEILLE_RUN_DIR": str(self.folder / "containers"),
                    "REVEILLE_CONTAINER_PREFIX": "chaos",
                    "REVEILLE_WORKER_ENV_DATABASE_URL": self._dsn_for(slot, "text_worker"),
                    TROUBLE: str(self.trouble_path),
                }
            case "visual" | "text":
                new_id = f"{slot.name}-{token_hex(3)}"
                environment |= {
                    "REVEILLE_SERVER_ID": slot.name if number == "1" else new_id,
                    "REVEILLE_CONTAINER_ID": slot.name,
                    "REVEILLE_SLOTS": "2" if kind == "visual" else "3",
                }
        if address != "127.0.0.1":
            environment[NAMESPACE] = str(self.namespace.path)
        if slot.name == self.plan.wrong_clock:
            environment[SHIFT] = str(round(self.plan.clock_shift_seconds))
            if self._clock is not None:
                environment[PRELOADED] = str(self._clock)
        return environment

    async def _orchestrate(self, slot: Slot) -> None:
        while not self.closing:
            self.start(slot)
            child = slot.child
            assert child is not None
            await _until(lambda: not child.alive)  # noqa: B023 - awaited here
            self._note_end(slot, child)
            self.restarts += 1
            await asyncio.sleep(REPLACE_SECONDS)

    def _note_end(self, slot: Slot, child: Child) -> None:
        code = child.process.returncode
        by_poison = code == -signal.SIGKILL and slot.name in WORKER_SLOTS
        # While a half-open connection of the predecessor lives, its id is taken.
        by_phantom = code == EXIT_SERVER_ID_TAKEN and slot.proxy.swallowed
        # -SIGTERM: it was asked so early that its handlers were not there yet.
        ended_well = slot.asked and code in ENDED_WELL
        if not (by_poison or by_phantom or ended_well):
            self.collapses.append(Collapse(slot=slot.name, code=code, log_end=_log_end(child)))

    def note_overrun(self, slot: Slot, seconds: float) -> None:
        """It was asked to stop and did not."""
        log_end = f"did not end within {seconds:g} s of SIGTERM: {_log_end(slot.child)}"
        self.collapses.append(Collapse(slot=slot.name, code=0, log_end=log_end))


async def _until(condition: Callable[[], bool]) -> None:
    """Other processes tell nobody when they end: look now and then."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(WATCH_SECONDS)


def _log_end(child: Child | None) -> str:
    return "" if child is None else child.log_tail(4)[-600:]


@asynccontextmanager
async def stage_for(plan: Plan, folder: Path) -> AsyncIterator[Stage]:
    """An open stage, closed however the run ends."""
    stage = Stage(plan, folder)
    try:
        await stage.open()
        yield stage
    finally:
        await stage.close()


def _free_port() -> int:
    """A port that its service binds only later, and again after each fault: below those that the
    kernel gives to connections and to listeners without a number, so that none takes it meanwhile.
    """
    while True:
        port = PORTS.start + randbelow(len(PORTS))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
