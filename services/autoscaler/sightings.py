"""What providers were seen to run, round after round: a name must be missed, or be a stray,
several times before anything follows, because lists are incomplete at times.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from autoscaler.lifespan import Sighting
from autoscaler.provider import ProviderContainer


class Sightings:
    """Of one provider. `spacing_seconds` is the least time between two counts."""

    def __init__(self, *, spacing_seconds: float) -> None:
        self._spacing_seconds = spacing_seconds
        self._counted_at = float("-inf")
        self._seen: dict[str, ProviderContainer] = {}
        self._listed = False
        self._misses: dict[str, int] = {}
        self._strays: dict[str, int] = {}
        self._outdated: set[str] = set()

    def note(
        self,
        listing: Sequence[ProviderContainer] | None,
        known: Iterable[str],
        now: float,
        *,
        outdated: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Take in a list (None: it could not be had) while `known` names have live rows. Of
        `outdated` names something was done while the list was made: it says nothing of those.
        """
        self._listed = listing is not None
        if listing is None:
            return
        self._seen = {c.name: c for c in listing if not outdated(c.name)}
        known = set(known)
        self._outdated = {name for name in known if outdated(name)}
        known -= self._outdated
        count = now - self._counted_at >= self._spacing_seconds
        if count:
            self._counted_at = now
        self._misses = {
            name: self._misses.get(name, 0) + count for name in known - self._seen.keys()
        }
        self._strays = {
            name: self._strays.get(name, 0) + count for name in self._seen.keys() - known
        }

    def of(self, name: str) -> Sighting:
        """What is known of a container that has a row."""
        return Sighting(
            listed=self._listed and name not in self._outdated,
            container=self._seen.get(name) if self._listed else None,
            misses=self._misses.get(name, 0),
        )

    def strays(self) -> dict[ProviderContainer, int]:
        """Containers without a live row, and how often each was counted."""
        return {self._seen[name]: count for name, count in self._strays.items()}


def name_of(prefix: str, pool: str, slot: int) -> str:
    """The deterministic name of a pool's slot."""
    return f"{prefix}-{pool.replace('_', '-')}-{slot}"


def slot_of(name: str, prefix: str, pools: Iterable[str]) -> tuple[str, int] | None:
    """Pool and slot of a name of ours; None for anybody else's."""
    for pool in pools:
        match = re.fullmatch(re.escape(name_of(prefix, pool, 0))[:-1] + r"(\d{1,4})", name)
        if match:
            return pool, int(match[1])
    return None
