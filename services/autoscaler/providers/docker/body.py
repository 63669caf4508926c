"""What a worker's container looks like to the engine: pure, from its spec and the settings.

No root file system to write on, no capabilities, no way to gain privileges, as in
docker-compose.yml. It is never started again by the engine: a worker that ended is the
autoscaler's to judge.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from autoscaler.docker_settings import DockerSettings
from autoscaler.provider import ContainerSpec

LABEL_PREFIX = "dev.reveille.prefix"  # whose container it is: only those are ever listed or touched
LABEL_POOL = "dev.reveille.pool"
LABEL_SERVER = "dev.reveille.server"
LABEL_GPU = "dev.reveille.gpu"

ALL_GPUS = "all"
TMP_OPTIONS = "mode=1777,size=512m"
NANO = 1_000_000_000


def labels_of(spec: ContainerSpec, prefix: str, gpu: str | None) -> dict[str, str]:
    """What the engine remembers of a container, beside its name."""
    labels = {LABEL_PREFIX: prefix, LABEL_POOL: spec.pool, LABEL_SERVER: spec.server_id}
    return labels if gpu is None else {**labels, LABEL_GPU: gpu}


def body_of(
    spec: ContainerSpec,
    settings: DockerSettings,
    *,
    prefix: str,
    environment: Mapping[str, str],
    gpu: str | None,
    stop_seconds: float,
) -> dict[str, Any]:
    """The body of the call that creates it; `gpu` is the device it gets."""
    command = shlex.split(settings.docker_command.format(pool=spec.pool))
    return {
        "Image": image_of(spec, settings),
        **({"Cmd": command} if command else {}),
        "Env": [f"{name}={value}" for name, value in sorted(environment.items())],
        "Labels": labels_of(spec, prefix, gpu),
        "Hostname": spec.name,
        "StopSignal": "SIGTERM",
        "StopTimeout": round(stop_seconds),
        "HostConfig": _host_config(settings, gpu),
    }


def image_of(spec: ContainerSpec, settings: DockerSettings) -> str:
    """The image that serves the pool."""
    return settings.docker_image.format(pool=spec.pool)


def _host_config(settings: DockerSettings, gpu: str | None) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Init": True,
        "RestartPolicy": {"Name": "no"},
        "ReadonlyRootfs": True,
        "Tmpfs": {"/tmp": TMP_OPTIONS},  # noqa: S108 - inside the container
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Binds": list(settings.docker_volumes),
    }
    if settings.docker_network:
        config["NetworkMode"] = settings.docker_network
    if settings.docker_memory_bytes_max is not None:
        config["Memory"] = config["MemorySwap"] = settings.docker_memory_bytes_max
    if settings.docker_cpus_max is not None:
        config["NanoCpus"] = round(settings.docker_cpus_max * NANO)
    if settings.docker_shm_bytes is not None:
        config["ShmSize"] = settings.docker_shm_bytes
    if gpu is not None:
        config["DeviceRequests"] = [_device_request(gpu)]
    return config


def _device_request(gpu: str) -> dict[str, Any]:
    which = {"Count": -1} if gpu == ALL_GPUS else {"DeviceIDs": [gpu]}
    return {"Driver": "nvidia", "Capabilities": [["gpu"]], **which}


def free_gpu(devices: Sequence[str], taken: Mapping[str, str]) -> str | None:
    """The first of `devices` that no container (`taken`: device → its name) has; None: all have."""
    return next((device for device in devices if device not in taken), None)
