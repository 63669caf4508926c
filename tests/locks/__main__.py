"""`python -m tests.locks [--strict]`: exit 1 with each fault on a line of its own."""

import argparse
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tests.locks.advisories import NotAnswered, accepted, ask_osv, below_floor
from tests.locks.pins import Pin, faults, read_pins, unmet

ROOT = Path(__file__).parents[2]
LOCKS = (
    "requirements.lock",
    "requirements-keda.lock",
    "requirements-s3.lock",
    "requirements-dev.lock",
    "requirements-build.lock",
)
# An answer counts for a day and these pins: `make check` runs often.
ANSWERED = ROOT / ".venv" / ".advisories-asked"
ANSWER_SECONDS = 86_400.0


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; whether anything is."""
    parser = argparse.ArgumentParser(prog="tests.locks", description="audit of the lock files")
    parser.add_argument("--strict", action="store_true", help="fail where osv.dev cannot be asked")
    strict = parser.parse_args(arguments).strict
    pins: list[Pin] = []
    wrong: list[str] = []
    for name in LOCKS:
        found, strange = read_pins(ROOT / name)
        pins += found
        wrong += strange
    wrong += [*faults(pins), *unmet(ROOT / "pyproject.toml", pins), *below_floor(pins)]
    count = len({(pin.name, pin.version) for pin in pins})
    try:
        known, said = _advisories(pins, anew=strict)
        wrong += known
    except NotAnswered as error:
        said = f"advisories NOT checked, osv.dev does not answer ({error})"
        if strict:
            wrong.append(said)
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    if not wrong:
        sys.stdout.write(f"{count} packages pinned with hashes, none below a floor; {said}\n")
    return int(bool(wrong))


def _advisories(pins: Sequence[Pin], *, anew: bool) -> tuple[list[str], str]:
    key = sha256("\n".join(sorted(f"{pin.name}=={pin.version}" for pin in pins)).encode())
    asked = ANSWERED.read_text(encoding="utf-8").split() if ANSWERED.exists() else []
    if not anew and len(asked) == 2 and asked[0] == key.hexdigest():
        age_seconds = time.time() - float(asked[1])
        if 0 <= age_seconds < ANSWER_SECONDS:
            return [], f"osv.dev knew of no advisory {age_seconds / 3600:.0f} h ago"
    ours = accepted()
    known = [
        f"{name} {version}: https://osv.dev/vulnerability/{identifier}: "
        "raise the pin, or accept it with the reason in tests/locks/floors.toml"
        for (name, version), identifiers in sorted(ask_osv(pins).items())
        for identifier in identifiers
        if identifier not in ours
    ]
    if not known and ANSWERED.parent.exists():
        ANSWERED.write_text(f"{key.hexdigest()} {int(time.time())}\n", encoding="utf-8")
    return known, "osv.dev knows of no advisory"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
