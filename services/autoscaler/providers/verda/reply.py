"""What the API's answers mean: pure. Words that are not known are tolerated, their rows never lost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoscaler.provider import Price, ProviderError, Stage
from autoscaler.providers.verda.body import STAMP

_STAGES: Mapping[str, Stage] = {
    "unavailable": "waiting",
    "imagepulling": "pulling",
    "image_pulling": "pulling",
    "initializing": "starting",
    "running": "running",
}
_ORDER: Sequence[Stage] = ("waiting", "pulling", "starting", "running")
PAUSED = "paused"
CURRENCY = "usd"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of the account's, ours or not."""

    name: str
    created_at: str
    environment: Mapping[str, str]  # of its first container; of secrets their names

    @property
    def ref(self) -> str:
        """Of this life of its name."""
        return f"{self.name} {self.created_at}".strip()

    @property
    def installation(self) -> str | None:
        """Whose it is; None: nobody's whom we know."""
        return self.environment.get(STAMP)

    @property
    def server_id(self) -> str | None:
        """The server row that its worker registers."""
        return self.environment.get("REVEILLE_SERVER_ID")


def deployment_of(given: Any) -> Deployment:
    """From an object of the API. Raises ProviderError for one without a name."""
    try:
        containers = given.get("containers") or [{}]
        variables = containers[0].get("env") or []
        return Deployment(
            name=str(given["name"]),
            created_at=str(given.get("created_at") or ""),
            environment={
                str(v["name"]): str(v.get("value_or_reference_to_secret", "")) for v in variables
            },
        )
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ProviderError("Verda tells of a deployment that cannot be read") from None


def stage_of(replicas: Iterable[Any]) -> tuple[Stage, str]:
    """How far the deployment's foremost replica has come, and its status in the API's word. A
    status that is not known is of one that is on its way.
    """
    words = [str(r.get("status", "")).lower() for r in replicas if isinstance(r, dict)]
    known = [(_STAGES.get(word, "starting"), word) for word in words]
    return max(known, key=lambda pair: _ORDER.index(pair[0]), default=("waiting", "no replica"))


def gpus_of(resources: Iterable[Any]) -> Mapping[str, bool]:
    """GPUs that a replica may have one of, and whether one is free."""
    found: dict[str, bool] = {}
    for resource in resources:
        if isinstance(resource, dict) and resource.get("size", 1) == 1 and resource.get("name"):
            name = str(resource["name"])
            found[name] = found.get(name, False) or bool(resource.get("is_available"))
    return found


def prices_of(types: Iterable[Any]) -> list[Price]:
    """Of types with one GPU; of several types of a model the dearest, so that no budget is passed
    by a guess. Raises ProviderError for another currency.
    """
    dearest: dict[tuple[str, bool], float] = {}
    for kind in types:
        if not isinstance(kind, dict) or not kind.get("model") or _gpu_count(kind) != 1:
            continue
        if str(kind.get("currency", CURRENCY)).lower() != CURRENCY:
            raise ProviderError(f"Verda's prices are in {kind['currency']!r}, not in {CURRENCY}")
        for field, spot in (("serverless_price", False), ("serverless_spot_price", True)):
            price = _positive(kind.get(field))
            if price is not None:
                key = (str(kind["model"]), spot)
                dearest[key] = max(price, dearest.get(key, 0.0))
    return [Price(gpu=gpu, spot=spot, usd_per_hour=price) for (gpu, spot), price in dearest.items()]


def _gpu_count(kind: Mapping[str, Any]) -> int:
    gpu = kind.get("gpu")
    return int(gpu.get("number_of_gpus") or 1) if isinstance(gpu, dict) else 1


def _positive(given: Any) -> float | None:
    """Prices are strings, at times numbers; one that is missing or zero is not known."""
    try:
        price = float(given)
    except (TypeError, ValueError):
        return None
    return price if 0 < price < float("inf") else None
