"""docker-compose.yml, the Dockerfiles and the lock files keep promises to each other."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILES = ("docker/Dockerfile", "docker/gpu.Dockerfile")
LOCKS = (
    "requirements.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
    "requirements-keda.lock",
    "requirements-s3.lock",
)
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
LONG_RUNNING = sorted(set(OURS) - {"migrate", "model-stub"})


def _default(value: str) -> str:
    """What compose makes of `${NAME:-default}` with nothing set."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value)


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_container_is_not_killed_before_its_drain_ends(name: str) -> None:
    """SIGKILL in the middle of a drain would spend an attempt for nothing."""
    drain_seconds = float(_default(SERVICES[name]["environment"]["REVEILLE_DRAIN_SECONDS"]))
    grace_seconds = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace_seconds > drain_seconds


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_setting_that_compose_does_not_name_reaches_the_service(name: str) -> None:
    """There are a hundred; compose names those that most change."""
    assert SERVICES[name]["env_file"] == [{"path": "reveille.env", "required": False}]


def test_files_with_secrets_are_committed_by_nobody() -> None:
    """`git add .` after the how-to was followed must not publish a password."""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/.env", "/reveille.env"} <= set(ignored)


@pytest.mark.parametrize("name", OURS)
def test_container_of_ours_has_no_more_rights_than_it_needs(name: str) -> None:
    """A hostile PDF that gets through must find nothing to write to and no capability."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_service_waits_for_the_migration(name: str) -> None:
    """A service that starts on yesterday's schema refuses to run."""
    assert SERVICES[name]["depends_on"]["migrate"] == {
        "condition": "service_completed_successfully"
    }


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_published_port_stays_on_this_machine_by_default(name: str) -> None:
    """The defaults hold passwords that everybody knows."""
    for port in SERVICES[name].get("ports", []):
        assert _default(port).startswith("127.0.0.1:")


def test_every_base_image_is_pinned_and_can_be_replaced() -> None:
    """No image may change under us, and each can come from where nothing can be pulled."""
    used = [service["image"] for service in SERVICES.values() if "build" not in service]
    used += [
        COMPOSE["x-build"]["args"]["PYTHON_IMAGE"],
        COMPOSE["x-gpu-build"]["args"]["OLLAMA_IMAGE"],
    ]
    for image in used:
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[\w./-]+:v?\d[\w.-]*\}", image), image


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfile_and_compose_agree_on_the_base_image(path: str) -> None:
    """`docker build` and `docker compose build` must give the same image."""
    text = (ROOT / path).read_text()
    name, default = re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", text, re.MULTILINE)[0]
    assert f"${{{name}:-{default}}}" in (ROOT / "docker-compose.yml").read_text()


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfile_runs_as_a_numbered_user_in_exec_form(path: str) -> None:
    """Signals must reach Python itself, and an orchestrator must see that it is not root."""
    text = (ROOT / path).read_text()
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE)
    entrypoints = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    assert entrypoints
    assert all(entrypoint.startswith("[") for entrypoint in entrypoints)


def test_every_service_package_has_an_image() -> None:
    """A sixth service must not be forgotten in the Dockerfile and in compose."""
    text = (ROOT / "docker/Dockerfile").read_text()
    for package in (path.parent for path in (ROOT / "services").glob("*/__init__.py")):
        target = package.name.replace("_", "-")
        assert f"AS {target}\n" in text
        assert f'["python", "-m", "{package.name}"]' in text
        assert target in SERVICES


def test_prometheus_looks_for_every_service_of_compose() -> None:
    """A service whose metrics nobody scrapes raises no alert."""
    config = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yaml").read_text())
    (job,) = (job for job in config["scrape_configs"] if job["job_name"] == "reveille")
    (discovery,) = job["dns_sd_configs"]
    assert sorted(discovery["names"]) == LONG_RUNNING


@pytest.mark.parametrize("path", LOCKS)
def test_lock_file_has_hashes_and_no_index_address(path: str) -> None:
    """What is installed is what was reviewed, from whichever index the builder uses."""
    text = (ROOT / path).read_text()
    pins = re.findall(
        r"^[a-z0-9][\w.-]*==\S+(?: ;[^\\\n]*)? \\\n +--hash=sha256:", text, re.MULTILINE
    )
    assert len(pins) == len(re.findall(r"^[a-z0-9]", text, re.MULTILINE))
    assert "://" not in text
    assert "--index" not in text


def test_lock_files_agree_with_each_other() -> None:
    """Tests must run on the versions that are shipped, and one command installs several locks."""
    pinned: dict[str, str] = {}
    for path in LOCKS:
        for name, version in re.findall(
            r"^([a-z0-9][\w.-]*)==(\S+)", (ROOT / path).read_text(), re.MULTILINE
        ):
            assert pinned.setdefault(name, version) == version
