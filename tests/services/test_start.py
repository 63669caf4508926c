"""The start of a service whose database does not answer yet."""

import asyncio
import os
import signal
import socket
import sys

import pytest

from reveille.database import DATABASE_ERRORS
from reveille.lifecycle import Service
from reveille.settings import Settings
from reveille.telemetry import configure
from reveille.testing import Database


async def test_service_that_waits_for_its_database_ends_well_when_told_to() -> None:
    """A rolling restart beside a database that is down is no crash of the service."""
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        dsn = f"postgresql://nobody@127.0.0.1:{taken.getsockname()[1]}/nothing"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "heartbeat_monitor"),
            env=os.environ | {"DATABASE_URL": dsn, "REVEILLE_HTTP_PORT": "0"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        assert process.stdout is not None
        said = b""
        async with asyncio.timeout(60):
            while b"database_retry" not in said:
                line = await process.stdout.readline()
                assert line, said.decode()
                said += line
            process.send_signal(signal.SIGTERM)
            said += await process.stdout.read()
            status = await process.wait()

    assert status == 0, said.decode()
    assert b"Traceback" not in said


@pytest.mark.parametrize("told_to_stop", [True, False])
async def test_database_that_goes_between_connection_and_start(
    database: Database, told_to_stop: bool
) -> None:
    """Told to stop there, a service has ended as it should; not told to, its crash is reported."""

    class Unlucky(Service):
        async def setup(self) -> None:
            if told_to_stop:
                os.kill(os.getpid(), signal.SIGTERM)
                await self.stopping.wait()
            await self.pool.fetchval("SELECT pg_terminate_backend(pg_backend_pid())")

    settings = Settings(database_url=database.dsn, http_port=0)  # type: ignore[arg-type]
    service = Unlucky(settings, configure("unlucky"))
    if told_to_stop:
        await service.run()
    else:
        with pytest.raises(DATABASE_ERRORS):
            await service.run()
