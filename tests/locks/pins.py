"""The lock files as values, and what may be wrong with them by themselves."""

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

# Which lock file holds what a part of pyproject.toml asks for; `None` is what runs everywhere.
LOCKED_EXTRAS = {
    "requirements.lock": (None,),
    "requirements-dev.lock": (None, "demo", "dev", "keda", "s3"),
    "requirements-keda.lock": ("keda",),
    "requirements-s3.lock": ("s3",),
}


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock file. `version` is empty where it is not pinned exactly."""

    file: str
    name: str
    version: str
    hashes: int


def read_pins(path: Path) -> tuple[list[Pin], list[str]]:
    """The pins of a lock file, and its lines that are none."""
    pins, strange = [], []
    for entry in _entries(path.read_text(encoding="utf-8")):
        head, *options = entry.split(" --hash=")
        try:
            requirement = Requirement(head.strip())
        except InvalidRequirement:
            strange.append(f"{path.name}: {head.strip()!r} is not a pinned package")
            continue
        exact = [one.version for one in requirement.specifier if one.operator == "=="]
        version = exact[0] if len(requirement.specifier) == 1 and exact else ""
        if requirement.url or "*" in version:
            version = ""
        hashes = sum(option.startswith("sha256:") for option in options)
        pins.append(Pin(path.name, canonicalize_name(requirement.name), version, hashes))
    return pins, strange


def _entries(text: str) -> Iterator[str]:
    """Lines without comments, those that end in a backslash joined with the next."""
    joined = ""
    for line in text.splitlines():
        bare = line.partition("#")[0].strip()
        joined += bare.removesuffix("\\")
        if joined.strip() and not bare.endswith("\\"):
            yield joined
            joined = ""


def faults(pins: Iterable[Pin]) -> Iterator[str]:
    """Pins that leave open what is installed, or that disagree."""
    versions: dict[str, Pin] = {}
    for pin in pins:
        if not pin.version:
            yield f"{pin.file}: {pin.name} is not pinned to one version"
        if not pin.hashes:
            yield f"{pin.file}: {pin.name} has no sha256 hash"
        other = versions.setdefault(pin.name, pin)
        if other.version != pin.version:
            yield (
                f"{pin.name} is {pin.version} in {pin.file}, {other.version} in {other.file}: "
                "tests would not try what runs"
            )


def unmet(project: Path, pins: Iterable[Pin]) -> Iterator[str]:
    """What pyproject.toml asks for and a lock file does not give."""
    declared = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    locked = {(pin.file, pin.name): pin.version for pin in pins}
    for file, extras in LOCKED_EXTRAS.items():
        for extra in extras:
            wanted = declared["optional-dependencies"][extra] if extra else declared["dependencies"]
            for requirement in map(Requirement, wanted):
                version = locked.get((file, canonicalize_name(requirement.name)))
                if version is None:
                    yield f"{file} lacks {requirement.name}, which pyproject.toml asks for"
                elif version not in requirement.specifier:
                    yield f"{file} has {requirement.name} {version}, pyproject.toml asks for {requirement}"
