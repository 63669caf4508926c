"""Settings of the autoscaler; the numbers of the pools are in the scaling file (scaling_file.py)."""

import hashlib
import os
import socket
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator

from autoscaler.docker_settings import DockerSettings, Words
from autoscaler.keda_settings import KedaSettings
from autoscaler.kubernetes_settings import KubernetesSettings
from autoscaler.lifespan import LifeLimits
from autoscaler.policies import require_policy
from autoscaler.scaling_file import PoolScaling, read_scaling
from autoscaler.verda_settings import VerdaSettings
from reveille.settings import Settings


class AutoscalerSettings(DockerSettings, KedaSettings, KubernetesSettings, VerdaSettings, Settings):
    """What the autoscaler adds. The settings below `scaling_file` override it for every pool."""

    scaling_file: Path | None = Field(None, description="YAML; unset: the defaults")
    policy: str | None = Field(None, description="marginal (the default) or threshold")
    shadow_policies: Words = Field(
        (), description="decide on the same facts; their decisions are kept and not applied"
    )
    scale_up_delay_seconds: NonNegativeFloat | None = Field(
        None, description="the file's scale_up_delay: tasks wait so long before a start (threshold)"
    )
    scale_down_delay_seconds: NonNegativeFloat | None = Field(
        None, description="the file's scale_down_delay: idle for so long before an end (threshold)"
    )
    lone_task_delay_seconds: NonNegativeFloat | None = Field(
        None, description="the file's lone_task_delay: so long waits a task for the first container"
    )
    startup_timeout_seconds: PositiveFloat | None = Field(
        None, description="the file's startup_timeout: a container that boots longer has failed"
    )
    budget_soft_usd: PositiveFloat | None = Field(None, description="per month: critical only")
    budget_hard_usd: PositiveFloat | None = Field(None, description="per month: nothing")
    budget_usd_per_hour_max: PositiveFloat | None = Field(
        None, description="what all containers together may cost an hour"
    )
    budget_alert_only: bool | None = Field(None, description="hold nothing, say so")

    provider: Literal["docker", "keda", "kubernetes", "process", "static", "verda"] = Field(
        "process", description="where the scaling file names none"
    )
    container_prefix: str = Field(
        "reveille",
        pattern=r"^[a-z][a-z0-9-]{0,30}$",
        description="names are <prefix>-<pool>-<slot>",
    )
    run_dir: Path | None = Field(
        None, description="pid files and logs of processes; unset: .reveille/run/<of this database>"
    )
    process_bound: bool = Field(False, description="processes end with the autoscaler (demo)")
    stop_grace_seconds: PositiveFloat | None = Field(
        None, description="SIGTERM to SIGKILL; unset: drain_seconds + 10"
    )

    look_seconds: PositiveFloat = Field(5.0, description="between rounds while anything moves")
    standby_seconds: PositiveFloat = Field(10.0, description="how often a standby tries to lead")
    attention_seconds: NonNegativeFloat = Field(
        1.0, description="pause after news: an insert that skipped its NOTIFY may commit later"
    )
    backstop_seconds: PositiveFloat = Field(300.0, description="longest pause, whatever was heard")
    decision_seconds: PositiveFloat = Field(
        600.0, description="how often a decision to change nothing is stored while tasks are there"
    )
    decision_days: PositiveFloat = Field(30.0, description="how long decisions are kept")
    experience_seconds_max: NonNegativeFloat = Field(
        60.0, description="how old what was learned of service times and cold starts may be"
    )
    creating_seconds_max: PositiveFloat = Field(
        120.0, description="a container that is asked for longer has failed"
    )
    price_seconds_max: PositiveFloat = Field(
        3600.0, description="how old a provider's price list may be"
    )
    unresponsive_seconds_max: PositiveFloat = Field(
        60.0, description="a ready container whose server is lost may come back for this long"
    )
    holder: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="shown in the table leaders",
    )

    @field_validator("shadow_policies", mode="before")
    @classmethod
    def _listed(cls, names: Any) -> Any:
        return (
            [n.strip() for n in names.split(",") if n.strip()] if isinstance(names, str) else names
        )

    @field_validator("shadow_policies")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            require_policy(name)
        return names

    def scaling(self) -> dict[str, PoolScaling]:
        """The scaling of every pool. Raises ConfigurationError."""
        overrides: dict[str, Any] = {
            "policy": self.policy,
            "scale_up_delay": self.scale_up_delay_seconds,
            "scale_down_delay": self.scale_down_delay_seconds,
            "lone_task_delay": self.lone_task_delay_seconds,
            "startup_timeout": self.startup_timeout_seconds,
            "budget_soft_usd_per_month": self.budget_soft_usd,
            "budget_hard_usd_per_month": self.budget_hard_usd,
            "budget_usd_per_hour_max": self.budget_usd_per_hour_max,
            "budget_alert_only": self.budget_alert_only,
        }
        return read_scaling(self.scaling_file, overrides=overrides)

    def life_limits(self, scaling: PoolScaling) -> LifeLimits:
        """The limits on a container's life in a pool."""
        return LifeLimits(
            creating_seconds_max=self.creating_seconds_max,
            startup_timeout_seconds=scaling.startup_timeout,
            gpu_wait_seconds_max=scaling.gpu_wait_timeout,
            unresponsive_seconds_max=self.unresponsive_seconds_max,
        )

    @property
    def process_folder(self) -> Path:
        """Of this database only: another autoscaler's processes are strangers."""
        if self.run_dir is not None:
            return self.run_dir
        scope = hashlib.sha256(self.dsn.encode()).hexdigest()[:12]
        return Path(".reveille") / "run" / scope

    @property
    def installation(self) -> str:
        """Marks what is ours at Verda."""
        return self.verda_installation or self._address_mark

    @property
    def kubernetes_mark(self) -> str:
        """Marks what is ours in a cluster."""
        return self.kubernetes_installation or self._address_mark

    @property
    def _address_mark(self) -> str:
        """Where others may have containers too: from the database's address, because whoever shares
        that shares the containers.
        """
        parts = urlsplit(self.dsn)
        address = parts.netloc.rpartition("@")[2] + parts.path
        return hashlib.sha256(address.encode()).hexdigest()[:12]

    @property
    def grace_seconds(self) -> float:
        """Longer than the drain, so that the drain decides."""
        return self.stop_grace_seconds or self.drain_seconds + 10.0
