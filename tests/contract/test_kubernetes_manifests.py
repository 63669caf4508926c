"""The manifests under docker/kubernetes keep what they promise: no more rights than needed, settings
that exist, secrets by reference, drains that are not cut short.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoscaler.config import AutoscalerSettings
from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.provider import ContainerSpec
from autoscaler.providers.kubernetes.body import body_of
from autoscaler.scaling_file import read_scaling
from autoscaler.sightings import name_of
from reveille.settings import DocumentSettings, Settings, WorkerSettings

FOLDER = Path(__file__).parents[2] / "docker" / "kubernetes"
POOLS = ("visual", "text", "combined")
# Read by docker/gpu-entrypoint.sh, not by a service.
OF_THE_IMAGE = {"REVEILLE_MODELS", "OLLAMA_HOST", "DATABASE_URL"}
KINDS = {
    "ConfigMap",
    "Deployment",
    "Job",
    "Kustomization",
    "Namespace",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodTemplate",
    "Role",
    "RoleBinding",
    "ScaledObject",
    "Service",
    "ServiceAccount",
    "StatefulSet",
}


def _documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(FOLDER.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            yield f"{file.name}:{document['kind']}", document


DOCUMENTS = list(_documents())


def _pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for where, document in DOCUMENTS:
        if document["kind"] in {"Deployment", "Job", "StatefulSet"}:
            yield f"{where}:{document['metadata']['name']}", document["spec"]["template"]
        elif document["kind"] == "PodTemplate":
            yield f"{where}:{document['metadata']['name']}", document["template"]


PODS = dict(_pods())


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for _, document in DOCUMENTS if document["kind"] == kind]


def _config(name: str) -> Mapping[str, str]:
    (found,) = [d for d in _of_kind("ConfigMap") if d["metadata"]["name"] == name]
    data: Mapping[str, str] = found["data"]
    return data


def test_every_manifest_is_applied() -> None:
    """By `kubectl apply -k`; the migration is a step of its own before it."""
    (kustomization,) = _of_kind("Kustomization")
    files = {file.name for file in FOLDER.glob("*.yaml")}
    assert set(kustomization["resources"]) == files - {"kustomization.yaml", "migrate.yaml"}
    assert {document["kind"] for _, document in DOCUMENTS} == KINDS


@pytest.mark.parametrize("where", PODS)
def test_pod_is_what_a_restricted_namespace_lets_in(where: str) -> None:
    """A hostile PDF that gets through must find no root, no capability, nothing to write to."""
    inside = PODS[where]["spec"]
    assert inside["securityContext"]["runAsNonRoot"] is True
    assert inside["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in inside["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("where", PODS)
def test_only_the_autoscaler_holds_a_key_to_the_cluster(where: str) -> None:
    """Kubernetes mounts one into every pod that does not refuse it."""
    has_key = PODS[where]["spec"]["automountServiceAccountToken"]
    assert has_key is ("Deployment:reveille-autoscaler" in where)


@pytest.mark.parametrize("where", PODS)
def test_secrets_are_named_and_never_told(where: str) -> None:
    """Each service has a login of its own, in one Secret."""
    for container in PODS[where]["spec"]["containers"]:
        given = {entry["name"]: entry for entry in container["env"]}
        assert given["DATABASE_URL"]["valueFrom"]["secretKeyRef"]["name"] == "reveille-database"
        for name, entry in given.items():
            assert not ("value" in entry and re.search("TOKEN|PASSWORD|SECRET|_KEY", name))


def test_settings_that_are_named_exist() -> None:
    """A misspelt one would be ignored in silence."""
    classes = (AutoscalerSettings, DocumentSettings, Settings, WorkerSettings)
    known = {f"REVEILLE_{name.upper()}" for one in classes for name in one.model_fields}
    named = {
        entry["name"]
        for pod in PODS.values()
        for container in pod["spec"]["containers"]
        for entry in container["env"]
    }
    assert (named | set(_config("reveille"))) - OF_THE_IMAGE <= known


@pytest.mark.parametrize("pool", POOLS)
def test_worker_is_not_killed_before_its_drain_ends(pool: str) -> None:
    """SIGKILL in the middle of a drain would spend an attempt for nothing."""
    drain_seconds = float(_config("reveille")["REVEILLE_DRAIN_SECONDS"])
    grace_seconds = _template(pool)["template"]["spec"]["terminationGracePeriodSeconds"]
    assert drain_seconds < grace_seconds
    assert grace_seconds < KubernetesSettings().kubernetes_stop_seconds_max


def _template(pool: str) -> dict[str, Any]:
    name = KubernetesSettings().kubernetes_template.format(pool=pool)
    (found,) = [d for d in _of_kind("PodTemplate") if d["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("pool", POOLS)
def test_templates_worker_serves_its_pool_on_a_gpu_of_its_own(pool: str) -> None:
    """What the provider makes of the example is a worker of the right kind, with its identity."""
    spec = ContainerSpec(name=f"reveille-{pool}-0", pool=pool, slot=0, server_id="s-1", gpu="L40S")
    body = body_of(
        spec,
        KubernetesSettings(),
        _template(pool),
        installation="here",
        environment={"REVEILLE_SERVER_ID": "s-1", "REVEILLE_CONTAINER_ID": spec.name},
    )
    (worker,) = body["spec"]["template"]["spec"]["containers"]
    assert worker["args"] == ["python", "-m", f"{pool}_worker"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "REVEILLE_SERVER_ID", "value": "s-1"} in worker["env"]


def test_selectors_find_their_pods() -> None:
    """A Service, a budget or a policy that selects nothing says so nowhere."""
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    selectors = [d["spec"]["selector"] for d in _of_kind("Service")]
    selectors += [d["spec"]["selector"]["matchLabels"] for d in _of_kind("PodDisruptionBudget")]
    selectors += [
        d["spec"]["podSelector"].get("matchLabels", {}) for d in _of_kind("NetworkPolicy")
    ]
    for selector in selectors:
        assert any(selector.items() <= own.items() for own in labels), selector
    for deployment in [*_of_kind("Deployment"), *_of_kind("StatefulSet")]:
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert wanted.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_scaling_file_can_be_read(tmp_path: Path) -> None:
    """As the autoscaler reads it, with every pool and a price."""
    file = tmp_path / "scaling.yaml"
    file.write_text(_config("reveille-scaling")["scaling.yaml"])
    scaling = read_scaling(file, overrides={})
    assert {pool: scaling[pool].max_replicas for pool in POOLS} == dict.fromkeys(POOLS, 3)


@pytest.mark.parametrize("pool", POOLS)
def test_worker_is_given_the_models_that_its_pool_asks(pool: str) -> None:
    """A model that is not there is fetched while the first task waits, or never."""
    shared = _config("reveille")
    vision, text = shared["REVEILLE_VISION_MODEL"], shared["REVEILLE_TEXT_MODEL"]
    wanted = {"visual": vision, "text": text, "combined": f"{vision} {text}"}[pool]
    (worker,) = _template(pool)["template"]["spec"]["containers"]
    assert {"name": "REVEILLE_MODELS", "value": wanted} in worker["env"]


def test_image_that_kustomize_renames_is_one_that_is_used() -> None:
    """An operator's registry is put in by `kustomize edit set image`."""
    used = {
        c["image"].rpartition(":")[0] for pod in PODS.values() for c in pod["spec"]["containers"]
    }
    (kustomization,) = _of_kind("Kustomization")
    assert {image["name"] for image in kustomization["images"]} <= used


@pytest.mark.parametrize("pool", POOLS)
def test_keda_scales_the_pods_that_the_autoscaler_knows_by_name(pool: str) -> None:
    """Pod reveille-<pool>-<n> is the container of slot n; its number is asked for at our port."""
    (scaled,) = [d for d in _of_kind("ScaledObject") if d["metadata"]["name"] == f"reveille-{pool}"]
    (pods,) = [d for d in _of_kind("StatefulSet") if d["metadata"]["name"] == f"reveille-{pool}"]
    (service,) = [d for d in _of_kind("Service") if d["metadata"]["name"] == "reveille-autoscaler"]
    (trigger,) = scaled["spec"]["triggers"]
    (worker,) = pods["spec"]["template"]["spec"]["containers"]
    own = {entry["name"]: entry for entry in worker["env"]}
    assert f"{name_of('reveille', pool, 7)}" == f"{pods['metadata']['name']}-7"
    assert scaled["spec"]["scaleTargetRef"]["name"] == pods["metadata"]["name"]
    assert trigger["type"] == "external-push"
    assert trigger["metadata"]["pool"] == pool
    assert trigger["metadata"]["scalerAddress"] == (
        f"reveille-autoscaler.reveille.svc:{service['spec']['ports'][0]['port']}"
    )
    assert own["REVEILLE_CONTAINER_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert "replicas" not in pods["spec"]
    assert worker["args"] == ["python", "-m", f"{pool}_worker"]


@pytest.mark.parametrize("pool", POOLS)
def test_worker_is_the_same_under_keda(pool: str) -> None:
    """Two ways to run it, one pod: what one of them learns the other must not lack."""
    template = _template(pool)["template"]["spec"]
    (pods,) = [d for d in _of_kind("StatefulSet") if d["metadata"]["name"] == f"reveille-{pool}"]
    under_keda = pods["spec"]["template"]["spec"]
    (worker,) = under_keda["containers"]
    worker = {
        **worker,
        "env": [entry for entry in worker["env"] if entry["name"] != "REVEILLE_CONTAINER_ID"],
    }
    assert {**under_keda, "containers": [worker]} == template
