"""What the API server's objects mean: pure. What is not known is tolerated, its row never lost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from autoscaler.provider import ProviderError, Stage
from autoscaler.providers.kubernetes.body import CONTAINER, INSTALLATION, SERVER_ID

_ORDER: tuple[Stage, ...] = ("waiting", "pulling", "starting", "running")
# Reasons why a container waits that are part of every start, and need no words.
_USUAL = frozenset({"", "ContainerCreating", "PodInitializing"})
_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"} | _USUAL
)
WORDS_MAX = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One of the namespace's, ours or not."""

    name: str
    uid: str
    installation: str | None  # whose it is; None: nobody's whom we know
    server_id: str | None  # the server row that its worker registers
    deleting: bool
    replicas: int
    complaint: str  # why it has no pod, in the cluster's words; or empty


def deployment_of(given: Any) -> Deployment:
    """From an object of the API. Raises ProviderError for one that has no name or uid."""
    try:
        metadata = given["metadata"]
        conditions = (given.get("status") or {}).get("conditions") or []
        return Deployment(
            name=str(metadata["name"]),
            uid=str(metadata["uid"]),
            installation=(metadata.get("labels") or {}).get(INSTALLATION),
            server_id=(metadata.get("annotations") or {}).get(SERVER_ID),
            deleting=metadata.get("deletionTimestamp") is not None,
            replicas=int((given.get("spec") or {}).get("replicas", 1)),
            complaint=_condition(conditions, "ReplicaFailure", "True"),
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ProviderError("Kubernetes tells of a deployment that cannot be read") from None


def pods_by_container(pods: Iterable[Any]) -> dict[str, list[Any]]:
    """Those that are not on their way out, by the slot's name."""
    found: dict[str, list[Any]] = {}
    for pod in pods:
        metadata = pod.get("metadata") or {} if isinstance(pod, dict) else {}
        name = (metadata.get("labels") or {}).get(CONTAINER)
        if name is not None and metadata.get("deletionTimestamp") is None:
            found.setdefault(str(name), []).append(pod)
    return found


def stage_of(pods: Iterable[Any], complaint: str = "") -> tuple[Stage, str]:
    """How far the foremost pod has come, and what is wrong with it; without a pod, `complaint`."""
    told = [_stage_of_pod(pod.get("status") or {}) for pod in pods]
    return max(told, key=lambda pair: _ORDER.index(pair[0]), default=("waiting", complaint))


def _stage_of_pod(status: Mapping[str, Any]) -> tuple[Stage, str]:
    conditions = status.get("conditions") or []
    unplaced = _condition(conditions, "PodScheduled", "False")
    if unplaced:
        return "waiting", unplaced
    if status.get("phase") == "Failed":  # evicted, or its node refused it: another one follows
        return "waiting", _words(status)
    begun = [_stage_of_container(one) for one in status.get("containerStatuses") or ()]
    waits: tuple[Stage, str] = (
        ("pulling", "") if _condition(conditions, "PodScheduled", "True") else ("waiting", "")
    )
    # All of its containers have to run, so the hindmost of them says how far it is.
    return min(begun, key=lambda pair: _ORDER.index(pair[0]), default=waits)


def _stage_of_container(status: Mapping[str, Any]) -> tuple[Stage, str]:
    state = status.get("state") or {}
    if "running" in state:
        return ("starting" if status.get("started") is False else "running"), ""
    if "terminated" in state:
        return "starting", f"it ended: {_words(state['terminated'])}"
    waiting = state.get("waiting") or {}
    reason = str(waiting.get("reason") or "")
    words = "" if reason in _USUAL else _words(waiting)
    last = (status.get("lastState") or {}).get("terminated")
    if reason == "CrashLoopBackOff" and last:
        words = f"it ends again and again: {_words(last)}"
    return ("pulling" if reason in _IMAGE else "starting"), words


def _condition(conditions: Iterable[Any], kind: str, status: str) -> str:
    """The words of a condition, or of having it; empty when it is not so."""
    for one in conditions:
        if isinstance(one, dict) and one.get("type") == kind and one.get("status") == status:
            return str(one.get("message") or one.get("reason") or kind)[:WORDS_MAX]
    return ""


def _words(given: Mapping[str, Any]) -> str:
    code = given.get("exitCode")
    parts = [given.get("reason"), given.get("message"), f"exit code {code}" if code else None]
    return ", ".join(str(part).strip() for part in parts if part)[:WORDS_MAX]
