"""Docker for the conformance suite: the engine's stand-in, and a real engine where one answers."""

import asyncio
import fcntl
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from tests.providers.docker_fake import FakeEngine, running_engine

from autoscaler.docker_settings import DockerSettings
from autoscaler.provider import Provider, ProviderError
from autoscaler.providers.docker import DockerProvider
from autoscaler.providers.docker.engine import Engine, EngineError
from reveille.testing import eventually

PREFIX = "reveille"
TEST_IMAGE = "reveille-conformance:1"
# PID 1 is docker-init, which hands SIGTERM on; `wait` makes the shell hear it at once.
WAITER = "sh -c 'trap \"exit 0\" TERM; while :; do sleep 60 & wait $!; done'"


def provider_on(socket: str, **settings: object) -> DockerProvider:
    """A provider on the engine behind `socket`."""
    return DockerProvider(
        DockerSettings(docker_host=socket, **settings),  # type: ignore[arg-type]
        prefix=PREFIX,
        surroundings={"DATABASE_URL": "postgresql://there", "HOME": "/root"},
        grace_seconds=5,
    )


class FakeDockerWorld:
    """The stand-in."""

    restarts_ended = False

    def __init__(self, socket: Path, engine: FakeEngine, runner: web.AppRunner) -> None:
        self._socket = socket
        self._runner = runner
        self.engine = engine

    @property
    def host(self) -> str:
        """As DOCKER_HOST has it."""
        return f"unix://{self._socket}"

    def open(self) -> Provider:
        """Over the stand-in's socket."""
        return provider_on(self.host)

    async def until_running(self, name: str) -> None:
        """It runs as soon as it is started."""
        await eventually(
            lambda: (
                name in self.engine.containers and self.engine.containers[name].state == "running"
            )
        )

    async def running(self) -> set[str]:
        """As the stand-in has it."""
        return {c.name for c in self.engine.containers.values() if c.state == "running"}

    async def environment(self, name: str) -> Mapping[str, str]:
        """From the body of the call that created it."""
        return dict(word.split("=", 1) for word in self.engine.containers[name].body["Env"])

    async def end(self, name: str) -> None:
        """With an exit code."""
        self.engine.end(name, exit_code=1)

    async def add_foreign(self, name: str) -> None:
        """Without our label."""
        self.engine.add(name)

    async def break_down(self) -> None:
        """Nobody listens on the socket any more."""
        await self._runner.cleanup()


@asynccontextmanager
async def fake_docker_world(_: Path) -> AsyncIterator[FakeDockerWorld]:
    """In a folder with a short name: a socket's path may have 107 bytes."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "docker.sock"
        async with running_engine(socket) as (engine, runner):
            yield FakeDockerWorld(socket, engine, runner)


class RealDockerWorld:
    """The engine that DOCKER_HOST names, or the one on the usual socket."""

    restarts_ended = False

    def __init__(self, host: str, engine: Engine) -> None:
        self._host = host
        self._engine = engine
        self._foreign: list[str] = []

    def open(self) -> Provider:
        """Over the same engine, until it breaks down."""
        return provider_on(
            self._host,
            docker_image=TEST_IMAGE,
            docker_pull="never",
            docker_network="none",
            docker_command=WAITER,
        )

    async def until_running(self, name: str) -> None:
        """As the engine has it."""

        async def runs() -> bool:
            return name in await self.running()

        await eventually(runs)

    async def running(self) -> set[str]:
        """Of all labels: foreign ones are ours to know by name only."""
        shown = await self._engine.get("/containers/json")
        names = {container["Names"][0].lstrip("/") for container in shown}
        return {n for n in names if n.startswith(f"{PREFIX}-") or n in self._foreign}

    async def environment(self, name: str) -> Mapping[str, str]:
        """As the engine gave it."""
        shown = await self._engine.get(f"/containers/{name}/json")
        return dict(word.split("=", 1) for word in shown["Config"]["Env"])

    async def end(self, name: str) -> None:
        """It is killed."""
        await self._engine.post(f"/containers/{name}/kill")
        await self._engine.post(f"/containers/{name}/wait")

    async def add_foreign(self, name: str) -> None:
        """Without our label."""
        body = {
            "Image": TEST_IMAGE,
            "Cmd": ["sleep", "60"],
            "HostConfig": {"NetworkMode": "none", "Init": True},
        }
        await self._engine.post("/containers/create", body, name=name)
        await self._engine.post(f"/containers/{name}/start")
        self._foreign.append(name)

    async def break_down(self) -> None:
        """The real one is nobody's to break."""
        pytest.skip("a real engine is not taken down for a test")

    async def clear(self) -> None:
        """Nothing outlives the test."""
        label = json.dumps({"label": [f"dev.reveille.prefix={PREFIX}"]})
        shown = await self._engine.get("/containers/json", all="true", filters=label)
        ours = [c["Id"] for c in shown if c["Image"] == TEST_IMAGE]
        for container in (*ours, *self._foreign):
            await self._engine.delete(f"/containers/{container}", force="true", v="true")


@asynccontextmanager
async def real_docker_world(_: Path) -> AsyncIterator[RealDockerWorld]:
    """One test at a time: the names are the same in all of them."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    engine = Engine(host)
    try:
        with (Path(tempfile.gettempdir()) / "reveille-docker-test.lock").open("w") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            await _prepare(host, engine)
            world = RealDockerWorld(host, engine)
            try:
                yield world
            finally:
                await world.clear()
    finally:
        await engine.close()


async def _prepare(host: str, engine: Engine) -> None:
    """Skip without an engine, or where our names are taken; else have the test's image."""
    try:
        shown = await engine.get("/containers/json", all="true")
    except ProviderError as error:
        pytest.skip(str(error))
    if any(c["Names"][0].startswith(f"/{PREFIX}-") for c in shown):
        pytest.skip("this engine has containers of an installation of Reveille")
    try:
        await engine.get(f"/images/{TEST_IMAGE}/json")
    except EngineError:
        await _import_image(host)


async def _import_image(host: str) -> None:
    """This machine's `sh` and `sleep` with their libraries: nothing has to be pulled."""
    if not host.startswith("unix://") or shutil.which("ldd") is None:
        pytest.skip("the test's image is made of this machine's programs, for an engine on it")
    name, _, tag = TEST_IMAGE.partition(":")
    connector = aiohttp.UnixConnector(path=host.removeprefix("unix://"))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(
            "http://docker/images/create",
            params={"fromSrc": "-", "repo": name, "tag": tag},
            data=_archive("sh", "sleep"),
            headers={"Content-Type": "application/x-tar"},
        ) as answer,
    ):
        assert answer.status == 200, await answer.text()


def _archive(*programs: str) -> io.BytesIO:
    files = {f"/bin/{program}": str(shutil.which(program)) for program in programs}
    for program in list(files.values()):
        shown = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        files |= {library: library for library in re.findall(r"(/\S+) \(0x", shown.stdout)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in sorted({str(p) for file in files for p in Path(file).parents}):
            if folder != "/":
                entry = tarfile.TarInfo(folder.lstrip("/"))
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
        for name, source in files.items():
            archive.add(Path(source).resolve(), arcname=name.lstrip("/"))
    buffer.seek(0)
    return buffer
