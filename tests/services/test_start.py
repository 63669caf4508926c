"""The start of a service whose database does not answer yet."""

import asyncio
import os
import signal
import socket
import sys


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
