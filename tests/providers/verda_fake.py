"""Verda's API as far as the provider uses it, with the state it leaves behind and a clock that the
test sets. It was written from the vendor's documentation and clients; no real account stood behind.

A replica lives through `unavailable` (while there is no capacity), `imagepulling`, `initializing`,
`running`. Faults are rules that a call uses up (`fail`), and fields.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

CLIENT_ID, CLIENT_SECRET = "id-1", "secret-1"
HTML = "<html><head><title>502 Bad Gateway</title></head></html>"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
PULL_SECONDS, BOOT_SECONDS = 20.0, 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Hook = Callable[["FakeDeployment"], None]


@dataclass
class FakeReplica:
    """One run of a deployment's container. `placed_at`: a GPU was free; None: it waits for one."""

    placed_at: float | None
    replica_id: str = field(default_factory=lambda: uuid4().hex[:8])
    told: bool = False

    def status(self, now: float, pull_seconds: float, boot_seconds: float) -> str:
        if self.placed_at is None:
            return "unavailable"
        age = now - self.placed_at
        if age < pull_seconds:
            return "imagepulling"
        return "initializing" if age < pull_seconds + boot_seconds else "running"


@dataclass
class FakeDeployment:
    """What a POST made, and its one replica. `seen_at` and `gone_at` make the API forget and
    remember late.
    """

    body: dict[str, Any]
    created_at: str
    seen_at: float
    replica: FakeReplica | None
    gone_at: float = float("inf")
    paused: bool = False

    @property
    def name(self) -> str:
        name: str = self.body["name"]
        return name

    @property
    def gpu(self) -> str:
        gpu: str = self.body["compute"]["name"]
        return gpu

    @property
    def environment(self) -> dict[str, str]:
        variables = self.body["containers"][0]["env"]
        return {v["name"]: v["value_or_reference_to_secret"] for v in variables}


@dataclass
class Fault:
    """What happens to the next `times` calls that match, in place of an answer (`done` False) or of
    the answer to what was done.
    """

    method: str
    path: re.Pattern[str]
    status: int
    body: Any
    headers: Mapping[str, str]
    done: bool
    times: int
    kind: str  # answer, reset, silence


class FakeVerda:
    """An account. `capacity` is how many replicas of a GPU can be placed; absent: any number."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        pull_seconds: float = PULL_SECONDS,
        boot_seconds: float = BOOT_SECONDS,
    ) -> None:
        self._own_time = 1000.0
        self._clock = clock
        self._times = pull_seconds, boot_seconds
        self.deployments: dict[str, FakeDeployment] = {}
        self.gpus = {"RTX 6000 Ada": True, "H100": True}
        self.prices: dict[str, tuple[Any, Any]] = {
            "RTX 6000 Ada": ("1.00", "0.40"),
            "H100": ("2.52", "0.88"),
        }
        self.currency = "usd"
        self.capacity: dict[str, int] = {}
        self.balance = 100.0
        self.quota = 100
        self.token_calls_max = 10**9
        self.token_seconds = 3600.0
        self.refresh_works = True
        self.lag_seconds = 0.0  # until what was created or deleted is seen so
        self.page_size = 10**9
        self.forgotten: dict[str, int] = {}  # name → lists that will leave it out
        self.status_words: dict[str, str] = {}  # name → in place of its replica's status
        self.calls: list[str] = []
        self.grants: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.hold = asyncio.Event()  # what is silent ends with it
        self.on_run: Hook = lambda _: None
        self.on_end: Hook = lambda _: None
        self._tokens: dict[str, tuple[float, int]] = {}  # token → until, calls left
        self._refresh: set[str] = set()
        self._faults: deque[Fault] = deque()
        self._lives = 0

    # The test's handles

    def now(self) -> float:
        return self._clock() if self._clock is not None else self._own_time

    def pass_time(self, seconds: float) -> None:
        """The clock moves; replicas come up, balances fall."""
        running = sum(self.replica_status(d) == "running" for d in self.deployments.values())
        self.balance -= running * seconds / 3600.0
        self._own_time += seconds
        self.step()

    async def sleep(self, seconds: float) -> None:
        """A sleep that takes no time but the fake's."""
        self.pass_time(seconds)
        await asyncio.sleep(0)

    def fail(
        self,
        method: str,
        path: str,
        status: int = 500,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        done: bool = False,
        times: int = 1,
        kind: str = "answer",
    ) -> None:
        """Arm a fault for calls whose path (without /v1) matches `path` as a whole."""
        fault = Fault(method, re.compile(path), status, body, headers or {}, done, times, kind)
        self._faults.append(fault)

    def add(self, name: str, **environment: str) -> FakeDeployment:
        """A deployment that somebody else made, and that runs."""
        env = [
            {"name": key, "value_or_reference_to_secret": value, "type": "plain"}
            for key, value in environment.items()
        ]
        body = {"name": name, "compute": {"name": "H100"}, "containers": [{"env": env}]}
        long_ago = FakeReplica(placed_at=self.now() - 10_000, told=True)
        made = FakeDeployment(body, "2026-01-01T00:00:00.000Z", 0.0, long_ago)
        self.deployments[name] = made
        return made

    def evict(self, name: str) -> None:
        """A spot replica is taken away; another waits in its place."""
        deployment = self.deployments[name]
        self.capacity[deployment.gpu] = 0
        deployment.replica = FakeReplica(placed_at=None)
        self.on_end(deployment)

    def restart(self, name: str) -> None:
        """Its container ended by itself and is started again, on the same GPU."""
        self.deployments[name].replica = FakeReplica(placed_at=self.now() - self._times[0])

    def revoke_tokens(self) -> None:
        """Whatever was granted is taken back."""
        self._tokens.clear()

    def replica_status(self, deployment: FakeDeployment) -> str | None:
        if deployment.paused or deployment.replica is None:
            return None
        return deployment.replica.status(self.now(), *self._times)

    def running(self) -> set[str]:
        self.step()
        return {d.name for d in self.deployments.values() if self.replica_status(d) == "running"}

    def step(self) -> None:
        """Bring the account up to the clock."""
        now = self.now()
        for name in [d.name for d in self.deployments.values() if d.gone_at <= now]:
            del self.deployments[name]
        for deployment in self.deployments.values():
            replica = deployment.replica
            if replica is None or deployment.paused:
                continue
            if replica.placed_at is None and self._has_room(deployment.gpu):
                replica.placed_at = now
            if not replica.told and replica.status(now, *self._times) == "running":
                replica.told = True
                self.on_run(deployment)

    def _has_room(self, gpu: str) -> bool:
        placed = [
            d
            for d in self.deployments.values()
            if d.gpu == gpu and d.replica is not None and d.replica.placed_at is not None
        ]
        return len(placed) < min(self.capacity.get(gpu, 10**9), self.quota)

    # The API

    def application(self) -> web.Application:
        """The routes, under /v1."""
        app = web.Application(middlewares=[self._gate])
        base = "/v1/container-deployments"
        app.add_routes(
            [
                web.post("/v1/oauth2/token", self._token),
                web.get("/v1/container-types", self._types),
                web.get("/v1/serverless-compute-resources", self._resources),
                web.get(base, self._list),
                web.post(base, self._create),
                web.get(base + "/{name}", self._get),
                web.delete(base + "/{name}", self._delete),
                web.get(base + "/{name}/status", self._status),
                web.get(base + "/{name}/replicas", self._replicas),
            ]
        )
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path.removeprefix("/v1")
        self.calls.append(f"{request.method} {path}")
        self.step()
        fault = self._fault(request.method, path)
        if fault is not None and not fault.done:
            return await self._end(fault, request)
        if path != "/oauth2/token" and not self._authorized(request):
            return _refuse(401, "unauthorized_request", "Access token expired")
        answer = await handler(request)
        return answer if fault is None else await self._end(fault, request)

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self._faults:
            if fault.times > 0 and fault.method == method and fault.path.fullmatch(path):
                fault.times -= 1
                return fault
        return None

    async def _end(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        if fault.kind == "silence":
            await self.hold.wait()
        if fault.kind in {"reset", "silence"}:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(fault.body, str):
            return web.Response(
                status=fault.status, text=fault.body, content_type="text/html",
                headers=fault.headers,
            )  # fmt: skip
        return web.json_response(fault.body, status=fault.status, headers=fault.headers)

    def _authorized(self, request: web.Request) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        until, left = self._tokens.get(token, (0.0, 0))
        if self.now() >= until or left <= 0:
            return False
        self._tokens[token] = until, left - 1
        return True

    async def _token(self, request: web.Request) -> web.Response:
        form = await request.json()
        self.grants.append(form["grant_type"])
        if form["grant_type"] == "refresh_token":
            if not self.refresh_works or form["refresh_token"] not in self._refresh:
                return _refuse(400, "invalid_request", "Invalid refresh token")
        elif (form["client_id"], form["client_secret"]) != (CLIENT_ID, CLIENT_SECRET):
            return _refuse(401, "unauthorized_request", "Invalid client id or client secret")
        access, refresh = uuid4().hex, uuid4().hex
        self._tokens[access] = self.now() + self.token_seconds, self.token_calls_max
        self._refresh = {refresh}
        return web.json_response(
            {
                "access_token": access,
                "refresh_token": refresh,
                "scope": "cloud-api-v1",
                "token_type": "Bearer",
                "expires_in": self.token_seconds,
            }
        )

    async def _types(self, _: web.Request) -> web.Response:
        return web.json_response(
            [
                {
                    "model": gpu,
                    "gpu": {"number_of_gpus": 1},
                    "serverless_price": price,
                    "serverless_spot_price": spot,
                    "currency": self.currency,
                }
                for gpu, (price, spot) in self.prices.items()
            ]
        )

    async def _resources(self, _: web.Request) -> web.Response:
        return web.json_response(
            [{"name": gpu, "size": 1, "is_available": free} for gpu, free in self.gpus.items()]
        )

    def _seen(self) -> list[FakeDeployment]:
        return [d for d in self.deployments.values() if d.seen_at <= self.now()]

    async def _list(self, request: web.Request) -> web.Response:
        shown = []
        for deployment in self._seen():
            if self.forgotten.get(deployment.name, 0) > 0:
                self.forgotten[deployment.name] -= 1
            else:
                shown.append(_told(deployment))
        begin = int(request.query.get("from", "0"))
        end = begin + self.page_size
        more = {"Link": f'<{request.path}?from={end}>; rel="next"'} if end < len(shown) else {}
        return web.json_response(shown[begin:end], headers=more)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        wrong = _wrong(body, self.gpus)
        if wrong:
            return _refuse(400, "invalid_request", wrong)
        if self.balance <= 0:
            return _refuse(402, "insufficient_funds", "Insufficient funds")
        if body["name"] in self.deployments:
            return _refuse(400, "invalid_request", "Deployment with this name already exists")
        self._lives += 1
        deployment = FakeDeployment(
            body=body,
            created_at=f"2026-08-01T10:00:{self._lives:02d}.000Z",
            seen_at=self.now() + self.lag_seconds,
            replica=FakeReplica(placed_at=None),
        )
        self.deployments[deployment.name] = deployment
        self.step()
        return web.json_response(_told(deployment), status=201)

    def _named(self, request: web.Request) -> FakeDeployment:
        for deployment in self._seen():
            if deployment.name == request.match_info["name"]:
                return deployment
        raise web.HTTPNotFound(
            text='{"code":"not_found","message":"Deployment not found"}',
            content_type="application/json",
        )

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(_told(self._named(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        deployment = self._named(request)
        deployment.gone_at = min(deployment.gone_at, self.now() + self.lag_seconds)
        if deployment.replica is not None:
            self.on_end(deployment)
        deployment.replica = None
        self.step()
        return web.Response(status=200)

    async def _status(self, request: web.Request) -> web.Response:
        deployment = self._named(request)
        status = self.replica_status(deployment)
        word = {"running": "healthy", "imagepulling": "image_pulling"}.get(str(status), "unhealthy")
        if deployment.paused:
            word = "paused"
        elif status == "unavailable" and self.quota <= 0:
            word = "quota_reached"
        return web.json_response({"status": word})

    async def _replicas(self, request: web.Request) -> web.Response:
        deployment = self._named(request)
        status = self.replica_status(deployment)
        if status is None or deployment.replica is None:
            return web.json_response({"list": []})
        word = self.status_words.get(deployment.name, status)
        row = {"id": deployment.replica.replica_id, "status": word, "started_at": None}
        return web.json_response({"list": [row]})


def _told(deployment: FakeDeployment) -> dict[str, Any]:
    (container,) = deployment.body["containers"]
    return {
        **{key: value for key, value in deployment.body.items() if key != "scaling"},
        "containers": [{**container, "name": f"{deployment.name}-0"}],
        "endpoint_base_url": f"https://containers.datacrunch.io/{deployment.name}",
        "created_at": deployment.created_at,
    }


def _wrong(body: Mapping[str, Any], gpus: Mapping[str, bool]) -> str:
    """What the API complains of, as far as its rules are known."""
    (container,) = body["containers"]
    image, scaling = container["image"], body["scaling"]
    replicas_min, replicas_max = scaling["min_replica_count"], scaling["max_replica_count"]
    variables = [variable["name"] for variable in container["env"]]
    rules = {
        "name is not allowed": NAME.fullmatch(body["name"]) is None,
        "containers.0.image must not use the latest tag": ":" not in image.rpartition("/")[2]
        or image.endswith(":latest"),
        "containers.0.exposed_port must not be less than 1": container["exposed_port"] < 1,
        "compute.name is not a known compute resource": body["compute"]["name"] not in gpus,
        "containers.0.env.0.name is not allowed": not all(map(VARIABLE.fullmatch, variables)),
        "scaling.max_replica_count is too small": replicas_max < max(1, replicas_min),
    }
    return next((words for words, broken in rules.items() if broken), "")


def _refuse(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
