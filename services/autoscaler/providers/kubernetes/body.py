"""What a slot's Deployment looks like to the API server: pure, from its spec, its pool's PodTemplate
and the settings.
"""

import copy
from collections.abc import Mapping
from typing import Any

from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.provider import ContainerSpec, ProviderError

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "reveille-autoscaler"
INSTALLATION = "reveille/installation"
CONTAINER = "reveille/container"
POOL = "reveille/pool"
SERVER_ID = "reveille/server-id"

WORKER = "worker"  # the container of the pod that the worker runs in, where there are several


def selector_of(installation: str) -> str:
    """Of everything that is this installation's."""
    return f"{MANAGED_BY}={MANAGER},{INSTALLATION}={installation}"


def body_of(
    spec: ContainerSpec,
    settings: KubernetesSettings,
    template: Any,
    *,
    installation: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The body of the call that creates it. Raises ProviderError for what the cluster or the
    template cannot give.
    """
    labels = {
        MANAGED_BY: MANAGER,
        INSTALLATION: installation,
        CONTAINER: spec.name,
        POOL: spec.pool,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": spec.name,
            "labels": labels,
            "annotations": {SERVER_ID: spec.server_id},
        },
        "spec": {
            "replicas": 1,
            # Of one slot there is never more than one worker, not even while its node is replaced.
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {INSTALLATION: installation, CONTAINER: spec.name}},
            "template": _pod(spec, settings, template, labels, environment),
        },
    }


def _pod(
    spec: ContainerSpec,
    settings: KubernetesSettings,
    template: Any,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
) -> dict[str, Any]:
    pod: dict[str, Any] = copy.deepcopy(template.get("template") or {})
    metadata = pod.get("metadata") or {}
    inside = pod.get("spec") or {}
    worker = _worker_of(inside, spec.pool)
    worker["env"] = [
        *(given for given in worker.get("env") or () if given.get("name") not in environment),
        *({"name": name, "value": environment[name]} for name in sorted(environment)),
    ]
    _place(inside, spec, settings)
    return {
        "metadata": {
            "labels": {**(metadata.get("labels") or {}), **labels},
            "annotations": metadata.get("annotations") or {},
        },
        "spec": inside,
    }


def _worker_of(inside: Mapping[str, Any], pool: str) -> dict[str, Any]:
    containers: list[dict[str, Any]] = inside.get("containers") or []
    named = [one for one in containers if one.get("name") == WORKER]
    if not named and len(containers) != 1:
        raise ProviderError(
            f"the PodTemplate of {pool} needs a container named {WORKER}; it has "
            f"{', '.join(str(one.get('name')) for one in containers) or 'none'}"
        )
    return (named or containers)[0]


def _place(inside: dict[str, Any], spec: ContainerSpec, settings: KubernetesSettings) -> None:
    """On nodes such as the offer names."""
    wanted = settings.node_labels(gpu=spec.gpu, region=spec.region)
    if spec.spot:
        label, _, value = settings.kubernetes_spot_label.partition("=")
        if not label:
            raise ProviderError(
                "the offer wants spot nodes; say in REVEILLE_KUBERNETES_SPOT_LABEL which those are",
                trouble="unknown",
            )
        wanted[label] = value
        toleration = {"key": label, "operator": "Equal", "value": value, "effect": "NoSchedule"}
        inside["tolerations"] = [*(inside.get("tolerations") or ()), toleration]
    if wanted:
        inside["nodeSelector"] = {**(inside.get("nodeSelector") or {}), **wanted}
