"""A Docker engine's stand-in: the calls that the provider makes, on a unix socket, with the state
they leave behind. Its words and status codes are those that Docker 20.10 gave to the same calls.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web

VERSION = "1.41"


@dataclass
class FakeContainer:
    """A container, and the body it was created with."""

    name: str
    body: dict[str, Any]
    container_id: str = field(default_factory=lambda: uuid4().hex * 2)
    state: str = "created"
    exit_code: int = 0
    oom_killed: bool = False
    logged: bytes = b""

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.body.get("Labels") or {}


class FakeEngine:
    """Faults are fields: a test sets them, the engine behaves so."""

    def __init__(self) -> None:
        self.containers: dict[str, FakeContainer] = {}
        self.images = {"reveille/text-worker:0.1.0", "reveille/visual-worker:0.1.0"}
        self.remote_images = {"registry.test:5000/worker:2"}
        self.has_gpu_driver = False
        self.pull_goes_on = asyncio.Event()
        self.pull_goes_on.set()
        self.pull_breaks = False
        self.nonsense = False
        self.calls: list[str] = []
        self.registry_auth: str | None = None
        self.stop_seconds: list[int] = []

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._faults])
        base = f"/v{VERSION}"
        app.add_routes(
            [
                web.get("/_ping", self._ping),
                web.get(f"{base}/containers/json", self._list),
                web.post(f"{base}/containers/create", self._create),
                web.get(base + "/containers/{id}/json", self._inspect),
                web.get(base + "/containers/{id}/logs", self._logs),
                web.post(base + "/containers/{id}/start", self._start),
                web.post(base + "/containers/{id}/stop", self._stop),
                web.delete(base + "/containers/{id}", self._delete),
                web.get(base + "/images/{name:.+}/json", self._image),
                web.post(f"{base}/images/create", self._pull),
            ]
        )
        return app

    def add(self, name: str, *, state: str = "running", **body: Any) -> FakeContainer:
        """A container that somebody else made."""
        self.containers[name] = FakeContainer(name=name, body=body, state=state)
        return self.containers[name]

    def end(self, name: str, *, exit_code: int, logged: str = "", oom_killed: bool = False) -> None:
        """Its process ends by itself."""
        container = self.containers[name]
        container.state, container.exit_code = "exited", exit_code
        container.oom_killed = oom_killed
        text = logged.encode()
        container.logged = b"\2\0\0\0" + len(text).to_bytes(4, "big") + text

    @web.middleware
    async def _faults(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path.removeprefix(f'/v{VERSION}')}")
        if self.nonsense and request.path != "/_ping":
            return web.Response(text="<html>welcome</html>", content_type="text/html")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="OK", headers={"Api-Version": VERSION})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = json.loads(request.query.get("filters", "{}")).get("label", [])
        shown = [
            {
                "Id": c.container_id,
                "Names": [f"/{c.name}"],
                "State": c.state,
                "Labels": c.labels,
            }
            for c in self.containers.values()
            if (request.query.get("all") == "true" or c.state == "running")
            and all(
                c.labels.get(word.partition("=")[0]) == word.partition("=")[2] for word in wanted
            )
        ]
        return web.json_response(shown)

    async def _create(self, request: web.Request) -> web.Response:
        body, name = await request.json(), request.query["name"]
        if name in self.containers:
            holder = self.containers[name].container_id
            return _refuse(
                409,
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name.",
            )
        if body["Image"] not in self.images:
            return _refuse(404, f"No such image: {body['Image']}")
        container = FakeContainer(name=name, body=body)
        self.containers[name] = container
        return web.json_response({"Id": container.container_id, "Warnings": []}, status=201)

    async def _inspect(self, request: web.Request) -> web.Response:
        container = self._find(request)
        state = {
            "Running": container.state == "running",
            "ExitCode": container.exit_code,
            "OOMKilled": container.oom_killed,
            "Error": "",
        }
        return web.json_response(
            {"Id": container.container_id, "Config": container.body, "State": state}
        )

    async def _logs(self, request: web.Request) -> web.Response:
        return web.Response(body=self._find(request).logged)

    async def _start(self, request: web.Request) -> web.Response:
        container = self._find(request)
        if container.body["HostConfig"].get("DeviceRequests") and not self.has_gpu_driver:
            words = 'could not select device driver "nvidia" with capabilities: [[gpu]]'
            return _refuse(500, words)
        if container.state == "running":
            return web.Response(status=304)
        container.state = "running"
        return web.Response(status=204)

    async def _stop(self, request: web.Request) -> web.Response:
        container = self._find(request)
        self.stop_seconds.append(int(request.query["t"]))
        if container.state != "running":
            return web.Response(status=304)
        container.state = "exited"
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        container = self._find(request)
        if container.state == "running" and request.query.get("force") != "true":
            return _refuse(409, "You cannot remove a running container")
        del self.containers[container.name]
        return web.Response(status=204)

    async def _image(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.images:
            return _refuse(404, f"no such image: {name}: No such image: {name}")
        return web.json_response({"Id": "sha256:1"})

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        image = f"{request.query['fromImage']}:{request.query['tag']}"
        self.registry_auth = request.headers.get("X-Registry-Auth")
        if image not in self.remote_images:
            return _refuse(404, f"manifest for {image} not found: manifest unknown")
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        half = {"current": 50, "total": 100}
        await _say(answer, {"status": "Pulling fs layer", "id": "a", "progressDetail": {}})
        await _say(answer, {"status": "Downloading", "id": "a", "progressDetail": half})
        await self.pull_goes_on.wait()
        if self.pull_breaks:
            await _say(answer, {"errorDetail": {"message": "full"}, "error": "no space left"})
        else:
            await _say(answer, {"status": "Download complete", "id": "a", "progressDetail": {}})
            self.images.add(image)
        await answer.write_eof()
        return answer

    def _find(self, request: web.Request) -> FakeContainer:
        wanted = request.match_info["id"]
        for container in self.containers.values():
            if wanted == container.name or container.container_id.startswith(wanted):
                return container
        raise web.HTTPNotFound(
            text=json.dumps({"message": f"No such container: {wanted}"}),
            content_type="application/json",
        )


def _refuse(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)


async def _say(answer: web.StreamResponse, line: dict[str, Any]) -> None:
    await answer.write(json.dumps(line).encode() + b"\r\n")


@asynccontextmanager
async def running_engine(socket: Path) -> AsyncIterator[tuple[FakeEngine, web.AppRunner]]:
    """An engine that answers on `socket`."""
    engine = FakeEngine()
    runner = web.AppRunner(engine.application(), shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield engine, runner
    finally:
        engine.pull_goes_on.set()
        await runner.cleanup()
