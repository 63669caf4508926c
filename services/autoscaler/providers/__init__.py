"""Providers by name. Adding one is a module, a line here and a word in config.py."""

import os
from collections.abc import Callable, Mapping

from autoscaler.config import AutoscalerSettings
from autoscaler.ledger import Ledger
from autoscaler.provider import Provider
from autoscaler.providers.docker import DockerProvider
from autoscaler.providers.keda import KedaProvider
from autoscaler.providers.kubernetes import KubernetesProvider
from autoscaler.providers.process import ProcessProvider
from autoscaler.providers.static import StaticProvider
from autoscaler.providers.verda import VerdaProvider
from reveille.errors import ConfigurationError


def _process(settings: AutoscalerSettings) -> Provider:
    return ProcessProvider(
        settings.process_folder,
        bound=settings.process_bound,
        grace_seconds=settings.grace_seconds,
    )


def _docker(settings: AutoscalerSettings) -> Provider:
    return DockerProvider(
        settings,
        prefix=settings.container_prefix,
        surroundings=os.environ,
        grace_seconds=settings.grace_seconds,
    )


def _kubernetes(settings: AutoscalerSettings) -> Provider:
    return KubernetesProvider(
        settings,
        prefix=settings.container_prefix,
        installation=settings.kubernetes_mark,
        surroundings=os.environ,
    )


def _static(_: AutoscalerSettings) -> Provider:
    return StaticProvider()


def _verda(settings: AutoscalerSettings) -> Provider:
    return VerdaProvider(
        settings,
        prefix=settings.container_prefix,
        installation=settings.installation,
        surroundings=os.environ,
    )


PROVIDERS: Mapping[str, Callable[[AutoscalerSettings], Provider]] = {
    "docker": _docker,
    "kubernetes": _kubernetes,
    "process": _process,
    "static": _static,
    "verda": _verda,
}


def open_provider(name: str, settings: AutoscalerSettings, ledger: Ledger) -> Provider:
    """The provider of that name. Raises ConfigurationError."""
    if name == "keda":  # what it runs are rows
        if not settings.keda_listen:
            raise ConfigurationError("the provider keda needs REVEILLE_KEDA_LISTEN")
        return KedaProvider(ledger)
    if name not in PROVIDERS:
        known = ", ".join(sorted([*PROVIDERS, "keda"]))
        raise ConfigurationError(f"unknown provider {name!r}; known are {known}")
    return PROVIDERS[name](settings)
