"""A path under the document root, opened so that no trick leads out of it.

The path is walked one component at a time with `openat`, each opened without following symlinks.
A symlink is read and its target walked by the same rules, never above the root. So there is no
moment between checking and opening in which the tree could be changed to lead elsewhere. A FIFO,
device, socket or folder at the end is refused before it is opened, and again after.
"""

import asyncio
import errno
import os
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from reveille.errors import TaskRejected, TaskRetry

SYMLINKS_MAX = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a FIFO put in place of the file after the check would otherwise hang the thread.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


async def open_under(root: Path | None, file_path: str, *, seconds_max: float) -> BinaryIO:
    """Open a file under `root`. Raises TaskRejected, and TaskRetry when the disk does not answer."""
    if root is None:
        raise TaskRejected(
            "document_unreadable",
            f"{file_path!r} is a path, and this worker has no REVEILLE_DOCUMENT_ROOT",
        )
    opening = asyncio.get_running_loop().run_in_executor(None, _open, root, file_path)
    try:
        async with asyncio.timeout(seconds_max):
            return await asyncio.shield(opening)
    except TimeoutError:
        opening.add_done_callback(_close_late)
        error = f"opening {file_path!r} took over {seconds_max:g} s"
        raise TaskRetry("document_unreachable", error) from None
    except asyncio.CancelledError:
        opening.add_done_callback(_close_late)
        raise


def _close_late(opening: "asyncio.Future[BinaryIO]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(root: Path, file_path: str) -> BinaryIO:
    relative = _relative(root, file_path)
    try:
        return _walk(root, relative)
    except OSError as error:
        raise _as_task_error(error, relative) from None


def _relative(root: Path, file_path: str) -> str:
    """The path below the root. An absolute path must name it, as configured or as it really is."""
    if ".." in file_path.split("/"):
        raise _refused(file_path, "contains '..'")
    if not file_path.startswith("/"):
        return file_path
    for base in (root.absolute(), root.resolve()):
        if Path(file_path).is_relative_to(base):
            return str(Path(file_path).relative_to(base))
    raise _refused(file_path, "is absolute and outside the document root")


def _walk(root: Path, relative: str) -> BinaryIO:
    """Open `relative`, holding one descriptor per folder on the way down from the root."""
    with ExitStack() as stack:
        folders = [os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)]
        stack.callback(_close_all, folders)
        todo = _parts(relative)
        symlinks = 0
        while todo:
            name = todo.pop(0)
            if name == "..":
                if len(folders) == 1:
                    raise _refused(relative, "is a symlink out of the document root")
                os.close(folders.pop())
                continue
            mode = os.stat(name, dir_fd=folders[-1], follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                symlinks += 1
                if symlinks > SYMLINKS_MAX:
                    raise OSError(errno.ELOOP, "too many symlinks")
                target = os.readlink(name, dir_fd=folders[-1])
                if target.startswith("/"):
                    target = _inside(root, target, relative)
                    _close_all(folders[1:])
                    del folders[1:]
                todo = _parts(target) + todo
            elif todo:
                folders.append(os.open(name, _FOLDER, dir_fd=folders[-1]))
            else:
                return _regular(name, folders[-1], mode, relative)
        raise _refused(relative, "is a folder")


def _close_all(folders: list[int]) -> None:
    for folder in folders:
        os.close(folder)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _inside(root: Path, target: str, relative: str) -> str:
    """An absolute symlink's target as a path below the root."""
    for base in (str(root.absolute()), str(root.resolve())):
        if target == base or target.startswith(base.rstrip("/") + "/"):
            return target[len(base) :]
    raise _refused(relative, "is a symlink out of the document root")


def _regular(name: str, folder: int, mode: int, relative: str) -> BinaryIO:
    if not stat.S_ISREG(mode):
        raise _refused(relative, "is not a regular file")
    file = os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _refused(relative, "is not a regular file")
    return file


def _refused(path: str, why: str) -> TaskRejected:
    return TaskRejected("path_refused", f"{path!r} {why}")


def _as_task_error(error: OSError, relative: str) -> TaskRejected | TaskRetry:
    """What the system said, by its errno: its text would hold the full path."""
    why = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return TaskRejected("document_missing", f"{relative!r} is not there: {why}")
    if error.errno in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE):
        return TaskRetry("document_unreachable", f"{relative!r} cannot be reached: {why}")
    return TaskRejected("document_unreadable", f"{relative!r} cannot be read: {why}")
