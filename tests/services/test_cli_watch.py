"""What moves in a terminal: `reveille watch`, also for programs, and `reveille submit --wait`."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reveille.cli.app import app
from reveille.cli.watch import shares
from reveille.testing import Database, eventually, with_database

COMMAND = (sys.executable, "-c", "from reveille.cli import main; main()")
INSERT = "INSERT INTO processing_queue (document_id, task_type) VALUES (1, 'visual_analysis')"


async def test_lines_of_json_follow_what_happens(database: Database) -> None:
    """Each look is a whole line; what changes between two looks is in the second."""
    watch = await asyncio.create_subprocess_exec(
        *(*COMMAND, "watch", "--json", "--every", "0.2"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": database.dsn},
    )
    assert watch.stdout is not None
    try:
        async with asyncio.timeout(30):
            first = json.loads(await watch.stdout.readline())
            await database.execute(INSERT)
            queued = 0
            while not queued:
                look = json.loads(await watch.stdout.readline())
                queued = sum(pool["queued"] for pool in look["pools"])
    finally:
        watch.kill()
        await watch.communicate()
    assert {pool["pool"]: pool["month_usd"] for pool in first["pools"]} == {"visual": 0, "text": 0}
    assert queued == 1


async def test_database_that_goes_away_is_said_and_waited_for(database: Database) -> None:
    """A restart of Postgres does not end the watch."""
    watch = await asyncio.create_subprocess_exec(
        *(*COMMAND, "watch", "--json", "--every", "0.2"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": database.dsn},
    )
    assert watch.stdout is not None
    troubles = []
    try:
        async with asyncio.timeout(30):
            await watch.stdout.readline()
            await database.break_connections()
            while not troubles or troubles[-1] is not None:
                troubles.append(json.loads(await watch.stdout.readline()).get("trouble"))
                if troubles == [None]:
                    troubles.clear()
    finally:
        watch.kill()
        await watch.communicate()
    assert troubles[0].startswith("cannot read the database: ")


class Window:
    """A terminal of the test's own, and what was drawn in it since the last `clear`."""

    def __init__(self, dsn: str, columns: int, lines: int, *arguments: str) -> None:
        self._near, far = pty.openpty()
        self.resize(columns, lines)
        fixed = {"COLUMNS", "LINES"}  # what some runner says of a window of its own
        environment = {k: v for k, v in os.environ.items() if k not in fixed}
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**environment, "DATABASE_URL": dsn, "TERM": "xterm"},
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
        )
        os.close(far)
        self._drawn = b""
        asyncio.get_running_loop().add_reader(self._near, self._read)

    def _read(self) -> None:
        try:
            self._drawn += os.read(self._near, 65536)
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(self._near)

    def resize(self, columns: int, lines: int) -> None:
        """As a window manager does; the kernel tells the foreground process only."""
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if hasattr(self, "process"):
            self.process.send_signal(signal.SIGWINCH)

    def clear(self) -> None:
        """Forget what was drawn."""
        self._drawn = b""

    def text(self) -> str:
        """All that was drawn, steering included."""
        return self._drawn.decode(errors="replace")

    def pictures(self) -> list[list[str]]:
        """The lines of each whole picture, without the steering: each begins at home."""
        whole = self._drawn.decode(errors="replace").split("\x1b[H")[1:-1]
        plain = (re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", one).replace("\r", "") for one in whole)
        return [one.rstrip("\n").split("\n") for one in plain if "reveille watch" in one]

    def close(self) -> None:
        """Ctrl-C, unless it has ended, and the end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        asyncio.get_running_loop().remove_reader(self._near)
        os.close(self._near)


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="no pseudo-terminals here")
async def test_picture_fits_its_window_also_when_that_changes(database: Database) -> None:
    """No line is wider than the window, before and after it has become narrow."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, status, status_reason) "
        "SELECT 'server-with-a-long-name-' || n, 'gpu', 'active', repeat('words ', 40) "
        "FROM generate_series(1, 60) AS n"
    )
    window = Window(database.dsn, 130, 40, "watch")
    try:
        (*_, before) = await eventually(window.pictures, within_seconds=30)
        window.resize(60, 20)
        window.clear()
        await eventually(lambda: len(window.pictures()) > 2)
        after = window.pictures()[-1]
    finally:
        window.close()
    assert any(line.startswith("servers, ") for line in before)
    assert 100 < max(map(len, before)) <= 130
    assert max(map(len, after)) <= 60
    assert (len(before) <= 40, len(after) <= 20) == (True, True)
    assert window.process.returncode == 0


@pytest.mark.parametrize(
    ("lengths", "lines_max", "expected"),
    [
        ([2, 30, 1], 30, [2, 17, 1]),
        ([2, 3], None, [2, 3]),
        ([5, 5], 2, [0, 0]),
        ([], 10, []),
    ],
)
def test_room_is_shared_so_that_short_tables_stay_whole(
    lengths: list[int], lines_max: int | None, expected: list[int]
) -> None:
    """A fleet of sixty servers does not push the pools out of the picture."""
    assert shares(lengths, lines_max) == expected


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="no pseudo-terminals here")
async def test_eighty_columns_show_every_number(database: Database) -> None:
    """What is cut first are sentences; a type, a count, a sum of money is whole."""
    await database.execute(
        "INSERT INTO processing_servers (id, server_type, status, status_reason) "
        "VALUES ('reveille-visual-0-12', 'visual_container', 'active', repeat('words ', 40))"
    )
    await database.execute(INSERT.replace("visual_analysis", "company_offering_extraction"))
    await database.execute(
        "UPDATE processing_queue SET status = 'processing', locked_by = 'reveille-visual-0-12', "
        "progress_message = repeat('step ', 30)"
    )
    window = Window(database.dsn, 80, 24, "watch")
    try:
        (*_, picture) = await eventually(window.pictures, within_seconds=30)
    finally:
        window.close()
    pools = next(i for i, line in enumerate(picture) if line.startswith("pools"))
    assert not any("…" in line for line in picture[pools : pools + 4]), picture
    assert any("company_offering_extraction" in line for line in picture)
    (server,) = (line for line in picture if line.startswith("reveille-visual-0-12"))
    assert server.split()[1:4] == ["visual_container", "active", "1"]


def test_database_without_the_schema_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    """A newcomer's first command after CREATE DATABASE; it used to be the parser's hint about casts."""
    monkeypatch.setenv("DATABASE_URL", with_database(database.dsn, "postgres"))
    for command in (["watch", "--once"], ["report"], ["tasks"]):
        said = str(CliRunner().invoke(app, command).exception)
        assert "run `reveille migrate`" in said
        assert "\n" not in said


@pytest.mark.skipif(not Path("/dev/ptmx").exists(), reason="no pseudo-terminals here")
async def test_submit_shows_each_tasks_progress_until_all_have_ended(
    database: Database, tmp_path: Path
) -> None:
    """A bar that grows, the step beside it, a failure in its own words, and the exit status that follows."""
    deck = tmp_path / "deck.pdf"
    deck.write_bytes(b"%PDF-1.4 no worker of this test reads it")
    window = Window(database.dsn, 80, 30, "submit", str(deck), "--wait")
    try:
        await eventually(
            lambda: database.fetchval("SELECT count(*) = 11 FROM processing_queue"),
            within_seconds=30,
        )
        first = await database.fetchval("SELECT min(id) FROM processing_queue")
        await database.execute(
            "UPDATE processing_queue SET status = 'processing', locked_by = 'w' WHERE id = $1",
            first,
        )
        await database.execute(
            "SELECT update_task_progress($1, 40, 'slides', 'slide 4 of 10')", first
        )
        await eventually(lambda: "40 %" in window.text())
        window.resize(140, 30)
        await eventually(lambda: "slide 4 of 10" in window.text())
        assert "company_offering_extraction" in window.text()
        await database.execute("SELECT complete_task($1, true)", first)
        await eventually(lambda: "completed" in window.text())
        await database.execute(
            "UPDATE processing_queue SET status = 'failed', last_error = $1 WHERE status <> 'completed'",
            "the deck is " + "very " * 30 + "empty",
        )
        await eventually(lambda: window.process.poll() is not None)
    finally:
        window.close()
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", window.text())
    assert "very very empty" in " ".join(said.split())  # too long for the table: said below it
    assert window.process.returncode == 1
