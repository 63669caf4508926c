"""A cluster's stand-in: the API server's calls that the provider makes, with what the controllers,
the scheduler and a kubelet would make of them. Words and status codes are those of Kubernetes 1.3x.

Only what docker/kubernetes/autoscaler.yaml allows is allowed, so that the Role is tried with it.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from aiohttp import web

ROLE_FILE = Path(__file__).parents[2] / "docker" / "kubernetes" / "autoscaler.yaml"
NAMESPACE = "reveille"
PULL_SECONDS = 60.0
BOOT_SECONDS = 20.0
END_SECONDS = 3.0
GPU = "nvidia.com/gpu"

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Hook = Callable[["FakePod"], None]


@dataclass
class FakePod:
    """A pod of a Deployment's."""

    name: str
    deployment: str
    template: Mapping[str, Any]
    node: str | None = None
    placed_at: float = 0.0
    gone_at: float = float("inf")
    told: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """Of its worker; what it has of a Secret is named, not told."""
        (worker,) = [c for c in self.template["spec"]["containers"] if c["name"] == "worker"]
        return {e["name"]: e.get("value", "") for e in worker.get("env", ())}


@dataclass
class FakeDeployment:
    """A Deployment as it was posted."""

    body: dict[str, Any]
    created: int
    uid: str = field(default_factory=lambda: str(uuid4()))
    deleting: bool = False
    complaint: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])


@dataclass
class Fault:
    """What happens to the next `times` calls that match, in place of an answer, or (`done`) of the
    answer to what was done.
    """

    method: str
    path: re.Pattern[str]
    status: int
    body: Any
    headers: Mapping[str, str]
    done: bool
    times: int
    kind: str  # answer, reset, silence


class FakeCluster:
    """A namespace of a cluster. `gpus` says how many GPUs of which kind its nodes have."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        pull_seconds: float = PULL_SECONDS,
        boot_seconds: float = BOOT_SECONDS,
        end_seconds: float = END_SECONDS,
    ) -> None:
        self._own_time = 1000.0
        self._clock = clock
        self._times = pull_seconds, boot_seconds, end_seconds
        self.deployments: dict[str, FakeDeployment] = {}
        self.pods: dict[str, FakePod] = {}
        self.templates = {
            f"reveille-{pool}-worker": template_of(pool) for pool in ("text", "visual")
        }
        self.namespaces = {NAMESPACE}
        self.gpus = {"NVIDIA-L40S": 100, "NVIDIA-H100": 100}
        self.quota_pods = 10**9
        self.quota_deployments = 10**9
        self.tokens = {"first-token"}
        self.image_exists = True
        self.crashes = False
        self.never_ends = False  # a pod whose kubelet is gone
        self.page_size_max = 500
        self.pages_outdated = 0  # so many continue tokens are answered with 410
        self.calls: list[str] = []
        self.used_rights: set[tuple[str, str, str]] = set()
        self.bodies: list[dict[str, Any]] = []
        self.deletions: list[dict[str, Any]] = []
        self.hold = asyncio.Event()  # what is silent ends with it
        self.on_run: Hook = lambda _: None
        self.on_end: Hook = lambda _: None
        self.rights = rights_of(ROLE_FILE)
        self._faults: deque[Fault] = deque()
        self._count = 0

    # The test's handles

    def now(self) -> float:
        return self._clock() if self._clock is not None else self._own_time

    def pass_time(self, seconds: float) -> None:
        """The clock moves; pods come and go."""
        self._own_time += seconds
        self.step()

    async def sleep(self, seconds: float) -> None:
        """A sleep that takes no time but the stand-in's."""
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
        """Arm a fault for calls whose path below the namespace matches `path` as a whole."""
        fault = Fault(method, re.compile(path), status, body, headers or {}, done, times, kind)
        self._faults.append(fault)

    def add(self, name: str, **labels: str) -> FakeDeployment:
        """A Deployment that somebody else made, and that runs."""
        body = {
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name, **labels}},
                    "spec": {"containers": [{"name": "worker", "image": "theirs:1"}]},
                },
            },
        }
        self._count += 1
        self.deployments[name] = FakeDeployment(body, self._count)
        self.step()
        self.pass_time(sum(self._times))
        return self.deployments[name]

    def scale(self, name: str, replicas: int) -> None:
        """By hand, as with kubectl scale."""
        self.deployments[name].body["spec"]["replicas"] = replicas
        self.step()

    def end_container(self, name: str) -> None:
        """Its process ended by itself; the kubelet starts it again in the same pod."""
        for pod in self._pods_of(name):
            self.on_end(pod)
            pod.told = False
            pod.placed_at = self.now() - self._times[0]

    def lose_node(self, name: str) -> None:
        """Its pod is gone with its node; the ReplicaSet makes another."""
        for pod in self._pods_of(name):
            del self.pods[pod.name]
        self.step()

    def pod_of(self, name: str) -> FakePod:
        """The living pod of a Deployment."""
        return self._pods_of(name)[0]

    def running(self) -> set[str]:
        """Deployments whose pod runs."""
        self.step()
        return {pod.deployment for pod in self.pods.values() if self._phase(pod) == "running"}

    def _pods_of(self, name: str) -> list[FakePod]:
        return [
            pod
            for pod in self.pods.values()
            if pod.deployment == name and pod.gone_at == float("inf")
        ]

    # Controllers, scheduler, kubelet

    def step(self) -> None:
        """Bring the cluster up to the clock."""
        now = self.now()
        if not self.never_ends:
            for pod in [p for p in self.pods.values() if p.gone_at <= now]:
                del self.pods[pod.name]
        for deployment in list(self.deployments.values()):
            self._reconcile(deployment)
        for pod in self.pods.values():
            if pod.node is None and self._room_for(pod):
                pod.node, pod.placed_at = "node-1", now
            if not pod.told and self._phase(pod) == "running":
                pod.told = True
                self.on_run(pod)

    def _reconcile(self, deployment: FakeDeployment) -> None:
        pods = self._pods_of(deployment.name)
        wanted = 0 if deployment.deleting else deployment.body["spec"].get("replicas", 1)
        for pod in pods[wanted:]:
            pod.gone_at = self.now() + (self._times[2] if pod.node else 0.0)
            self.on_end(pod)
        deployment.complaint = ""
        if len(pods) < wanted:
            if len(self.pods) >= self.quota_pods:
                deployment.complaint = (
                    f'pods "{deployment.name}-x" is forbidden: exceeded quota: compute, '
                    f"requested: pods=1, used: pods={len(self.pods)}, limited: pods={self.quota_pods}"
                )
                return
            name = f"{deployment.name}-{uuid4().hex[:5]}"
            template = deployment.body["spec"]["template"]
            self.pods[name] = FakePod(name, deployment.name, template)
        elif deployment.deleting and not any(
            pod.deployment == deployment.name for pod in self.pods.values()
        ):
            del self.deployments[deployment.name]

    def _room_for(self, pod: FakePod) -> bool:
        kind = self._gpu_kind(pod)
        if kind is None:
            return True
        placed = [p for p in self.pods.values() if p.node and self._gpu_kind(p) == kind]
        return len(placed) < self.gpus.get(kind, 0)

    @staticmethod
    def _gpu_kind(pod: FakePod) -> str | None:
        wanted: str | None = (pod.template["spec"].get("nodeSelector") or {}).get(f"{GPU}.product")
        return wanted

    def _phase(self, pod: FakePod) -> str:
        pull_seconds, boot_seconds, _ = self._times
        if pod.node is None:
            return "unplaced"
        passed = self.now() - pod.placed_at
        if passed < pull_seconds or not self.image_exists:
            return "pulling"
        if self.crashes:
            return "crashing"
        return "starting" if passed < pull_seconds + boot_seconds else "running"

    # The API

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._gate])
        deployments = "/apis/apps/v1/namespaces/{namespace}/deployments"
        app.add_routes(
            [
                web.get("/api/v1/namespaces/{namespace}/podtemplates/{name}", self._template),
                web.get("/api/v1/namespaces/{namespace}/pods", self._list_pods),
                web.get(deployments, self._list_deployments),
                web.post(deployments, self._create),
                web.get(deployments + "/{name}", self._get),
                web.delete(deployments + "/{name}", self._delete),
            ]
        )
        return app

    @web.middleware
    async def _gate(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path.partition(f"/namespaces/{NAMESPACE}")[2] or request.path
        self.calls.append(f"{request.method} {path}")
        self.step()
        fault = self._fault(request.method, path)
        if fault is not None and not fault.done:
            return await self._end(fault, request)
        refused = self._refused(request)
        if refused is not None:
            return refused
        answer = await handler(request)
        return answer if fault is None else await self._end(fault, request)

    def _refused(self, request: web.Request) -> web.Response | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return refuse(401, "Unauthorized", "Unauthorized")
        parts = request.path.strip("/").split("/")
        group = parts[1] if parts[0] == "apis" else ""
        place = parts.index("namespaces")
        kind, named = parts[place + 2], len(parts) > place + 3
        verb = {"POST": "create", "DELETE": "delete"}.get(
            request.method, "get" if named else "list"
        )
        right = group, kind, verb
        if right not in self.rights or parts[place + 1] not in self.namespaces | {NAMESPACE}:
            return refuse(
                403,
                "Forbidden",
                f'{kind} is forbidden: User "system:serviceaccount:reveille:reveille-autoscaler" '
                f'cannot {verb} resource "{kind}" in API group "{group}" in the namespace '
                f'"{parts[place + 1]}"',
            )
        self.used_rights.add(right)
        return None

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
        return web.json_response(
            fault.body or status_of(fault.status, "InternalError", "something went wrong"),
            status=fault.status,
            headers=fault.headers,
        )

    async def _template(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self.templates:
            return not_found("podtemplates", name)
        return web.json_response(
            {
                "kind": "PodTemplate",
                "apiVersion": "v1",
                "metadata": {"name": name},
                "template": self.templates[name],
            }
        )

    async def _list_deployments(self, request: web.Request) -> web.Response:
        items = [
            _deployment_told(d)
            for d in self.deployments.values()
            if _selected(request, d.body["metadata"].get("labels") or {})
        ]
        return self._page(request, "DeploymentList", items)

    async def _list_pods(self, request: web.Request) -> web.Response:
        items = [
            self._pod_told(pod)
            for pod in self.pods.values()
            if _selected(request, pod.template["metadata"].get("labels") or {})
        ]
        return self._page(request, "PodList", items)

    def _page(self, request: web.Request, kind: str, items: list[Any]) -> web.Response:
        begin = int(request.query.get("continue") or 0)
        if begin and self.pages_outdated:
            self.pages_outdated -= 1
            return refuse(410, "Expired", "The provided continue parameter is too old")
        size = min(int(request.query["limit"]), self.page_size_max)
        more = str(begin + size) if begin + size < len(items) else ""
        metadata = {"resourceVersion": "1", **({"continue": more} if more else {})}
        shown = items[begin : begin + size]
        return web.json_response({"kind": kind, "metadata": metadata, "items": shown})

    async def _get(self, request: web.Request) -> web.Response:
        found = self.deployments.get(request.match_info["name"])
        if found is None:
            return not_found("deployments.apps", request.match_info["name"])
        return web.json_response(_deployment_told(found))

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.bodies.append(body)
        name = body["metadata"]["name"]
        if NAMESPACE not in self.namespaces:
            return not_found("namespaces", NAMESPACE)
        wrong = wrong_in(body)
        if wrong:
            return refuse(422, "Invalid", f'Deployment.apps "{name}" is invalid: {wrong}')
        if name in self.deployments:
            said = f'deployments.apps "{name}" already exists'
            if self.deployments[name].deleting:
                said = f"object is being deleted: {said}"
            return refuse(409, "AlreadyExists", said)
        if len(self.deployments) >= self.quota_deployments:
            return refuse(
                403,
                "Forbidden",
                f'deployments.apps "{name}" is forbidden: exceeded quota: objects, requested: '
                f"count/deployments.apps=1, used: {len(self.deployments)}, "
                f"limited: {self.quota_deployments}",
            )
        self._count += 1
        self.deployments[name] = FakeDeployment(body, self._count)
        told = _deployment_told(self.deployments[name])
        self.step()
        return web.json_response(told, status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        options = await request.json()
        self.deletions.append(options)
        found = self.deployments.get(name)
        if found is None:
            return not_found("deployments.apps", name)
        wanted = (options.get("preconditions") or {}).get("uid")
        if wanted not in {None, found.uid}:
            return refuse(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on deployments.apps "{name}": the UID in the '
                f"precondition ({wanted}) does not match the UID in record ({found.uid})",
            )
        found.deleting = True
        if options.get("propagationPolicy") != "Foreground":
            del self.deployments[name]  # its pods follow, but nobody sees when
        self.step()
        return web.json_response(_deployment_told(found))

    def _pod_told(self, pod: FakePod) -> dict[str, Any]:
        metadata = {
            "name": pod.name,
            "labels": pod.template["metadata"].get("labels") or {},
        }
        if pod.gone_at != float("inf"):
            metadata["deletionTimestamp"] = "2026-08-01T10:00:00Z"
        return {"metadata": metadata, "status": self._status_of(pod)}

    def _status_of(self, pod: FakePod) -> dict[str, Any]:
        phase = self._phase(pod)
        if phase == "unplaced":
            return {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": f"0/3 nodes are available: 3 Insufficient {GPU}.",
                    }
                ],
            }
        placed = [{"type": "PodScheduled", "status": "True"}]
        state, more = _CONTAINER_STATES[phase if self.image_exists else "no image"]
        return {
            "phase": "Running" if phase == "running" else "Pending",
            "conditions": placed,
            "containerStatuses": [{"name": "worker", "state": state, **more}],
        }


_ENDED = {"terminated": {"exitCode": 3, "reason": "Error", "message": "no database"}}
_CONTAINER_STATES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "pulling": ({"waiting": {"reason": "ContainerCreating"}}, {}),
    "no image": (
        {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x:1"'}},
        {},
    ),
    "crashing": (
        {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}},
        {"lastState": _ENDED},
    ),
    "starting": ({"running": {}}, {"started": False}),
    "running": ({"running": {}}, {"started": True}),
}


def template_of(pool: str) -> dict[str, Any]:
    """A pod as an installation would have it: all of its settings are its own."""
    return {
        "metadata": {"labels": {"app.kubernetes.io/component": f"{pool}-worker"}},
        "spec": {
            "terminationGracePeriodSeconds": 120,
            "containers": [
                {
                    "name": "worker",
                    "image": f"registry.test/reveille/{pool}-worker:1",
                    "env": [
                        {
                            "name": "DATABASE_URL",
                            "valueFrom": {"secretKeyRef": {"name": "reveille", "key": "worker"}},
                        },
                        {"name": "REVEILLE_SERVER_ID", "value": "stale"},
                    ],
                }
            ],
        },
    }


def rights_of(file: Path) -> set[tuple[str, str, str]]:
    """(group, resource, verb) that the Role in a manifest gives."""
    roles = [d for d in yaml.safe_load_all(file.read_text()) if d and d["kind"] == "Role"]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def wrong_in(body: Mapping[str, Any]) -> str:
    """What the API server would complain of, as far as the provider could get it wrong."""
    spec = body["spec"]
    pod = spec["template"]
    labels = pod["metadata"]["labels"]
    names = [e["name"] for c in pod["spec"]["containers"] for e in c.get("env", ())]
    rules = {
        "metadata.name: a lowercase RFC 1123 subdomain": not NAME.fullmatch(
            body["metadata"]["name"]
        ),
        "`selector` does not match template `labels`": not (
            spec["selector"]["matchLabels"].items() <= labels.items()
        ),
        "metadata.labels: Invalid value": not all(map(LABEL_VALUE.fullmatch, labels.values())),
        "env: Duplicate value": len(names) != len(set(names)),
        "unknown field": not spec.keys()
        <= {"replicas", "strategy", "revisionHistoryLimit", "selector", "template"},
    }
    return next((words for words, broken in rules.items() if broken), "")


def _selected(request: web.Request, labels: Mapping[str, str]) -> bool:
    wanted = dict(pair.split("=") for pair in request.query["labelSelector"].split(","))
    return wanted.items() <= labels.items()


def _deployment_told(deployment: FakeDeployment) -> dict[str, Any]:
    metadata = {**deployment.body["metadata"], "uid": deployment.uid}
    if deployment.deleting:
        metadata["deletionTimestamp"] = "2026-08-01T10:00:00Z"
        metadata["finalizers"] = ["foregroundDeletion"]
    conditions = []
    if deployment.complaint:
        conditions.append(
            {
                "type": "ReplicaFailure",
                "status": "True",
                "reason": "FailedCreate",
                "message": deployment.complaint,
            }
        )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": deployment.body["spec"],
        "status": {"conditions": conditions},
    }


def status_of(code: int, reason: str, message: str, **details: Any) -> dict[str, Any]:
    """The API's object for everything that went wrong."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "details": details,
        "code": code,
    }


def refuse(code: int, reason: str, message: str) -> web.Response:
    """An error as the API server says it."""
    return web.json_response(status_of(code, reason, message), status=code)


def not_found(kind: str, name: str) -> web.Response:
    """Of a thing by its name."""
    body = status_of(404, "NotFound", f'{kind} "{name}" not found', name=name, kind=kind)
    return web.Response(status=404, text=json.dumps(body), content_type="application/json")
