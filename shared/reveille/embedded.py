"""A Postgres of one's own: for the demo, for tests, for `reveille up` on a laptop.

Owns one server process and one folder. Nothing is asked of the machine: no account, no service,
no container; binaries come from postgres_binaries.py. The server listens on 127.0.0.1 on a free
port, asks for a password that is drawn anew for each folder, and ends when this process ends,
also by SIGKILL (postgres_supervisor.py sees to that).
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from reveille import postgres_supervisor
from reveille.errors import ConfigurationError, ReveilleError
from reveille.postgres_binaries import (
    Binaries,
    copied,
    find_binaries,
    reachable,
    unprivileged_user,
)

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}
SUPERUSER = "postgres"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
POLL_SECONDS = 0.01

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # no socket: its path may be at most 107 bytes long
    "max_connections": "300",
    "timezone": "UTC",
    "log_checkpoints": "off",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresError(ReveilleError):
    """Postgres did not start, or not stop; the message carries the end of its log."""


class EmbeddedPostgres:
    """`with EmbeddedPostgres() as postgres:` starts a server and `postgres.dsn` leads to it.

    `data_dir` keeps the data in that folder, which may be used again; without it everything is
    thrown away at the end. `durable=False` trades safety in a power cut for speed. `trust=True`
    leaves the password out (tests: it saves 10 ms per connection). `settings` are those of
    postgresql.conf, `environment` is what the server sees beside ours. Raises ConfigurationError or
    PostgresError.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        durable: bool = False,
        trust: bool = False,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self._kept = data_dir
        self._environment = dict(environment or {})
        self._settings = SETTINGS | ({} if durable else NOT_DURABLE) | dict(settings or {})
        self._trust = trust
        self._user = unprivileged_user()
        self._folder: Path | None = None
        self._binaries: Binaries | None = None
        self._supervisor: subprocess.Popen[str] | None = None
        self.port = port or 0
        self.pid = 0

    @property
    def dsn(self) -> str:
        """The superuser's address of the database `postgres`."""
        password = "" if self._trust else f":{self._password_file.read_text()}"
        return f"postgresql://{SUPERUSER}{password}@127.0.0.1:{self.port}/postgres"

    @property
    def version(self) -> str:
        """The server's version, 17.2, and where it comes from."""
        binaries = self._binaries or find_binaries()
        return f"{binaries.version} ({'wheel' if binaries.from_wheel else binaries.bin_dir})"

    @property
    def log_path(self) -> Path:
        """What the server has to say."""
        return self._home / "server.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start; on the same port and data as before when it ran before. About 1 s, then 0.1 s."""
        try:
            self._prepare()
            self._start_within(time.monotonic() + START_SECONDS_MAX)
        except BaseException:
            self.close()
            raise

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop and keep the data; `start` brings it back. Stopped already: nothing happens."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._signal(SIGNALS[mode])
        self._reap()

    def kill(self) -> None:
        """SIGKILL, as a crash: connections break, what was committed is there after `start`."""
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._signal(signal.SIGKILL)
        self._reap()

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start on the same port."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop for good, and throw the data away unless they were to be kept."""
        self.stop("fast" if self._kept else "immediate")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # the folder: <home>/data, <home>/password, <home>/server.log

    @property
    def _home(self) -> Path:
        home = self._kept or self._folder
        if home is None:
            raise ConfigurationError("this Postgres has not been started")
        return home

    @property
    def _data(self) -> Path:
        return self._home / "data"

    @property
    def _password_file(self) -> Path:
        return self._home / "password"

    def _prepare(self) -> None:
        if self._folder is None:
            self._folder = self._fresh_folder()
        if self._kept is not None:
            self._adopt_kept_folder(self._kept)
        if self._binaries is None:
            self._binaries = self._usable_binaries(self._folder)
        if not (self._data / "PG_VERSION").exists():
            self._initdb(self._binaries)

    def _fresh_folder(self) -> Path:
        for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108
            if parent.is_dir() and reachable(parent / "postgres", self._user):
                folder = Path(tempfile.mkdtemp(prefix="reveille-postgres-", dir=parent))
                self._give(folder)
                return folder
        raise ConfigurationError(f"no temporary folder that the user {self._user} can enter")

    def _adopt_kept_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not reachable(folder, self._user):
            raise ConfigurationError(
                f"Postgres does not run as root but as {self._user}, who cannot enter {folder}: "
                "choose a data folder elsewhere, such as one under /var/lib"
            )
        self._give(folder)

    def _give(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user)

    def _usable_binaries(self, folder: Path) -> Binaries:
        version = self._data / "PG_VERSION"
        major = int(version.read_text()) if version.exists() else None
        binaries = find_binaries(major=major)
        if reachable(binaries.bin_dir / "postgres", self._user):
            return binaries
        if not binaries.from_wheel:
            raise ConfigurationError(
                f"the user {self._user}, as whom Postgres must run, cannot enter {binaries.bin_dir}"
            )
        folder.chmod(0o755)
        return copied(binaries, folder)

    def _initdb(self, binaries: Binaries) -> None:
        self._password_file.write_text(secrets.token_urlsafe(18))
        self._password_file.chmod(0o600)
        self._give(self._password_file)
        # C.UTF-8 sorts by code point and knows letters beyond ASCII; where it does not exist, C.
        for locale in ("C.UTF-8", "C"):
            shutil.rmtree(self._data, ignore_errors=True)
            answer = self._run_initdb(binaries, locale)
            if answer.returncode == 0:
                return
        raise PostgresError(f"initdb failed: {answer.stderr.strip()}")

    def _run_initdb(self, binaries: Binaries, locale: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - binaries found by find_binaries
            [
                binaries.bin_dir / "initdb",
                f"--pgdata={self._data}",
                f"--username={SUPERUSER}",
                f"--auth={'trust' if self._trust else 'scram-sha-256'}",
                f"--pwfile={self._password_file}",
                f"--locale={locale}",
                "--encoding=UTF8",
                "--no-sync",
                "--no-instructions",
            ],
            cwd=self._home,
            env=_environment(),
            user=self._user,
            group=_group(self._user),
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            timeout=START_SECONDS_MAX,
            check=False,
        )

    # the process

    def _start_within(self, deadline: float) -> None:
        """A port found free may be taken a moment later, so a collision means another try."""
        port_is_known = self.port != 0
        while True:
            self.port = self.port if port_is_known else _free_port()
            self._spawn()
            if self._became_ready(deadline):
                return
            self.kill()
            log = self._log_end()
            # after a SIGKILL the backends need a moment to notice that their postmaster is gone
            passing = "Address already in use" in log or "shared memory block" in log
            if time.monotonic() > deadline or not passing:
                raise PostgresError(f"Postgres did not start:\n{log}")
            time.sleep(POLL_SECONDS)

    def _spawn(self) -> None:
        assert self._binaries is not None  # noqa: S101 - _prepare ran
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        postgres = [str(self._binaries.bin_dir / "postgres"), f"-D{self._data}", f"-p{self.port}"]
        throwaway = "" if self._kept else str(self._folder)
        with self.log_path.open("w") as log:
            self._supervisor = subprocess.Popen(  # noqa: S603 - our own script
                [
                    *(sys.executable, "-I", "-S", postgres_supervisor.__file__),
                    *(self._user or "", throwaway),
                    *postgres,
                    *options,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._home,
                env=_environment() | self._environment,
                text=True,
                start_new_session=True,  # Ctrl-C reaches this process first, Postgres last
            )

    def _became_ready(self, deadline: float) -> bool:
        assert self._supervisor is not None  # noqa: S101 - _spawn ran
        assert self._supervisor.stdout is not None  # noqa: S101 - a pipe
        pid = self._supervisor.stdout.readline().strip()
        self.pid = int(pid or 0)
        while self._supervisor.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = (self._data / "postmaster.pid").read_text().splitlines()
                # line 1 is the pid (an old file may lie there), line 8 the state
                if len(lines) >= 8 and lines[0] == pid and lines[7].strip() == "ready":
                    return True
            time.sleep(POLL_SECONDS)
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _reap(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(BrokenPipeError):  # it has ended, as it should
            supervisor.communicate("end it by force, keep the data", STOP_SECONDS_MAX)
        self.pid = 0

    def _log_end(self) -> str:
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-15:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _group(user: str | None) -> int | None:
    return None if user is None else postgres_supervisor.group_of(user)


def _environment() -> dict[str, str]:
    """Ours without PGDATA, PGPORT and the like; messages in English, because we read them."""
    own = {name: value for name, value in os.environ.items() if not re.match(r"PG|LC_|LANG", name)}
    return own | {"LC_ALL": "C"}
