"""Settings of every service: REVEILLE_* environment variables plus DATABASE_URL and OLLAMA_HOST,
nothing else.

One source, so that "unset" and "default" cannot be confused. Durations end in _seconds, sizes in
_bytes, maxima in _max. `python -m <service> --print-settings` shows the effective values with
secrets masked.
"""

import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from uuid import uuid4

from pydantic import (
    AliasChoices,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from reveille.errors import ConfigurationError
from reveille.logs import mask_text

S = TypeVar("S", bound=BaseSettings)
DEAD_MAN_SECONDS = 1800.0  # several of the autoscaler's longest pauses, and any restart of it
Names = Annotated[tuple[str, ...], NoDecode]  # comma-separated in the environment


class Settings(BaseSettings):
    """What all services share. `beside` are the other settings that the service reads."""

    beside: ClassVar[tuple[type[BaseSettings], ...]] = ()

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    database_url: SecretStr = Field(
        validation_alias=AliasChoices("DATABASE_URL", "REVEILLE_DATABASE_URL"),
        description="PostgreSQL DSN; sessions must be direct, not through a transaction pooler, for LISTEN",
    )
    database_pool_max: PositiveInt = Field(
        4, description="connections besides that of LISTEN (and a worker's heartbeat)"
    )
    http_host: str = Field("127.0.0.1", description="address to listen on; 0.0.0.0 is all")
    http_port: int = Field(0, ge=0, le=65535, description="0: any free port")
    otlp_endpoint: str | None = Field(
        None, description="OTLP http/protobuf base URL; unset: no spans are recorded"
    )
    trace_sample_ratio: float = Field(1.0, ge=0, le=1, description="share of traces kept, whole")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is less important is not logged"
    )
    log_json: bool | None = Field(None, description="unset: JSON unless on a terminal")
    ping_seconds: PositiveFloat = Field(
        20.0, description="silence after which the LISTEN connection proves that it hears"
    )
    drain_seconds: PositiveFloat = Field(
        100.0, description="SIGTERM: time for running work to finish"
    )
    api_tokens: SecretStr = Field(
        SecretStr(""),
        description="token=scope+scope, or sha256:<hex>=scope+scope, comma-separated; empty: open",
    )

    @property
    def dsn(self) -> str:
        """The DSN in clear text, for the driver only."""
        return self.database_url.get_secret_value()


class DocumentSettings(BaseSettings):
    """Where documents come from and how large they may be."""

    model_config = SettingsConfigDict(
        env_prefix="REVEILLE_", env_ignore_empty=True, extra="ignore", frozen=True
    )

    document_root: Path | None = Field(
        None, description="folder that a file_path is looked for in; unset: such tasks fail"
    )
    document_hosts: Names = Field(
        (), description="hosts that https:// paths may name, comma-separated"
    )
    document_hosts_private: bool = Field(
        False, description="listed hosts may have private addresses"
    )
    document_bytes_max: PositiveInt = Field(100 * 1024 * 1024, description="largest document")
    document_pages_max: PositiveInt = Field(300, description="most pages of a document")
    page_points_max: PositiveInt = Field(14_400, description="longest side of a page, 1/72 inch")
    image_pixels: PositiveInt = Field(1024, description="longest side of a slide image")
    render_seconds_max: PositiveFloat = Field(30.0, description="opening, or one page")
    render_memory_bytes_max: PositiveInt = Field(
        1024 * 1024 * 1024, description="address space of the process that renders"
    )

    def __init__(self, **values: Any) -> None:
        hosts = values.get("document_hosts", os.environ.get("REVEILLE_DOCUMENT_HOSTS"))
        if isinstance(hosts, str):
            values["document_hosts"] = tuple(h.strip() for h in hosts.split(",") if h.strip())
        super().__init__(**values)


class WorkerSettings(Settings):
    """What the workers add."""

    beside = (DocumentSettings,)
    server_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}",
        max_length=255,
        description="row of processing_servers; one per process",
    )
    container_id: str | None = Field(
        None, description="of the container it runs in; the autoscaler sets it"
    )
    dead_man_seconds: NonNegativeFloat | None = Field(
        None,
        description="ends after so long without a database, or without a task and an autoscaler; "
        "unset: 1800 in a container that an autoscaler started, else never; 0: never",
    )
    slots: PositiveInt = Field(1, le=256, description="tasks at the same time")
    heartbeat_seconds: PositiveFloat = Field(10.0, description="between two heartbeats")
    lease_seconds: PositiveFloat = Field(
        30.0, description="silence after which a server counts as lost"
    )
    lock_grace_seconds: PositiveFloat = Field(
        60.0, description="added to a task type's timeout before its lock expires"
    )
    ollama_host: str = Field(
        "http://127.0.0.1:11434",
        validation_alias=AliasChoices("OLLAMA_HOST", "REVEILLE_OLLAMA_HOST"),
        description="URL of the model server",
    )
    vision_model: str = Field("llava", description="what is asked about slides")
    text_model: str = Field("gemma3", description="what is asked about texts")
    num_ctx: PositiveInt = Field(
        8192, description="context tokens; constant per model, a change reloads it"
    )
    model_timeout_seconds: PositiveFloat = Field(300.0, description="of one question")
    model_health_seconds: PositiveFloat = Field(
        30.0, description="how often an idle worker asks its model server"
    )
    gpu_health: bool = Field(
        True, description="out of service while nvidia-smi, where there is one, finds no GPU"
    )
    backoff_base_seconds: PositiveFloat = Field(
        2.0, description="at most so long waits the first retry; doubles with each"
    )
    backoff_max_seconds: PositiveFloat = Field(300.0, description="longest wait of a retry")
    direct_wait_seconds: PositiveFloat = Field(
        60.0, description="how long a direct HTTP call waits for a free slot"
    )

    @property
    def lonely_seconds_max(self) -> float | None:
        """After how long the dead-man switch ends this worker; None: it has none."""
        if self.dead_man_seconds is None:
            return None if self.container_id is None else DEAD_MAN_SECONDS
        return self.dead_man_seconds or None


def shown(settings: Settings) -> str:
    """All effective values as JSON, for people: secrets and the credentials in URLs are masked.
    Raises ConfigurationError for what is read beside `settings`.
    """
    values = settings.model_dump(mode="json")
    for kind in settings.beside:
        values |= load(kind).model_dump(mode="json")
    return json.dumps(
        {
            name: mask_text(value) if isinstance(value, str) else value
            for name, value in values.items()
        },
        indent=2,
    )


def load(kind: type[S], **overrides: Any) -> S:
    """Read settings from the environment. Raises ConfigurationError naming each wrong variable."""
    try:
        return kind(**overrides)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            field = str(problem["loc"][0]) if problem["loc"] else "?"
            name = {"database_url": "DATABASE_URL", "ollama_host": "OLLAMA_HOST"}.get(
                field.lower(), field
            )
            variable = name if name.isupper() else f"REVEILLE_{name.upper()}"
            lines.append(f"{variable}: {problem['msg']}")
        raise ConfigurationError("wrong settings: " + "; ".join(lines)) from None
