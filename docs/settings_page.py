"""Write docs/settings.md from the settings' own words: `make settings`."""

from collections.abc import Iterator
from inspect import get_annotations
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from autoscaler.config import AutoscalerSettings
from autoscaler.docker_settings import DockerSettings
from autoscaler.keda_settings import KedaSettings
from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.verda_settings import VerdaSettings
from heartbeat_monitor.config import MonitorSettings
from queue_gateway.config import GatewaySettings
from reveille.settings import DocumentSettings, Settings, WorkerSettings

PAGE = Path(__file__).parent / "settings.md"
INTRODUCTION = """# Settings

Environment variables; one that is set to nothing counts as unset. `python -m <service> --print-settings` shows the
values in effect, secrets masked, and a wrong one ends a service at its start with a sentence that names it. Durations
are in seconds, sizes in bytes. `make settings` writes this page from the code.

Besides these: what workers of a provider see otherwise, `REVEILLE_WORKER_ENV_<NAME>`
([providers](providers.md#what-a-worker-is-told)); the numbers of each pool, in the scaling file
([containers](deploy-containers.md), [simulation](simulation.md)); passwords, models and images of Compose, in
`docker/env.example`.
"""
GROUPS: tuple[tuple[str, type[BaseSettings]], ...] = (
    ("Every service", Settings),
    ("Workers", WorkerSettings),
    ("Documents and rendering (workers; the gateway, for pictures of slides)", DocumentSettings),
    ("Queue gateway", GatewaySettings),
    ("Heartbeat monitor", MonitorSettings),
    ("Autoscaler", AutoscalerSettings),
    ("Autoscaler: provider `docker`", DockerSettings),
    ("Autoscaler: provider `kubernetes`", KubernetesSettings),
    ("Autoscaler: provider `verda`", VerdaSettings),
    ("Autoscaler: KEDA", KedaSettings),
)


def own_fields(kind: type[BaseSettings]) -> dict[str, FieldInfo]:
    """What this class adds or says anew."""
    return {n: f for n, f in kind.model_fields.items() if n in get_annotations(kind)}


def variable(name: str, field: FieldInfo) -> str:
    """Its name in the environment."""
    if isinstance(field.validation_alias, AliasChoices):
        return str(field.validation_alias.choices[0])
    return f"REVEILLE_{name.upper()}"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "of the process"
    if field.is_required():
        return "needed"
    value: Any = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value in (None, "", ()):
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else _number(value)}`"


def _number(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _meaning(field: FieldInfo) -> str:
    words = field.description or ""
    if get_origin(field.annotation) is Literal:
        words += f": {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}"
    return words.replace("|", "\\|").replace("<", "&lt;")


def page() -> str:
    """All of it."""
    return INTRODUCTION + "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    for title, kind in GROUPS:
        yield from ("", f"## {title}", "", "| variable | default | meaning |", "|---|---|---|")
        for name, field in own_fields(kind).items():
            yield f"| `{variable(name, field)}` | {_default(field)} | {_meaning(field)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
