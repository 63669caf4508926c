"""Paths under the document root: what opens, what is refused, and what an error may say."""

import asyncio
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from reveille.documents import local
from reveille.errors import TaskRejected, TaskRetry

CONTENT = b"%PDF-1.7 the deck"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A document root with one deck, and a secret beside it."""
    uploads = tmp_path / "root" / "uploads"
    uploads.mkdir(parents=True)
    (uploads / "deck.pdf").write_bytes(CONTENT)
    (tmp_path / "secret.pdf").write_bytes(b"not yours")
    return tmp_path / "root"


async def read(root: Path | None, file_path: str) -> bytes:
    """The content behind a path."""
    with await local.open_under(root, file_path, seconds_max=10) as file:
        return file.read()


async def refusal(root: Path | None, file_path: str) -> TaskRejected:
    """The error that a path ends in."""
    with pytest.raises(TaskRejected) as caught:
        await read(root, file_path)
    return caught.value


@pytest.mark.parametrize(
    "file_path", ["uploads/deck.pdf", "./uploads//deck.pdf", "uploads/./deck.pdf"]
)
async def test_path_under_the_root_opens(root: Path, file_path: str) -> None:
    """The ordinary case, however it is spelled."""
    assert await read(root, file_path) == CONTENT


async def test_absolute_path_inside_the_root_opens(root: Path, tmp_path: Path) -> None:
    """A backend that stores absolute paths keeps working, also through a symlinked root."""
    alias = tmp_path / "alias"
    alias.symlink_to(root)

    assert await read(root, str(root / "uploads/deck.pdf")) == CONTENT
    assert await read(alias, str(alias / "uploads/deck.pdf")) == CONTENT
    assert await read(alias, str(root / "uploads/deck.pdf")) == CONTENT


@pytest.mark.parametrize(
    "file_path",
    ["../secret.pdf", "uploads/../../secret.pdf", "uploads/../uploads/deck.pdf", "..", "/../x"],
)
async def test_path_with_dots_is_refused(root: Path, file_path: str) -> None:
    """'..' is refused even where it would stay inside."""
    assert (await refusal(root, file_path)).reason == "path_refused"


async def test_absolute_path_outside_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    """Neither the neighbour's file nor one whose name begins like the root's."""
    sibling = tmp_path / "root-of-another"
    sibling.mkdir()
    (sibling / "deck.pdf").write_bytes(CONTENT)

    for path in (tmp_path / "secret.pdf", sibling / "deck.pdf", Path("/etc/hostname")):
        assert (await refusal(root, str(path))).reason == "path_refused"


@pytest.mark.parametrize("target", ["../../secret.pdf", "{outside}", "/etc/hostname"])
async def test_symlink_out_of_the_root_is_refused(root: Path, tmp_path: Path, target: str) -> None:
    """A link to outside is refused, relative or absolute, and its target is not named."""
    (root / "uploads" / "link.pdf").symlink_to(target.format(outside=tmp_path / "secret.pdf"))
    error = await refusal(root, "uploads/link.pdf")

    assert error.reason == "path_refused"
    assert "secret" not in error.error
    assert "hostname" not in error.error


async def test_folder_symlinked_out_of_the_root_is_refused(root: Path, tmp_path: Path) -> None:
    """A link in the middle of the path is no better than one at its end."""
    (root / "elsewhere").symlink_to(tmp_path)

    assert (await refusal(root, "elsewhere/secret.pdf")).reason == "path_refused"


async def test_symlink_inside_the_root_opens(root: Path) -> None:
    """Links that stay inside work: relative, upwards, absolute, and of folders."""
    (root / "deep").mkdir()
    (root / "deep" / "up.pdf").symlink_to("../uploads/deck.pdf")
    (root / "absolute.pdf").symlink_to(root / "uploads" / "deck.pdf")
    (root / "latest").symlink_to("uploads")

    for path in ("deep/up.pdf", "absolute.pdf", "latest/deck.pdf"):
        assert await read(root, path) == CONTENT


async def test_symlink_loop_ends(root: Path) -> None:
    """Two links that name each other end in an error."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")

    assert (await refusal(root, "a")).reason == "document_unreadable"


@pytest.mark.parametrize("kind", ["fifo", "socket", "folder", "device"])
async def test_what_is_not_a_regular_file_is_refused_at_once(root: Path, kind: str) -> None:
    """A FIFO without a writer would block for ever; a device may do anything."""
    path = root / "odd"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            here = Path.cwd()
            os.chdir(root)  # the address of a socket is short
            listener.bind("odd")
            os.chdir(here)
    else:
        try:
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("making a device needs privileges")
    error = await asyncio.wait_for(refusal(root, "odd"), 5)

    assert error.reason == "path_refused"


async def test_missing_file_is_named_without_the_root(root: Path) -> None:
    """The message says which file, and not where the shared volume is mounted."""
    error = await refusal(root, str(root / "uploads/other.pdf"))

    assert error.reason == "document_missing"
    assert "uploads/other.pdf" in error.error
    assert str(root) not in error.error


async def test_file_used_as_folder_is_missing(root: Path) -> None:
    """deck.pdf/x does not exist, whatever the system calls it."""
    assert (await refusal(root, "uploads/deck.pdf/x")).reason == "document_missing"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_unreadable_file_is_rejected(root: Path) -> None:
    """A file without read permission will not be readable in the next attempt."""
    (root / "uploads/deck.pdf").chmod(0)

    assert (await refusal(root, "uploads/deck.pdf")).reason == "document_unreadable"


async def test_path_without_a_root_says_which_setting_is_missing() -> None:
    """A worker without the shared volume names the variable to set."""
    assert "REVEILLE_DOCUMENT_ROOT" in (await refusal(None, "uploads/deck.pdf")).error


async def test_file_swapped_for_a_symlink_between_check_and_open_is_not_followed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classic race: the file is a file when looked at, and a link when opened."""
    look = os.stat

    def look_and_swap(path: Any, **options: Any) -> os.stat_result:
        found = look(path, **options)
        if path == "deck.pdf":
            (root / "uploads/deck.pdf").unlink()
            (root / "uploads/deck.pdf").symlink_to(tmp_path / "secret.pdf")
        return found

    monkeypatch.setattr(os, "stat", look_and_swap)

    assert (await refusal(root, "uploads/deck.pdf")).reason == "document_unreadable"


async def test_disk_that_does_not_answer_is_retried(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hanging mount costs an attempt, not the worker; a file opened too late is closed."""
    released, closed = threading.Event(), threading.Event()
    walk = local._walk

    def slow(root: Path, relative: str) -> object:
        released.wait(10)
        file = walk(root, relative)
        close = file.close

        class Watched:
            def close(self) -> None:
                close()
                closed.set()

        return Watched()

    monkeypatch.setattr(local, "_walk", slow)
    with pytest.raises(TaskRetry) as caught:
        await local.open_under(root, "uploads/deck.pdf", seconds_max=0.01)
    released.set()

    assert caught.value.reason == "document_unreachable"
    assert await asyncio.to_thread(closed.wait, 10)
