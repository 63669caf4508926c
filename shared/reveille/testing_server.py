"""Which Postgres the tests run on: $TEST_DATABASE_URL, a container, or an embedded one.

The first that can be had, in this order. A container counts only where a Docker daemon answers and
has the image, or can pull it in reasonable time; everywhere else the embedded server takes over.
"""

import os
import subprocess
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from reveille.embedded import NOT_DURABLE, EmbeddedPostgres
from reveille.postgres_binaries import find_binaries

IMAGE = "postgres:17"
PULL_SECONDS_MAX = 120.0
CONNECTIONS_MAX = "300"
DOCKER_SOCKET = Path("/var/run/docker.sock")


class PostgresServer(ABC):
    """A server to start once per test run. `description` is for the run's header."""

    description: str
    started = False

    @abstractmethod
    def start(self) -> str:
        """The DSN of a user who may create databases; started by the first call."""

    @abstractmethod
    def stop(self) -> None:
        """End what `start` began."""


class GivenServer(PostgresServer):
    """The one that $TEST_DATABASE_URL names: neither started nor stopped here."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.description = "TEST_DATABASE_URL"

    def start(self) -> str:
        """As it was given."""
        self.started = True
        return self._dsn

    def stop(self) -> None:
        """Nothing: it is not ours."""


class EmbeddedServer(PostgresServer):
    """A process of this machine, gone with the test run, also with one that is killed."""

    def __init__(self) -> None:
        binaries = find_binaries()
        origin = "from the wheel" if binaries.from_wheel else f"in {binaries.bin_dir}"
        self.description = f"embedded {binaries.version} {origin}"
        self._postgres: EmbeddedPostgres | None = None

    def start(self) -> str:
        """About one second."""
        if self._postgres is None:
            self._postgres = EmbeddedPostgres(
                trust=True, settings={"max_connections": CONNECTIONS_MAX}
            )
            self._postgres.start()
            self.started = True
        return self._postgres.dsn

    def stop(self) -> None:
        """With all databases."""
        if self._postgres is not None:
            self._postgres.close()


class ContainerServer(PostgresServer):
    """A container; testcontainers' reaper removes it when the run is killed."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._container: Any = None
        self._dsn = ""
        self.description = f"container {image}"

    def start(self) -> str:
        """Some seconds."""
        if self._container is None:
            from testcontainers.postgres import PostgresContainer

            options = NOT_DURABLE | {"max_connections": CONNECTIONS_MAX}
            flags = " ".join(f"-c {name}={value}" for name, value in options.items())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its own deprecations are not ours to fail on
                self._container = PostgresContainer(self._image, driver=None).with_command(flags)
                self._container.start()
                self._dsn = self._container.get_connection_url()
            self.started = True
        return self._dsn

    def stop(self) -> None:
        """With all databases."""
        if self._container is not None:
            self._container.stop()


def choose_server() -> PostgresServer:
    """The first of the three that can be had. Raises ConfigurationError when none can."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        return GivenServer(given)
    image = os.environ.get("REVEILLE_TEST_POSTGRES_IMAGE", IMAGE)
    if _docker_answers() and _image_is_here(image):
        return ContainerServer(image)
    return EmbeddedServer()


def _docker_answers() -> bool:
    """Asked through the command: it knows of contexts and remote hosts, and can be timed out."""
    if not ("DOCKER_HOST" in os.environ or DOCKER_SOCKET.exists()):
        return False
    return _docker("version", "--format", "{{.Server.Version}}", seconds_max=5)


def _image_is_here(image: str) -> bool:
    if _docker("image", "inspect", image, seconds_max=10):
        return True
    return _docker("pull", "--quiet", image, seconds_max=PULL_SECONDS_MAX)


def _docker(*arguments: str, seconds_max: float) -> bool:
    try:
        answer = subprocess.run(  # noqa: S603 - arguments are ours
            ["docker", *arguments],  # noqa: S607 - looking on the PATH is the point
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds_max,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
