"""Settings of the docker provider; part of the autoscaler's settings, so they are printed there."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autoscaler.placeholder import only_pool

Words = Annotated[tuple[str, ...], NoDecode]  # comma-separated in the environment


class DockerSettings(BaseSettings):
    """How the engine is reached, and what a worker's container gets. `{pool}` in the image's name
    is the pool's.
    """

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    docker_host: str = Field(
        "unix:///var/run/docker.sock",
        validation_alias=AliasChoices("REVEILLE_DOCKER_HOST", "DOCKER_HOST"),
        description="unix:///path, tcp://host:port or https://host:port",
    )
    docker_cert_path: Path | None = Field(
        None,
        validation_alias=AliasChoices("REVEILLE_DOCKER_CERT_PATH", "DOCKER_CERT_PATH"),
        description="folder of ca.pem, cert.pem and key.pem for TLS",
    )
    docker_image: str = Field(
        "reveille/{pool}-worker:0.1.0", min_length=1, description="{pool} is the pool's name"
    )
    docker_command: str = Field("", description="in place of the image's own; {pool} as above")
    docker_pull: Literal["missing", "always", "never"] = Field(
        "missing", description="when the image is fetched"
    )
    docker_pull_seconds_max: PositiveFloat = Field(1800.0, description="longest fetch")
    docker_registry_auth: SecretStr = Field(
        SecretStr(""), description="user:password for the image's registry"
    )
    docker_network: str = Field("", description="unset: the engine's default network")
    docker_volumes: Words = Field((), description="name-or-path:/where[:ro], comma-separated")
    docker_gpus: Words = Field(
        (),
        description="device numbers or UUIDs, comma-separated: each container gets a free one; "
        "all: each sees every GPU; unset: none",
    )
    docker_memory_bytes_max: PositiveInt | None = Field(None, description="of each container")
    docker_cpus_max: PositiveFloat | None = Field(None, description="of each container")
    docker_shm_bytes: PositiveInt | None = Field(
        None, description="shared memory of each container"
    )

    @field_validator("docker_volumes", "docker_gpus", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(word.strip() for word in value.split(",") if word.strip())

    @field_validator("docker_volumes")
    @classmethod
    def _volumes_are_binds(cls, volumes: tuple[str, ...]) -> tuple[str, ...]:
        for volume in volumes:
            parts = volume.split(":")
            if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/"):
                raise ValueError(f"{volume!r} is no volume; write name:/where or /path:/where:ro")
        return volumes

    @field_validator("docker_image", "docker_command")
    @classmethod
    def _only_pool(cls, value: str) -> str:
        return only_pool(value)
