"""What is known against a version: floors of our own, which need no network, and osv.dev, which
knows all but has to be asked.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import httpx
from packaging.version import Version
from tests.locks.pins import Pin

OSV = "https://api.osv.dev"
ANSWER_SECONDS_MAX = 20.0
FLOORS = Path(__file__).parent / "floors.toml"


class NotAnswered(Exception):
    """osv.dev cannot be reached from here, or says something else than its API promises."""


def below_floor(pins: Iterable[Pin], path: Path = FLOORS) -> Iterator[str]:
    """Pins of versions that are known to be vulnerable."""
    known: dict[str, list[Mapping[str, str]]] = {}
    for floor in tomllib.loads(path.read_text(encoding="utf-8"))["floor"]:
        known.setdefault(floor["package"], []).append(floor)
    for pin in pins:
        for floor in known.get(pin.name, ()):
            if pin.version and Version(pin.version) < Version(floor["fixed"]):
                yield (
                    f"{pin.file}: {pin.name} {pin.version} is vulnerable ({floor['advisory']}: "
                    f"{floor['what']}): take {floor['fixed']} or later"
                )


def accepted(path: Path = FLOORS) -> Mapping[str, str]:
    """Advisories that do not concern us, with the reason."""
    found: Mapping[str, str] = tomllib.loads(path.read_text(encoding="utf-8")).get("accepted", {})
    return found


def ask_osv(pins: Iterable[Pin], url: str = OSV) -> dict[tuple[str, str], list[str]]:
    """Advisories by package and version, in one request. Raises NotAnswered."""
    asked = sorted({(pin.name, pin.version) for pin in pins if pin.version})
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version}
        for name, version in asked
    ]
    try:
        answer = httpx.post(
            f"{url}/v1/querybatch", json={"queries": queries}, timeout=ANSWER_SECONDS_MAX
        )
        answer.raise_for_status()
        results = answer.json()["results"]
        found = [[entry["id"] for entry in result.get("vulns", ())] for result in results]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAnswered(str(error) or type(error).__name__) from error
    if len(found) != len(asked):
        raise NotAnswered(f"{len(found)} answers to {len(asked)} questions")
    return {key: ids for key, ids in zip(asked, found, strict=True) if ids}
