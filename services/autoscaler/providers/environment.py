"""The environment of a worker in a container: the autoscaler's own settings, less what is only
the autoscaler's, and what `REVEILLE_WORKER_ENV_<NAME>` sets for workers alone.

A worker elsewhere often reaches the database or the model server under another address than the
autoscaler does: `REVEILLE_WORKER_ENV_DATABASE_URL=…` says so. Of the API's tokens it is given the
digests, with which it can tell who may call it directly, and which open nothing themselves.
"""

from collections.abc import Mapping

from autoscaler.provider import ContainerSpec
from reveille.tokens import parse_tokens

WORKER_PREFIX = "REVEILLE_WORKER_ENV_"

TOKENS = "REVEILLE_API_TOKENS"
_PASSED = frozenset({"DATABASE_URL", "OLLAMA_HOST"})
_PREFIX = "REVEILLE_"
# Settings of the autoscaler that would be wrong for a worker, or are none of its business.
_KEPT_PREFIXES = ("REVEILLE_DOCKER_", "REVEILLE_KUBERNETES_", "REVEILLE_KEDA_", "REVEILLE_VERDA_")
_KEPT = frozenset(
    {
        TOKENS,
        "REVEILLE_CONTAINER_ID",
        "REVEILLE_HTTP_HOST",
        "REVEILLE_HTTP_PORT",
        "REVEILLE_RUN_DIR",
        "REVEILLE_SCALING_FILE",
        "REVEILLE_SERVER_ID",
        "REVEILLE_PROVIDER",
    }
)


def worker_environment(surroundings: Mapping[str, str], spec: ContainerSpec) -> dict[str, str]:
    """What the worker of `spec` is given, of the autoscaler's `surroundings`."""
    passed = {name: value for name, value in surroundings.items() if _is_passed(name)}
    if digests := parse_tokens(surroundings.get(TOKENS, "")).digested():
        passed[TOKENS] = digests
    return {**passed, **identity_and_own(surroundings, spec)}


def identity_and_own(surroundings: Mapping[str, str], spec: ContainerSpec) -> dict[str, str]:
    """Of that, what is set for workers alone, and who this one is."""
    own = {
        name.removeprefix(WORKER_PREFIX): value
        for name, value in surroundings.items()
        if name.startswith(WORKER_PREFIX) and name != WORKER_PREFIX
    }
    return {
        **own,
        "REVEILLE_CONTAINER_ID": spec.name,
        "REVEILLE_SERVER_ID": spec.server_id,
    }


def _is_passed(name: str) -> bool:
    if name in _PASSED:
        return True
    return (
        name.startswith(_PREFIX)
        and name not in _KEPT
        and not name.startswith((*_KEPT_PREFIXES, WORKER_PREFIX))
    )
