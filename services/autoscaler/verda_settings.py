"""Settings of the verda provider; part of the autoscaler's settings, so they are printed there.

What is only needed once the provider is used is checked by `required`, so that a pool on another
provider needs none of it.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from autoscaler.placeholder import only_pool
from reveille.errors import ConfigurationError

Words = Annotated[tuple[str, ...], NoDecode]  # comma-separated in the environment

_SECRET = re.compile(r"([A-Z_][A-Z0-9_]*)=([A-Za-z0-9._~-]+)")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class VerdaSettings(BaseSettings):
    """How the API is reached, and what a worker's deployment gets. `{pool}` in the image's name and
    in the command is the pool's.
    """

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    verda_url: str = Field("https://api.verda.com/v1", description="of the API")
    verda_client_id: SecretStr = Field(SecretStr(""), description="of the account's credentials")
    verda_client_secret: SecretStr = Field(SecretStr(""), description="likewise")
    verda_image: str = Field(
        "", description="with a tag that is not latest, or a digest; {pool} is the pool's name"
    )
    verda_command: str = Field(
        "",
        description="in place of the image's own; {pool} as above, so that one image does for all",
    )
    verda_registry_credentials: str = Field(
        "", description="name of credentials kept at Verda; unset: the image is public"
    )
    verda_secrets: Words = Field(
        (), description="VARIABLE=name-of-a-secret-at-Verda, comma-separated"
    )
    verda_volumes: Words = Field(
        (),
        description="scratch:/where, memory:/where:megabytes or shared:/where:volume-id, "
        "comma-separated",
    )
    verda_port: int = Field(8080, ge=1, le=65535, description="of the worker's /livez")
    verda_installation: str = Field(
        "",
        pattern=r"^[a-z0-9-]{0,40}$",
        description="marks our deployments; unset: made from the database's address",
    )
    verda_answer_seconds_max: PositiveFloat = Field(15.0, description="of one API call")
    verda_stop_seconds_max: PositiveFloat = Field(
        90.0, description="how long a deployment may be seen after it was deleted"
    )

    @field_validator("verda_secrets", "verda_volumes", mode="before")
    @classmethod
    def _split_verda(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(word.strip() for word in value.split(",") if word.strip())

    @field_validator("verda_url")
    @classmethod
    def _secret_on_the_way(cls, url: str) -> str:
        parts = urlsplit(url)
        private = parts.scheme == "https" or parts.hostname in _LOOPBACK
        if parts.scheme not in {"http", "https"} or not parts.hostname or not private:
            raise ValueError(f"{url!r} is no https:// address")
        return url.rstrip("/")

    @field_validator("verda_image", "verda_command")
    @classmethod
    def _for_a_pool(cls, value: str) -> str:
        return only_pool(value)

    @field_validator("verda_command")
    @classmethod
    def _words(cls, command: str) -> str:
        shlex.split(command)  # raises ValueError for quotes that do not close
        return command

    @field_validator("verda_image")
    @classmethod
    def _pinned(cls, image: str) -> str:
        name = image.format(pool="visual").rpartition("/")[2]
        tag = name.partition(":")[2]
        if image and (not tag or tag == "latest"):
            raise ValueError(f"{image!r} needs a tag other than latest: Verda takes no other")
        return image

    @field_validator("verda_secrets")
    @classmethod
    def _are_secrets(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if _SECRET.fullmatch(word) is None:
                raise ValueError(f"{word!r} is no VARIABLE=name-of-a-secret")
        return words

    @field_validator("verda_volumes")
    @classmethod
    def _are_volumes(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            mount_of(word)
        return words

    @property
    def secret_names(self) -> Mapping[str, str]:
        """Variable → name of the secret at Verda."""
        return dict(word.split("=", 1) for word in self.verda_secrets)

    def required(self) -> None:
        """Raises ConfigurationError for what the provider cannot do without."""
        needed = {
            "REVEILLE_VERDA_CLIENT_ID": self.verda_client_id.get_secret_value(),
            "REVEILLE_VERDA_CLIENT_SECRET": self.verda_client_secret.get_secret_value(),
            "REVEILLE_VERDA_IMAGE": self.verda_image,
        }
        missing = [name for name, value in needed.items() if not value]
        if missing:
            raise ConfigurationError(f"the provider verda needs {', '.join(missing)}")


def mount_of(word: str) -> dict[str, Any]:
    """A volume as the API has it. Raises ValueError."""
    kind, _, where = word.partition(":")
    path, *rest = where.split(":")
    if not path.startswith("/"):
        raise ValueError(f"{word!r}: the path has to begin with /")
    match kind, rest:
        case "scratch", []:
            return {"type": "scratch", "mount_path": path}
        case "memory", [size] if size.isdigit() and int(size):
            return {"type": "memory", "mount_path": path, "size_in_mb": int(size)}
        case "shared", [volume] if volume:
            return {"type": "shared", "mount_path": path, "volume_id": volume}
    raise ValueError(
        f"{word!r} is no volume; write scratch:/where, memory:/where:megabytes or "
        "shared:/where:volume-id"
    )
