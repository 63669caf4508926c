"""The kubernetes provider beyond what all providers have in common: what is made of a template, how
far a pod is, and each way in which a cluster refuses.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.providers.kubernetes_fake import (
    BOOT_SECONDS,
    NAMESPACE,
    PULL_SECONDS,
    FakeCluster,
    status_of,
)
from tests.providers.kubernetes_world import INSTALLATION, KubernetesWorld, kubernetes_world

from autoscaler.config import AutoscalerSettings
from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.provider import ContainerSpec, ProviderContainer, ProviderError
from autoscaler.providers import PROVIDERS
from autoscaler.providers.kubernetes import KubernetesProvider
from reveille.errors import ConfigurationError
from reveille.settings import load

NAME = "reveille-text-0"
DEPLOYMENTS = "/deployments"
ONE = f"{DEPLOYMENTS}/{NAME}"


def spec_of(slot: int = 0, life: int = 1, **changes: Any) -> ContainerSpec:
    name = f"reveille-text-{slot}"
    return ContainerSpec(name=name, pool="text", slot=slot, server_id=f"{name}-{life}", **changes)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[KubernetesWorld]:
    """An empty namespace."""
    async with kubernetes_world(tmp_path) as world:
        yield world


@pytest.fixture
def cluster(world: KubernetesWorld) -> FakeCluster:
    """Its state, its clock and its faults."""
    return world.cluster


@pytest.fixture
async def provider(world: KubernetesWorld) -> AsyncIterator[KubernetesProvider]:
    """One installation's."""
    provider = world.open()
    yield provider
    await provider.close()


async def refusal(provider: KubernetesProvider, spec: ContainerSpec | None = None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        await provider.create(spec or spec_of())
    return caught.value


async def shown(provider: KubernetesProvider) -> ProviderContainer:
    (container,) = await provider.list()
    return container


def posts(cluster: FakeCluster) -> int:
    return cluster.calls.count(f"POST {DEPLOYMENTS}")


# What is asked for ----------------------------------------------------------------------------


async def test_slot_is_a_deployment_of_one_pod_made_from_its_pools_template(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Secrets stay references, a stale identity is replaced, and two pods never share a slot."""
    await provider.create(spec_of())
    (body,) = cluster.bodies
    pod = body["spec"]["template"]
    environment = {e["name"]: e for e in pod["spec"]["containers"][0]["env"]}
    assert (body["spec"]["replicas"], body["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert pod["spec"]["terminationGracePeriodSeconds"] == 120
    assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "text-worker"
    assert environment["DATABASE_URL"] == {
        "name": "DATABASE_URL",
        "valueFrom": {"secretKeyRef": {"name": "reveille", "key": "worker"}},
    }
    assert environment["REVEILLE_SERVER_ID"]["value"] == "reveille-text-0-1"
    assert "nodeSelector" not in pod["spec"]


async def test_autoscalers_own_settings_stay_with_it(world: KubernetesWorld) -> None:
    """The template says all; only what is set for workers by name is added to it."""
    provider = world.open(
        surroundings={
            "DATABASE_URL": "postgresql://secret@here",
            "OLLAMA_HOST": "http://here",
            "REVEILLE_OTLP_ENDPOINT": "http://here",
            "REVEILLE_WORKER_ENV_OLLAMA_HOST": "http://127.0.0.1:11434",
        }
    )
    await provider.create(spec_of())
    await provider.close()
    environment = world.cluster.pod_of(NAME).environment
    assert environment["OLLAMA_HOST"] == "http://127.0.0.1:11434"
    assert "REVEILLE_OTLP_ENDPOINT" not in environment
    assert "secret@here" not in str(world.cluster.bodies)


async def test_offers_gpu_region_and_spot_choose_the_nodes(world: KubernetesWorld) -> None:
    """By labels whose names are settings, because clusters differ in them."""
    provider = world.open(kubernetes_spot_label="cloud.google.com/gke-spot=true")
    await provider.create(spec_of(gpu="NVIDIA-L40S", region="eu-north", spot=True))
    await provider.close()
    inside = world.cluster.bodies[0]["spec"]["template"]["spec"]
    assert inside["nodeSelector"] == {
        "nvidia.com/gpu.product": "NVIDIA-L40S",
        "topology.kubernetes.io/region": "eu-north",
        "cloud.google.com/gke-spot": "true",
    }
    (toleration,) = inside["tolerations"]
    assert (toleration["key"], toleration["value"]) == ("cloud.google.com/gke-spot", "true")


async def test_spot_without_a_label_for_it_is_an_offer_that_cannot_be_had(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Not a pod on nodes of another price."""
    error = await refusal(provider, spec_of(spot=True))
    assert "REVEILLE_KUBERNETES_SPOT_LABEL" in str(error)
    assert error.trouble == "unknown"
    assert posts(cluster) == 0


async def test_worker_is_the_container_of_that_name_or_the_only_one(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """A pod may have a model server beside its worker; a guess between two would be wrong."""
    inside = cluster.templates["reveille-text-worker"]["spec"]
    inside["containers"].insert(0, {"name": "ollama", "image": "ollama:1"})
    await provider.create(spec_of())
    assert "REVEILLE_SERVER_ID" in cluster.pod_of(NAME).environment
    inside["containers"][1]["name"] = "other"
    assert "named worker; it has ollama, other" in str(await refusal(provider, spec_of(1)))


# How far it is --------------------------------------------------------------------------------


async def test_stages_follow_the_pod_from_the_queue_for_a_gpu_to_running(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """A place, an image, a start: the phases of a cold start."""
    cluster.gpus["NVIDIA-H100"] = 0
    await provider.create(spec_of(gpu="NVIDIA-H100"))
    waiting = await shown(provider)
    cluster.gpus["NVIDIA-H100"] = 1
    cluster.step()
    pulling = await shown(provider)
    cluster.pass_time(PULL_SECONDS)
    starting = await shown(provider)
    cluster.pass_time(BOOT_SECONDS)
    running = await shown(provider)
    assert [c.stage for c in (waiting, pulling, starting, running)] == [
        "waiting",
        "pulling",
        "starting",
        "running",
    ]
    assert waiting.detail == "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    assert (pulling.detail, running.detail) == ("", "")


async def test_image_that_cannot_be_pulled_is_told(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """In the kubelet's words, so that a failed start names the image."""
    cluster.image_exists = False
    await provider.create(spec_of())
    container = await shown(provider)
    assert container.stage == "pulling"
    assert container.detail == 'ImagePullBackOff, Back-off pulling image "x:1"'


async def test_worker_that_ends_again_and_again_is_told_with_its_exit_code(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The back-off is the cluster's; what matters is why it ended."""
    cluster.crashes = True
    await provider.create(spec_of())
    cluster.pass_time(PULL_SECONDS)
    container = await shown(provider)
    assert container.stage == "starting"
    assert container.detail == "it ends again and again: Error, no database, exit code 3"


async def test_pod_that_the_quota_forbids_waits_and_says_so(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The Deployment is made, its pod is not: that is told by a condition alone."""
    cluster.quota_pods = 0
    await provider.create(spec_of())
    container = await shown(provider)
    assert container.stage == "waiting"
    assert "exceeded quota" in container.detail


async def test_pod_that_went_with_its_node_is_replaced_under_the_same_name(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The cluster's business: the container is on its way up again, and not lost."""
    ref = await provider.create(spec_of())
    cluster.pass_time(PULL_SECONDS + BOOT_SECONDS)
    cluster.lose_node(NAME)
    container = await shown(provider)
    assert (container.ref, container.state, container.stage) == (ref, "running", "pulling")


async def test_deployment_scaled_to_zero_by_hand_has_ended_and_is_made_anew(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """It would never come up by itself."""
    ref = await provider.create(spec_of())
    cluster.scale(NAME, 0)
    container = await shown(provider)
    assert (container.state, container.detail) == ("exited", "it is scaled to zero")
    assert await provider.create(spec_of()) != ref


# Ends -----------------------------------------------------------------------------------------


async def test_stop_returns_when_the_pod_is_gone_and_not_before(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Foreground: the Deployment outlives its pod, so its absence says that the GPU is free."""
    await provider.create(spec_of())
    cluster.pass_time(PULL_SECONDS + BOOT_SECONDS)
    await provider.stop(NAME)
    (options,) = cluster.deletions
    assert options["propagationPolicy"] == "Foreground"
    assert (cluster.pods, cluster.deployments) == ({}, {})


async def test_pod_that_does_not_end_is_an_error_and_is_still_shown(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Its node may be gone: the row stays, and the stop is tried again."""
    await provider.create(spec_of())
    cluster.pass_time(PULL_SECONDS + BOOT_SECONDS)
    cluster.never_ends = True
    with pytest.raises(ProviderError, match="has not ended within 180 s"):
        await provider.stop(NAME)
    assert (await shown(provider)).detail == "it is being deleted"
    cluster.never_ends = False
    await provider.stop(NAME)
    assert list(await provider.list()) == []


async def test_stop_spares_the_next_life_of_its_name(
    world: KubernetesWorld, cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Two autoscalers for a moment: the deletion carries the uid that was looked at (409)."""
    await provider.create(spec_of())
    first = cluster.deployments[NAME]
    successor = type(first)(first.body, created=99)
    cluster.fail("GET", ONE, 200, {"metadata": {**first.body["metadata"], "uid": first.uid}})
    cluster.deployments[NAME] = successor
    await provider.stop(NAME)
    assert cluster.deployments[NAME] is successor
    assert not successor.deleting


# Refusals -------------------------------------------------------------------------------------


async def test_missing_right_is_told_with_the_place_of_the_role(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """403 in the API server's words; all offers of the cluster rest."""
    cluster.rights = cluster.rights - {("apps", "deployments", "create")}
    error = await refusal(provider)
    assert 'cannot create resource "deployments"' in str(error)
    assert "docker/kubernetes/autoscaler.yaml" in str(error)
    assert error.trouble == "account"


async def test_quota_on_deployments_is_told_as_such(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Also a 403, but no right is missing."""
    cluster.quota_deployments = 0
    error = await refusal(provider)
    assert "exceeded quota" in str(error)
    assert "ResourceQuota" in str(error)
    assert error.trouble == "account"


async def test_missing_namespace_is_told(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Before the first `kubectl apply`, or after somebody deleted it."""
    cluster.namespaces.clear()
    error = await refusal(provider)
    assert f"there is no namespace {NAMESPACE}" in str(error)


async def test_missing_template_is_told_with_its_name(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Another pool of the same cluster may have one."""
    cluster.templates.clear()
    error = await refusal(provider)
    assert "there is no PodTemplate reveille-text-worker in the namespace reveille" in str(error)
    assert error.trouble == "other"


async def test_template_that_the_api_server_finds_wrong_is_refused_in_its_words(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """A pod's fields are checked when a Deployment is made of them."""
    worker = cluster.templates["reveille-text-worker"]["spec"]["containers"][0]
    worker["env"] += [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert "is invalid: env: Duplicate value" in str(await refusal(provider))


async def test_deployment_of_another_installation_is_neither_shown_nor_replaced(
    world: KubernetesWorld, provider: KubernetesProvider
) -> None:
    """Two installations with the default prefix in one namespace."""
    other = world.open(installation="elsewhere")
    await other.create(spec_of())
    await other.close()
    assert list(await provider.list()) == []
    assert "not this installation's" in str(await refusal(provider))
    with pytest.raises(ProviderError, match="not this installation's"):
        await provider.stop(NAME)


# Faults ---------------------------------------------------------------------------------------


async def test_creation_without_an_answer_is_looked_up_and_never_asked_for_twice(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The connection broke after the Deployment was made."""
    cluster.fail("POST", DEPLOYMENTS, done=True, kind="reset")
    assert await provider.create(spec_of()) == cluster.deployments[NAME].uid
    assert posts(cluster) == 1


async def test_creation_that_broke_before_it_was_done_is_an_error(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The autoscaler's next round decides, with the offer's failure on record."""
    cluster.fail("POST", DEPLOYMENTS, kind="reset")
    assert "no answer from the API server" in str(await refusal(provider))
    assert posts(cluster) == 1


async def test_two_creations_at_once_are_one(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The second one's 409 AlreadyExists finds the first one's Deployment."""
    refs = await asyncio.gather(provider.create(spec_of()), provider.create(spec_of()))
    assert set(refs) == {cluster.deployments[NAME].uid}


async def test_overloaded_api_server_is_asked_again_after_the_time_it_names(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """429 of priority and fairness turns a call away at the door, so even a POST may be repeated."""
    busy = status_of(429, "TooManyRequests", "too many requests, please try again later")
    cluster.fail("POST", DEPLOYMENTS, 429, busy, headers={"Retry-After": "7"})
    begun = cluster.now()
    await provider.create(spec_of())
    assert posts(cluster) == 2
    assert cluster.now() - begun >= 7


async def test_rotated_token_is_read_anew(
    world: KubernetesWorld, cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The kubelet writes a new one before the old one ends; nothing has to be restarted."""
    await provider.create(spec_of())
    cluster.tokens = {"second-token"}
    world.token_file.write_text("second-token")
    assert await shown(provider)


async def test_token_that_is_refused_twice_is_told(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """Once more, because it may have been replaced in the same moment; then in words."""
    cluster.tokens = set()
    error = await refusal(provider)
    assert "REVEILLE_KUBERNETES_TOKEN_FILE" in str(error)
    assert error.trouble == "account"
    assert cluster.calls == [f"GET {ONE}"] * 2


async def test_list_in_pages_whose_state_is_forgotten_begins_anew(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """410 in the middle: half a list would look as if the other half were lost."""
    for slot in range(5):
        await provider.create(spec_of(slot))
    cluster.page_size_max = 2
    cluster.pages_outdated = 1
    assert len(await provider.list()) == 5
    cluster.pages_outdated = 10**6
    with pytest.raises(ProviderError, match="too old"):
        await provider.list()


@pytest.mark.parametrize("path", ["/deployments", "/pods"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "body": "<html>upstream</html>"},
        {"status": 200, "body": {"kind": "DeploymentList", "items": None}},
        {"status": 200, "body": "<html>login</html>"},
        {"status": 500},
        {"kind": "reset"},
    ],
    ids=["html-503", "no-items", "html-200", "500", "reset"],
)
async def test_list_that_cannot_be_had_or_read_is_an_error(
    cluster: FakeCluster, provider: KubernetesProvider, path: str, fault: dict[str, Any]
) -> None:
    """Missing data means hold: never an empty list in its place."""
    await provider.create(spec_of())
    cluster.fail("GET", path, times=100, **fault)
    with pytest.raises(ProviderError):
        await provider.list()


async def test_api_server_that_says_nothing_is_given_up_on(world: KubernetesWorld) -> None:
    """Every call has its time limit."""
    provider = world.open(kubernetes_answer_seconds_max=0.05)
    world.cluster.fail("GET", "/.*", times=100, kind="silence")
    with pytest.raises(ProviderError, match=r"did not answer GET .* in time"):
        await provider.list()
    await provider.close()


# Settings -------------------------------------------------------------------------------------


async def test_role_of_the_manifest_is_exactly_what_is_used(
    cluster: FakeCluster, provider: KubernetesProvider
) -> None:
    """The stand-in allows only what docker/kubernetes/autoscaler.yaml gives; all of it is needed."""
    await provider.create(spec_of())
    await provider.list()
    await provider.stop(NAME)
    assert cluster.used_rights == cluster.rights


def test_pod_of_the_cluster_needs_no_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service account says where, who, and whom to trust."""
    for name, text in {"token": "t\n", "namespace": "team-a\n", "ca.crt": "pem"}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    cluster = KubernetesSettings().cluster(service_account=tmp_path)
    assert (cluster.url, cluster.namespace) == ("https://[fd00::1]:6443", "team-a")
    assert (cluster.token_file, cluster.ca_file) == (tmp_path / "token", tmp_path / "ca.crt")


def test_outside_of_a_cluster_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it in one sentence."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=r"URL, .*NAMESPACE, .*TOKEN_FILE"):
        KubernetesSettings().cluster(service_account=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("URL", "http://10.0.0.1", "no https:// address"),
        ("TEMPLATE", "{name}", "no other braces"),
        ("GPU_LABEL", "not a label", "no name of a label"),
        ("SPOT_LABEL", "spot", "no label=value"),
        ("NAMESPACE", "Team_A", "pattern"),
    ],
)
def test_setting_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """Before anything runs, with the reason."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://nowhere/db")
    monkeypatch.setenv(f"REVEILLE_KUBERNETES_{name}", value)
    with pytest.raises(ConfigurationError, match=said):
        load(AutoscalerSettings)


async def test_provider_is_reachable_by_its_name(
    world: KubernetesWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installation opens it."""
    settings = AutoscalerSettings(
        DATABASE_URL="postgresql://nowhere/db",
        provider="kubernetes",
        kubernetes_url=world.url,
        kubernetes_namespace=NAMESPACE,
        kubernetes_token_file=world.token_file,
        kubernetes_installation=INSTALLATION,
    )
    provider = PROVIDERS["kubernetes"](settings)
    assert list(await provider.list()) == []
    await provider.close()
