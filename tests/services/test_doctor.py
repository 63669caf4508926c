"""`reveille doctor`: each thing that is wrong is named, with what to do; nothing is blamed in vain."""

import asyncio
import getpass
import json
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.providers.verda_fake import CLIENT_ID, CLIENT_SECRET, FakeVerda
from tests.providers.verda_world import serving
from typer.testing import CliRunner

from model_stub.server import running_stub
from reveille.cli import doctor
from reveille.cli.app import app
from reveille.otlp_sink import OtlpSink
from reveille.testing import Database, eventually

PGBOUNCER = shutil.which("pgbouncer")

Examine = Callable[[], Awaitable[dict[str, tuple[str, str]]]]


@pytest.fixture
def examine(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Examine:
    """Verdict and detail of each check, in an environment where only the database is set."""
    for name in ("OLLAMA_HOST", "REVEILLE_OTLP_ENDPOINT", "REVEILLE_DOCUMENT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database.dsn)
    monkeypatch.chdir(tmp_path)

    async def invoke() -> dict[str, tuple[str, str]]:
        result = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])
        found: list[dict[str, Any]] = json.loads(result.stdout)
        problems = [f for f in found if f["verdict"] == "PROBLEM"]
        assert result.exit_code == bool(problems)
        return {f["check"]: (f["verdict"], f["detail"]) for f in found}

    return invoke


async def test_sound_system_passes(
    database: Database, examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Database, LISTEN, services, model server, provider, documents, collector: all well."""
    await database.execute(
        "INSERT INTO uptime_spans (part, instance) VALUES ('gateway', 'a'), ('monitor', 'b')"
    )
    monkeypatch.setenv("REVEILLE_DOCUMENT_ROOT", str(tmp_path))
    async with running_stub() as stub, OtlpSink() as sink:
        monkeypatch.setenv("OLLAMA_HOST", stub.url)
        monkeypatch.setenv("REVEILLE_OTLP_ENDPOINT", sink.url)
        found = await examine()
    wrong = {name: said for name, said in found.items() if said[0] == "PROBLEM"}
    assert wrong == {}
    assert found["services"][1] == ("well: gateway, monitor; not heard of lately: autoscaler")
    assert set(found) == {
        *(
            "program",
            "database",
            "connection",
            "TLS",
            "LISTEN",
            "snapshots",
            "clock",
            "schema",
            "services",
        ),
        *("servers", "queue", "notifications", "model server", "provider process"),
        *("documents", "traces"),
    }


async def test_what_is_missing_around_is_named_with_what_to_do(
    database: Database, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody at the addresses, no folder, no model, credentials that are not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("OLLAMA_HOST", nobody)
        monkeypatch.setenv("REVEILLE_OTLP_ENDPOINT", nobody)
        monkeypatch.setenv("REVEILLE_DOCUMENT_ROOT", "/nowhere/at/all")
        monkeypatch.setenv("REVEILLE_PROVIDER", "verda")
        found = await examine()
    problems = {name for name, said in found.items() if said[0] == "PROBLEM"}
    assert problems >= {"services", "model server", "documents", "traces"}
    assert any(name.startswith("provider") for name in problems)
    assert "start Ollama" in found["model server"][1]


async def test_server_that_is_no_ollama_is_named_and_not_a_traceback(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong port is answered by something: here by words that are no HTTP."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
        monkeypatch.setenv("REVEILLE_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        found = await examine()
    assert found["model server"][0] == found["traces"][0] == "PROBLEM"
    assert "no Ollama" in found["model server"][1]


async def test_model_that_was_not_pulled_is_named(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model server that answers is not enough."""
    async with running_stub() as stub:
        monkeypatch.setenv("OLLAMA_HOST", stub.url)
        monkeypatch.setenv("REVEILLE_TEXT_MODEL", "unheard-of:7b")
        found = await examine()
    verdict, detail = found["model server"]
    assert (verdict, "ollama pull unheard-of:7b" in detail) == ("PROBLEM", True)


@pytest.mark.parametrize(
    ("secret", "verdict", "words"),
    [
        (CLIENT_SECRET, "ok", "answers; 0 containers of ours, 4 prices"),
        ("wrong", "PROBLEM", "check REVEILLE_VERDA_CLIENT_ID"),
    ],
)
async def test_providers_credentials_are_tried(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, secret: str, verdict: str, words: str
) -> None:
    """A wrong key is found before the first container is needed, and the key is not shown."""
    async with serving(FakeVerda()) as (url, _):
        monkeypatch.setenv("REVEILLE_PROVIDER", "verda")
        monkeypatch.setenv("REVEILLE_VERDA_URL", url)
        monkeypatch.setenv("REVEILLE_VERDA_CLIENT_ID", CLIENT_ID)
        monkeypatch.setenv("REVEILLE_VERDA_CLIENT_SECRET", secret)
        monkeypatch.setenv("REVEILLE_VERDA_IMAGE", "registry.test/{pool}:1")
        found = await examine()
    assert found["provider verda"][0] == verdict
    assert words in found["provider verda"][1]
    assert secret not in found["provider verda"][1]


async def test_database_that_is_behind_or_late_is_told(
    database: Database, examine: Examine
) -> None:
    """A task that waits for ten minutes, a worker of another version, one that cannot get ready."""
    await database.execute(
        "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis')"
    )
    await database.execute(
        "UPDATE processing_queue SET claimable_at = reveille_now() - interval '10 minutes'"
    )
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, status, status_reason) "
        "VALUES ('w-1', 'visual_container', 'starting', 'the model is not there')"
    )
    found = await examine()
    assert found["queue"][0] == "PROBLEM"
    assert "reveille pools" in found["queue"][1]
    assert found["servers"] == ("PROBLEM", "w-1: the model is not there")
    await database.execute(
        "DELETE FROM reveille_migrations WHERE version = (SELECT max(version) FROM reveille_migrations)"
    )
    assert "reveille migrate" in (await examine())["schema"][1]


async def test_absent_database_is_the_one_finding_about_it(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hangs on it is left out instead of failing one by one."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DATABASE_URL", f"postgresql://u@127.0.0.1:{taken.getsockname()[1]}/d")
        found = await examine()
    assert found["database"][0] == "PROBLEM"
    assert "LISTEN" not in found


@pytest.fixture
def pooler(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The test's database through a PgBouncer in transaction mode; its DSN."""
    assert PGBOUNCER is not None
    direct = urlsplit(database.dsn)
    name = direct.path[1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    to = f"host={direct.hostname} port={direct.port} user={direct.username} dbname={name}"
    if direct.password:
        to += f" password={direct.password}"
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    (folder / "ini").write_text(
        f"[databases]\n{name} = {to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
        f"unix_socket_dir =\nauth_type = any\npool_mode = transaction\n"
        f"ignore_startup_parameters = {request.param}\n"
    )
    command = [PGBOUNCER, str(folder / "ini")]
    if getpass.getuser() == "root":
        for path in (*tmp_path.parents[:2], tmp_path, folder):
            path.chmod(0o755)
        command[1:1] = ["-u", "nobody"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"postgresql://{direct.username}@127.0.0.1:{port}/{name}"
    finally:
        running.kill()
        running.wait()


OURS = (
    "extra_float_digits,statement_timeout,lock_timeout,idle_in_transaction_session_timeout,"
    "application_name,search_path,jit,tcp_keepalives_idle"
)


@pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer is installed")
@pytest.mark.parametrize("pooler", ["extra_float_digits", OURS], indirect=True)
async def test_transaction_pooler_is_recognised(
    pooler: str, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it refuses our settings or swallows them: the way out is named."""
    address = urlsplit(pooler)

    def open_() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address.hostname or "", address.port or 0)) == 0

    await eventually(open_)
    monkeypatch.setenv("DATABASE_URL", pooler)
    found = await examine()
    problems = {name: said[1] for name, said in found.items() if said[0] == "PROBLEM"}
    told = problems.get("LISTEN") or problems["database"]
    assert "address of Postgres itself" in told


async def test_session_that_keeps_an_old_snapshot_is_named(
    database: Database, examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds vacuum back is found by the process id and the name it gave."""
    monkeypatch.setattr(doctor, "SNAPSHOT_SECONDS_MAX", 0.0)
    async with database.connect() as reader:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM processing_queue")
        verdict, detail = (await examine())["snapshots"]
        assert verdict == "note"
        assert f"process {reader.get_server_pid()} " in detail
        assert "idle in transaction" in detail
