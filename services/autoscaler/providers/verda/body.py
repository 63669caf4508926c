"""What a slot's deployment looks like to the API: pure, from its spec and the settings."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from autoscaler.provider import ContainerSpec, ProviderError
from autoscaler.verda_settings import VerdaSettings, mount_of

# Whose deployment it is: the same prefix may be in use by another installation of the account.
STAMP = "REVEILLE_INSTALLATION"

DSN = "DATABASE_URL"

_TELLING = re.compile(r"DATABASE_URL|.*(PASSWORD|SECRET|TOKENS?|_KEY)")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_NEVER = {"enabled": False, "threshold": 80}


def body_of(
    spec: ContainerSpec,
    settings: VerdaSettings,
    *,
    gpu: str,
    installation: str,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """The body of the call that creates it. Raises ProviderError for what Verda cannot be given."""
    return {
        "name": spec.name,
        "is_spot": spec.spot,
        "compute": {"name": gpu, "size": 1},
        "container_registry_settings": _registry(settings),
        "scaling": _scaling(),
        "containers": [
            {
                "image": settings.verda_image.format(pool=spec.pool),
                "exposed_port": settings.verda_port,  # demanded even of those that only pull
                "healthcheck": {"enabled": True, "port": settings.verda_port, "path": "/livez"},
                "entrypoint_overrides": _command(settings, spec.pool),
                "env": _variables(settings, {**environment, STAMP: installation}),
                "volume_mounts": [mount_of(word) for word in settings.verda_volumes],
            }
        ],
    }


def plain_secrets(body: Mapping[str, Any]) -> list[str]:
    """Variables that look like secrets and stand in the deployment in clear text."""
    (container,) = body["containers"]
    return [
        variable["name"]
        for variable in container["env"]
        if variable["type"] == "plain" and _TELLING.fullmatch(variable["name"])
    ]


def _command(settings: VerdaSettings, pool: str) -> dict[str, Any]:
    """The image's entry point stays: it starts the model server, then what it is given."""
    words = shlex.split(settings.verda_command.format(pool=pool))
    return {"enabled": True, "cmd": words} if words else {"enabled": False}


def _registry(settings: VerdaSettings) -> dict[str, Any]:
    if not settings.verda_registry_credentials:
        return {"is_private": False}
    return {"is_private": True, "credentials": {"name": settings.verda_registry_credentials}}


def _scaling() -> dict[str, Any]:
    """One replica, whatever Verda's own measures say: with min = max its scaler has no say."""
    return {
        "min_replica_count": 1,
        "max_replica_count": 1,
        "scale_down_policy": {"delay_seconds": 300},
        "scale_up_policy": {"delay_seconds": 0},
        "queue_message_ttl_seconds": 300,
        "concurrent_requests_per_replica": 1,
        "scaling_triggers": {
            "queue_load": {"threshold": 1},
            "cpu_utilization": _NEVER,
            "gpu_utilization": _NEVER,
        },
    }


def _variables(settings: VerdaSettings, environment: Mapping[str, str]) -> list[dict[str, str]]:
    plain = {
        **environment,
        "REVEILLE_HTTP_HOST": "0.0.0.0",  # noqa: S104 - inside the container, for its health check
        "REVEILLE_HTTP_PORT": str(settings.verda_port),
    }
    secret = settings.secret_names
    if DSN in secret:
        plain.pop(f"REVEILLE_{DSN}", None)  # its other name, in clear text
    wrong = [name for name in plain if _VARIABLE.fullmatch(name) is None]
    if wrong:
        raise ProviderError(f"Verda takes no variable named {wrong[0]!r}: capitals, digits and _")
    return [
        *(_variable(name, plain[name], "plain") for name in sorted(plain.keys() - secret.keys())),
        *(_variable(name, secret[name], "secret") for name in sorted(secret)),
    ]


def _variable(name: str, value: str, kind: str) -> dict[str, str]:
    return {"name": name, "value_or_reference_to_secret": value, "type": kind}
