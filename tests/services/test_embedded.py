"""The embedded Postgres as a process: it starts, survives what it should, and never outlives us."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest

from reveille import embedded, postgres_binaries
from reveille.embedded import EmbeddedPostgres, PostgresError
from reveille.errors import ConfigurationError
from reveille.postgres_binaries import find_binaries, reachable, unprivileged_user
from reveille.testing import eventually

OWNER = """
import sys
from reveille.embedded import EmbeddedPostgres
with EmbeddedPostgres(trust=True) as postgres:
    print(postgres.pid, postgres.log_path.parent, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def kept_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder for kept data that the server's user can reach; pytest's own is closed to others."""
    if unprivileged_user() is None:
        yield tmp_path / "kept"
        return
    folder = Path(f"/var/tmp/reveille-test-{os.getpid()}")  # noqa: S108 - gone after the test
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def _ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_server_answers_on_loopback_only_and_asks_for_its_password() -> None:
    """Others on the same machine get neither in nor, through COPY PROGRAM, to our files."""
    with EmbeddedPostgres() as postgres:
        assert await _ask(postgres.dsn, "SHOW listen_addresses") == "127.0.0.1"
        address = urlsplit(postgres.dsn)
        guess = postgres.dsn.replace(str(address.password), "guess")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _ask(guess, "SELECT 1")


async def test_throwaway_server_leaves_nothing() -> None:
    """After the with block neither a process nor a file is left."""
    with EmbeddedPostgres(trust=True) as postgres:
        pid, folder = postgres.pid, postgres.log_path.parent
        assert psutil.pid_exists(pid)
        assert folder.is_dir()

    assert not psutil.pid_exists(pid)
    assert not folder.exists()


async def test_settings_reach_the_server_and_durability_is_a_choice() -> None:
    """Tests run without fsync; who wants durability gets it."""
    with EmbeddedPostgres(trust=True, durable=True, settings={"work_mem": "9MB"}) as postgres:
        assert await _ask(postgres.dsn, "SHOW work_mem") == "9MB"
        assert await _ask(postgres.dsn, "SHOW fsync") == "on"
        assert await _ask(postgres.dsn, "SHOW server_encoding") == "UTF8"


@pytest.mark.parametrize("how", ["restart", "kill", "stop"])
async def test_same_address_and_data_after(how: str) -> None:
    """A restart, a crash or a pause changes neither the DSN nor what was committed."""
    with EmbeddedPostgres(trust=True) as postgres:
        dsn = postgres.dsn
        await _ask(dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        await _ask(dsn, "CHECKPOINT")
        getattr(postgres, how)()
        if how != "restart":
            with pytest.raises(OSError, match="Connect"):
                await _ask(dsn, "SELECT 1")
            postgres.start()

        assert postgres.dsn == dsn
        assert await _ask(dsn, "SELECT n FROM kept") == 7


async def test_kept_folder_is_used_again(kept_dir: Path) -> None:
    """`reveille up` finds its data the next day, under the same password."""
    with EmbeddedPostgres(kept_dir, durable=True) as postgres:
        await _ask(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        password = urlsplit(postgres.dsn).password

    with EmbeddedPostgres(kept_dir, durable=True) as postgres:
        assert await _ask(postgres.dsn, "SELECT n FROM kept") == 7
        assert urlsplit(postgres.dsn).password == password


async def test_second_server_on_the_same_folder_is_refused(kept_dir: Path) -> None:
    """Two servers on one folder would destroy it; the error is Postgres' own words."""
    with EmbeddedPostgres(kept_dir) as postgres:
        with pytest.raises(PostgresError, match=r"postmaster\.pid"):
            EmbeddedPostgres(kept_dir).start()

        assert await _ask(postgres.dsn, "SELECT 1") == 1


async def test_port_taken_in_the_last_moment_means_another_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Between finding a free port and using it somebody else may come."""
    free_port = embedded._free_port
    with socket.create_server(("127.0.0.1", 0)) as rival:
        taken = rival.getsockname()[1]
        ports = iter([taken])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or free_port())
        with EmbeddedPostgres(trust=True) as postgres:
            assert postgres.port != taken
            assert await _ask(postgres.dsn, "SELECT 1") == 1


def test_wrong_setting_is_reported_with_the_servers_words() -> None:
    """Whoever mistypes a setting reads so, and no half-started server stays."""
    with pytest.raises(PostgresError, match="no_such_setting"):
        EmbeddedPostgres(trust=True, settings={"no_such_setting": "1"}).start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_server_ends_with_its_owner(number: signal.Signals) -> None:
    """However the owner dies, server and folder go; SIGKILL leaves it no time to see to that."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    pid, folder = owner.stdout.readline().split()
    owner.send_signal(number)
    owner.communicate()

    await eventually(lambda: not psutil.pid_exists(int(pid)))
    await eventually(lambda: not Path(folder).exists())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a parent-death signal")
async def test_server_ends_with_its_supervisor() -> None:
    """The one who watches may be killed too."""
    postgres = EmbeddedPostgres(trust=True)
    postgres.start()
    pid = postgres.pid
    assert postgres._supervisor is not None
    os.kill(postgres._supervisor.pid, signal.SIGKILL)

    await eventually(lambda: not _runs(pid))
    postgres.close()


def _runs(pid: int) -> bool:
    """Orphans may stay as zombies where nobody reaps them."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def test_binaries_named_by_the_environment_come_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wrong REVEILLE_PG_BIN is an error and not silently passed over."""
    monkeypatch.setenv("REVEILLE_PG_BIN", str(tmp_path))

    with pytest.raises(ConfigurationError, match="REVEILLE_PG_BIN"):
        find_binaries()


def test_without_any_server_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A laptop without Postgres and without the extra gets one sentence of advice."""
    monkeypatch.delenv("REVEILLE_PG_BIN", raising=False)
    monkeypatch.setattr(postgres_binaries, "_found", lambda: iter(()))

    with pytest.raises(ConfigurationError, match=r"reveille\[demo\]"):
        find_binaries()


async def test_wheel_works_from_a_copy_that_another_user_can_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Root's virtual environment under /root is closed to the user that Postgres runs as."""
    wheel = next(postgres_binaries._in_wheel(), None)
    if wheel is None:
        pytest.skip("the extra `demo` is not installed")
    monkeypatch.setattr(embedded, "find_binaries", lambda *, major=None: wheel)
    monkeypatch.setattr(embedded, "reachable", lambda path, user: wheel.bin_dir not in path.parents)
    with EmbeddedPostgres(trust=True) as postgres:
        assert postgres._binaries is not None
        assert postgres._binaries.bin_dir != wheel.bin_dir
        assert str(await _ask(postgres.dsn, "SHOW server_version")).startswith(wheel.version)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands over to another user")
def test_folder_that_the_servers_user_cannot_enter_is_refused(tmp_path: Path) -> None:
    """As root: data under a closed folder is an error that says why, not a failing initdb."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)

    assert not reachable(closed / "data", unprivileged_user())
    with pytest.raises(ConfigurationError, match="cannot enter"):
        EmbeddedPostgres(closed / "data").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_ordinary_user_can_start_a_server() -> None:
    """No step needs root; tried from root by becoming nobody."""
    user = unprivileged_user()
    source = Path(embedded.__file__).parents[1]
    python = next(_pythons_for(user), None)
    if python is None or not reachable(source / "reveille", user):
        pytest.skip("another user cannot enter the folder of a Python 3.11 or of this checkout")
    answer = subprocess.run(
        [python, "-c", OWNER],
        input="",
        capture_output=True,
        text=True,
        user=user,
        extra_groups=[],
        cwd="/",
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{source}:{Path(pytest.__file__).parents[1]}",
        },
        check=False,
    )

    assert answer.returncode == 0, answer.stderr


def _pythons_for(user: str | None) -> Iterator[str]:
    """Ours, or the system's: embedded.py needs nothing but the standard library."""
    for python in (sys.executable, "/usr/bin/python3"):
        modern = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        here = Path(python).exists() and reachable(Path(python).resolve(), user)
        if here and subprocess.run(modern, check=False).returncode == 0:
            yield python
