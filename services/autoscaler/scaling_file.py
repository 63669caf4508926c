"""The scaling file: the numbers of each pool, in the words of the requirements.

    visual_container_scaling:
      min_replicas: 0
      max_replicas: 3
      scale_up_threshold: 2     # more than so many tasks queued or being worked on …
      scale_up_delay: 120s      # … for so long: one container more
      scale_down_threshold: 0   # no more than so many waiting, and a container idle …
      scale_down_delay: 600s    # … for so long: it goes
      startup_timeout: 300s

Durations are `120s`, `10m`, `1h`, `500ms` or a number of seconds. A key that is not known, and a
value that makes no sense, is refused by its full name: a typing error must not cost money quietly.
"""

import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    ValidationError,
    model_validator,
)

from autoscaler.policies import require_policy
from reveille.errors import ConfigurationError
from reveille.task import COMBINED

M = TypeVar("M", bound=BaseModel)

BLOCK_SUFFIX = "_container_scaling"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)")


def parse_duration(value: Any) -> float:
    """Seconds. Raises ValueError saying which forms there are."""
    if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write 120s, 10m, 1h or a number of seconds")
    return float(match[1]) * _UNITS[match[2]]


Duration = Annotated[NonNegativeFloat, BeforeValidator(parse_duration)]


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")


class WarmHours(BaseModel):
    """Hours in which `replicas` are kept warm: `{days: [mon, tue], begins: "08:00", ends: "20:00"}`.
    They go past midnight if they end before they begin.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: tuple[Day, ...] = DAYS[:5]
    begins: str = Field(pattern=_CLOCK.pattern)
    ends: str = Field(pattern=_CLOCK.pattern)
    replicas: int = Field(1, ge=1)
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.begins == self.ends:
            raise ValueError(f"the hours begin and end at {self.begins}")
        if _CLOCK.fullmatch(self.begins) is None or _CLOCK.fullmatch(self.ends) is None:
            raise ValueError("begins and ends are times such as 08:00")
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"unknown time zone {self.timezone!r}") from None
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which the hours are meant."""
        return ZoneInfo(self.timezone)

    @property
    def weekdays(self) -> frozenset[int]:
        """Monday is 0."""
        return frozenset(DAYS.index(day) for day in self.days)

    @property
    def begin_minute(self) -> int:
        """Of the day."""
        return _minute(self.begins)

    @property
    def end_minute(self) -> int:
        """Of the day; midnight is its last."""
        return _minute(self.ends) or 24 * 60


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


class Budget(BaseModel):
    """Caps on what a calendar month (UTC) and an hour may cost, in US dollars, all pools together.

    Above the soft cap only critical tasks start containers, above the others nothing does. With
    `alert_only` nothing is held: the decision's reason says which cap it passed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    soft_usd_per_month: PositiveFloat | None = None
    hard_usd_per_month: PositiveFloat | None = None
    usd_per_hour_max: PositiveFloat | None = None
    alert_only: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        soft, hard = self.soft_usd_per_month, self.hard_usd_per_month
        if soft is not None and hard is not None and soft > hard:
            raise ValueError(f"soft_usd_per_month {soft:g} is above hard_usd_per_month {hard:g}")
        return self


class Offer(BaseModel):
    """What a pool's containers may be: who runs them, on which GPU, where, and whether they may be
    taken away (spot). Words are the provider's. Without a price the catalogue's is taken.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: str | None = None  # None: the pool's
    gpu: str | None = None
    region: str | None = None
    spot: bool = False
    price_usd_per_hour: float | None = Field(None, ge=0, allow_inf_nan=False)


class PoolScaling(BaseModel):
    """How one pool scales. `lone_task_delay` is ours: "depth > 2" alone would let one or two tasks
    wait for ever, so the first container starts for any task that has waited for so long; by
    default scale_up_delay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_replicas: NonNegativeInt = 0
    max_replicas: NonNegativeInt = 3
    scale_up_threshold: NonNegativeInt = 2
    scale_up_delay: Duration = 120.0
    scale_down_threshold: NonNegativeInt = 0
    scale_down_delay: Duration = 600.0
    startup_timeout: Duration = 300.0
    lone_task_delay: Duration | None = None
    policy: str = "marginal"
    wait_goal: Duration = 300.0  # marginal: what no task should wait longer than
    cold_start: Duration = 120.0  # marginal: expected until one was measured
    service_time: Duration = 60.0  # marginal: of a task whose type was not measured
    warm_hours: tuple[WarmHours, ...] = ()  # kept warm then, whatever the policy says
    # One is kept warm in those quarters of an hour of the week in which work came in at least this
    # share of the past weeks; None: in none.
    forecast: float | None = Field(None, gt=0, le=1)
    forecast_weeks_min: int = Field(3, ge=1, le=8)  # fewer on record say nothing
    provider: str | None = None  # None: the setting REVEILLE_PROVIDER
    gpu: str | None = None
    price_usd_per_hour: float = Field(0.5, ge=0, allow_inf_nan=False)
    offers: tuple[Offer, ...] = ()  # in order of preference, in place of the gpu and price above
    gpu_wait_timeout: Duration = 120.0  # no GPU for so long: the next offer is tried
    failure_backoff: Duration = 30.0  # doubles with each container that fails in a row …
    failure_backoff_max: Duration = 600.0  # … up to this
    budget: Budget = Field(Budget(), exclude=True)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}"
            )
        if self.startup_timeout <= 0:
            raise ValueError("startup_timeout must be more than 0")
        for hours in self.warm_hours:
            if hours.replicas > self.max_replicas:
                raise ValueError(
                    f"warm_hours want {hours.replicas} replicas, max_replicas is {self.max_replicas}"
                )
        require_policy(self.policy)
        return self

    @property
    def lone_task_seconds(self) -> float:
        """The wait of a lone task after which the first container starts."""
        return self.scale_up_delay if self.lone_task_delay is None else self.lone_task_delay


# What the requirements assume: prices per GPU hour, and how many.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "visual": {"max_replicas": 3, "scale_up_threshold": 2, "price_usd_per_hour": 0.50},
    "text": {"max_replicas": 5, "scale_up_threshold": 3, "price_usd_per_hour": 0.80},
    # Ours: of the two the larger of each; it counts once task types are led to it.
    COMBINED: {"max_replicas": 5, "scale_up_threshold": 2, "price_usd_per_hour": 0.80},
}


def read_scaling(
    path: Path | None, *, overrides: Mapping[str, Any] | None = None
) -> dict[str, PoolScaling]:
    """The scaling of every pool: defaults, the file over them, `overrides` (keys of a block, or of
    `budget` with the prefix `budget_`) over both. Raises ConfigurationError.
    """
    source = "the defaults" if path is None else str(path)
    document = {} if path is None else _load(path)
    known = [f"{pool}{BLOCK_SUFFIX}" for pool in DEFAULTS]
    for key in document:
        if key not in (*known, "budget"):
            raise ConfigurationError(
                f"{source}: unknown key {key!r}; known are {', '.join(known)} and budget"
            )
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    caps = {key.removeprefix("budget_"): given.pop(key) for key in list(given) if "budget_" in key}
    budget = _checked(Budget, source, "budget", _block(document, source, "budget") | caps)
    return {
        pool: _checked(
            PoolScaling,
            source,
            f"{pool}{BLOCK_SUFFIX}",
            {**DEFAULTS[pool], **_block(document, source, f"{pool}{BLOCK_SUFFIX}"), **given},
        ).model_copy(update={"budget": budget})
        for pool in DEFAULTS
    }


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"REVEILLE_SCALING_FILE: {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: expected blocks such as visual{BLOCK_SUFFIX}:")
    return document


def _block(document: Mapping[str, Any], source: str, name: str) -> dict[str, Any]:
    block = document.get(name)
    if block is None:
        return {}
    if not isinstance(block, dict):
        raise ConfigurationError(f"{source}: {name}: expected keys and values, not {block!r}")
    if name != "budget" and "budget" in block:
        raise ConfigurationError(f"{source}: {name}.budget: budget stands beside the pools")
    return dict(block)


def _checked(kind: type[M], source: str, name: str, values: dict[str, Any]) -> M:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{'.'.join([name, *map(str, problem['loc'])])}: {_say(kind, problem)}"
            for problem in error.errors()
        ]
        raise ConfigurationError(f"{source}: " + "; ".join(lines)) from None


def _say(kind: type[BaseModel], problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        known = sorted(set(kind.model_fields) - {"budget"})
        return f"unknown key; known are {', '.join(known)}"
    return str(problem["msg"]).removeprefix("Value error, ")
