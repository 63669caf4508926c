"""What runs during a soak: Postgres, the five services as processes under their roles, and a reader
that keeps its snapshot.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.roles import dsn_as, make_logins
from tests.soak.load import WRITERS, Ear, Ledger
from tests.soak.worker import EAR

from model_stub.config import StubSettings
from model_stub.server import Stub
from reveille.database import Connection, Pool, connect, connect_pool
from reveille.embedded import EmbeddedPostgres
from reveille.migrate import migrate
from reveille.processes import Child, start_module
from reveille.stack import free_port
from reveille.testing import eventually

WORKERS = {"visual-1": "visual_worker", "text-1": "text_worker", "text-2": "text_worker"}
SERVICES = ("queue_gateway", "heartbeat_monitor", "autoscaler")
START_SECONDS_MAX = 60.0
DAY_SECONDS = 86_400.0
CLOCK = "SELECT clock_timestamp()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How it is run. Finished tasks move to the archive after `archive_after_seconds`, looked for
    every `archive_seconds`.
    """

    rate: float
    seconds: float
    reader_from_seconds: float
    reader_until_seconds: float
    sample_seconds: float = 10.0
    archive_after_seconds: float = 60.0
    archive_seconds: float = 20.0
    slots: int = 10


class Stage:
    """All that runs. `admin` is a connection of the superuser's."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.folder = folder
        self.ledger = Ledger()
        self.children: dict[str, Child] = {}
        self.ports: dict[str, int] = {}  # of each service's HTTP
        self.postgres = EmbeddedPostgres(durable=True, trust=True)
        self.admin: Connection
        self.backend: Pool
        self._reader: Connection | None = None
        self.read_between: list[datetime] = []  # the database's clock

    @property
    def dsn(self) -> str:
        """The superuser's."""
        return self.postgres.dsn

    async def all_active(self) -> bool:
        """Whether every worker takes tasks."""
        active = "SELECT count(*) FROM processing_servers WHERE status = 'active'"
        return bool(await self.admin.fetchval(active) == len(WORKERS))

    def start(self, name: str, module: str, environment: dict[str, str]) -> None:
        """A service, as the orchestrator of a real system would."""
        command = (module,)
        if module.endswith("worker"):
            command = ("tests.soak.worker", module)
            environment = environment | {"REVEILLE_SERVER_ID": name}
        self.ports[name] = free_port()
        self.children[name] = start_module(
            *command,
            environment=environment
            | {
                "DATABASE_URL": dsn_as(self.dsn, module),
                "REVEILLE_HTTP_PORT": str(self.ports[name]),
            },
            log_path=self.folder / f"{name}.log",
            name=name,
        )

    async def open_reader(self) -> None:
        """A report that takes for ever: a snapshot of everything, kept."""
        reader = self._reader = await connect(
            self.dsn,
            application_name="soak reader",
            statement_seconds_max=0,
            idle_in_transaction_seconds_max=0,
        )
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        await reader.fetchval("SELECT count(*) FROM processing_queue_all")
        self.read_between.append(await reader.fetchval(CLOCK))

    async def close_reader(self) -> None:
        """At last."""
        if self._reader is not None:
            self.read_between.append(await self._reader.fetchval(CLOCK))
            await self._reader.execute("COMMIT")
            await self._reader.close()
            self._reader = None


@asynccontextmanager
async def stage_for(setting: Setting, folder: Path) -> AsyncIterator[Stage]:
    """Everything up, workers active; everything ended afterwards."""
    stage = Stage(setting, folder)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, stage.postgres.close)
        await asyncio.to_thread(stage.postgres.start)
        await migrate(stage.dsn)
        stage.admin = await connect(
            stage.dsn, application_name="soak audit", statement_seconds_max=0
        )
        stack.callback(stage.admin.terminate)
        await make_logins(stage.admin)
        stub = Stub(StubSettings(port=0))
        await stub.start()
        stack.push_async_callback(stub.stop)
        environment = _environment(setting, folder, stub.url)
        await _hear(stage, environment[EAR], stack)
        stack.push_async_callback(_end, stage)
        for name, module in (*WORKERS.items(), *((name, name) for name in SERVICES)):
            stage.start(name, module, environment)
        stage.backend = await connect_pool(
            dsn_as(stage.dsn, "backend"), application_name="soak backend", max_size=WRITERS
        )
        stack.callback(stage.backend.terminate)
        await eventually(stage.all_active, within_seconds=START_SECONDS_MAX)
        yield stage


def _environment(setting: Setting, folder: Path, model_url: str) -> dict[str, str]:
    return {
        "OLLAMA_HOST": model_url,
        "REVEILLE_PROVIDER": "static",
        "REVEILLE_LOG_JSON": "true",
        "REVEILLE_LOG_LEVEL": "warning",
        "REVEILLE_SLOTS": str(setting.slots),
        "REVEILLE_ARCHIVE_AFTER_DAYS": str(setting.archive_after_seconds / DAY_SECONDS),
        "REVEILLE_ARCHIVE_SECONDS": str(setting.archive_seconds),
        EAR: str(folder / "ear"),
    }


async def _hear(stage: Stage, path: str, stack: AsyncExitStack) -> None:
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    ear.setblocking(False)
    ear.bind(path)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Ear(stage.ledger), sock=ear
    )
    stack.callback(transport.close)


async def _end(stage: Stage) -> None:
    for child in stage.children.values():
        child.ask_to_stop()
    for child in stage.children.values():
        await asyncio.to_thread(child.stop, wait_seconds=20)
