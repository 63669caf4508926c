"""A gateway as a process, asked by schemathesis for whatever its OpenAPI document allows and forbids."""

import asyncio
import hashlib
import sys
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from reveille.processes import Child, start_module
from reveille.stack import free_port
from reveille.testing import Database, eventually

ROOT = Path(__file__).parents[2]
DECK = ROOT / "examples" / "cardiosense_pitch.pdf"
FOLDER = Path(__file__).parent / "asked_anything"

# Rows of every kind and state, so that what is asked for is there now and then: small ids and short
# names are what a generator tries first.
ROWS = """
SELECT enqueue_document(1);
INSERT INTO processing_queue (document_id, task_type)
    SELECT n, 'visual_analysis' FROM generate_series(2, 5) AS n;
UPDATE processing_queue SET status = 'failed' WHERE document_id = 3;
UPDATE processing_queue SET status = 'completed' WHERE document_id = 4;
UPDATE processing_queue SET status = 'cancelled' WHERE document_id = 5;
INSERT INTO processing_servers (id, server_type, capabilities) VALUES ('0', 'gpu', '{"visual_analysis": true}');
INSERT INTO containers (name, pool, provider, state, slot)
    VALUES ('0', 'visual', 'process', 'ready', 0), ('1', 'text', 'process', 'stopped', 0);
"""


async def answers(url: str, child: Child) -> bool:
    assert child.alive, child.log_tail()
    try:
        async with ClientSession() as session, session.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except ClientError:
        return False


@pytest.mark.timeout(600)  # 1,200 requests: 15 s of one core, many times that on a busy machine
async def test_whatever_is_asked_the_answer_is_one_that_the_document_names(
    database: Database, tmp_path: Path
) -> None:
    """No 500, no status, media type or form that is not documented, nothing taken that is forbidden."""
    content = DECK.read_bytes()
    await database.execute(
        "INSERT INTO documents (filename, sha256, size_bytes, content) VALUES ('d.pdf', $1, $2, $3)",
        hashlib.sha256(content).hexdigest(),
        len(content),
        content,
    )
    await database.execute(ROWS)
    port = free_port()
    gateway = start_module(
        "queue_gateway",
        environment={
            "DATABASE_URL": database.dsn,
            "REVEILLE_HTTP_PORT": str(port),
            "REVEILLE_REQUESTS_PER_SECOND_MAX": "0",
        },
        log_path=tmp_path / "gateway.log",
    )
    try:
        url = f"http://127.0.0.1:{port}"
        await eventually(lambda: answers(url, gateway), within_seconds=30)
        asking = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(FOLDER / "schemathesis.toml")),
            *("run", f"{url}/openapi.json"),
            *("--phases", "coverage,fuzzing", "--max-examples", "2", "--generation-deterministic"),
            *("--suppress-health-check", "all"),  # a generator that is slow: so is the machine
            *("--checks", "all", "--continue-on-failure", "--no-shrink", "--warnings", "off"),
            *("--exclude-path-regex", "/events$"),  # they never end
            *("--request-timeout", "60"),
            cwd=tmp_path,  # it leaves a folder of examples
            env={"SCHEMATHESIS_HOOKS": str(FOLDER / "hooks.py"), "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await asking.communicate()
    finally:
        await asyncio.to_thread(gateway.stop, wait_seconds=10)

    log = gateway.log_path.read_text()
    assert asking.returncode == 0, said.decode()
    assert "request_failed" not in log
    assert "Traceback" not in log
