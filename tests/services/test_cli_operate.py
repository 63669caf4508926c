"""`reveille submit`, `cancel`, `retry` and `tasks`: what they do with several, and with what makes no
sense.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.command_line import Run
from typer.testing import CliRunner, Result

from reveille.cli.app import app
from reveille.cli.running import command_here
from reveille.task import TaskStatus
from reveille.task_types import TASK_TYPES
from reveille.testing import Database


@pytest.fixture
def decks(tmp_path: Path) -> list[str]:
    """Two files, and a name between them that is none."""
    for name in ("a.pdf", "b.pdf"):
        (tmp_path / name).write_bytes(f"%PDF {name}".encode())
    return [str(tmp_path / name) for name in ("a.pdf", "nothing.pdf", "b.pdf")]


def words_of(result: Result) -> str:
    """Without the frame and the line breaks around an error."""
    return " ".join(result.stderr.replace("│", " ").split())


async def add_tasks(database: Database, count: int = 2) -> list[str]:
    rows = await database.fetch(
        "INSERT INTO processing_queue (document_id, task_type) "
        "SELECT n, 'slide_feedback' FROM generate_series(1, $1::int) AS n RETURNING id",
        count,
    )
    return [str(row["id"]) for row in rows]


@pytest.mark.parametrize("wanted", ["--version", "-V"])
def test_version_is_that_of_the_package(wanted: str) -> None:
    """It needs neither a command nor a database."""
    result = CliRunner().invoke(app, [wanted])
    assert (result.exit_code, result.stdout) == (0, f"reveille {version('reveille')}\n")


async def test_task_filter_that_nothing_can_match_names_what_there_is(
    run: Run, database: Database
) -> None:
    """An empty list would say that all is well; a known filter without tasks still gives one."""
    status = await run("tasks", "--status", "bogus", "--json")
    kind = await run("tasks", "--type", "bogus", "--json")
    pool = await run("decisions", "--pool", "bogus", "--json")
    assert (status.exit_code, kind.exit_code, pool.exit_code) == (2, 2, 2)
    assert (status.stdout, kind.stdout, pool.stdout) == ("", "", "")
    assert f"there are: {', '.join(TaskStatus)}" in words_of(status)
    assert "no task type 'bogus'" in words_of(kind)
    assert all(spec.name in words_of(kind) for spec in TASK_TYPES)
    assert "no pool 'bogus'; there are: text, visual" in words_of(pool)
    known = await run("tasks", "--status", "failed", "--type", "slide_feedback", "--json")
    assert (known.exit_code, json.loads(known.stdout)) == (0, [])


@pytest.mark.parametrize("command", ["task", "cancel", "retry"])
@pytest.mark.parametrize("wrong", ["abc", "1.5", str(2**63)])
async def test_what_is_no_tasks_number_is_said_plainly(run: Run, command: str, wrong: str) -> None:
    """In words about tasks, not in those of a library about strings and integers."""
    result = await run(command, wrong)
    assert result.exit_code == 2
    assert f"'{wrong}' is not the number of a task; `reveille tasks` lists them" in words_of(result)


async def test_cancel_and_retry_say_a_line_for_each_task(run: Run, database: Database) -> None:
    """One line, with what was done; what was not done is a sentence on stderr."""
    ids = await add_tasks(database)
    for command, status in (("cancel", "cancelled"), ("retry", "queued")):
        result = await run(command, *ids)
        assert result.exit_code == 0, result.output
        assert result.stdout.splitlines() == [
            f"task {task_id} slide_feedback: {status}" for task_id in ids
        ]
    result = await run("cancel", ids[0], "4711")
    assert result.exit_code == 1
    assert result.stdout == f"task {ids[0]} slide_feedback: cancelled\n"
    assert "not cancelled: 4711" in result.stderr


async def test_one_deck_is_answered_as_one(run: Run, database: Database, decks: list[str]) -> None:
    """An object, as programs have learnt to read it; a file that is not there is a wrong use."""
    result = await run("submit", decks[0], "--type", "visual_analysis", "--json")
    said: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code, set(said)) == (0, {"document_id", "task_ids"})
    missing = await run("submit", decks[1])
    assert missing.exit_code == 2
    assert "cannot be read: No such file" in words_of(missing)


async def test_several_decks_become_a_document_each_and_a_bad_one_spoils_none(
    run: Run, database: Database, decks: list[str]
) -> None:
    """The others are enqueued; the exit code tells that not all are."""
    result = await run("submit", *decks, "--type", "visual_analysis", "--json")
    first, missing, last = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [one["file"] for one in (first, missing, last)] == decks
    assert "cannot be read: No such file" in missing["error"]
    stored = await database.fetch(
        "SELECT d.id, d.filename, q.id AS task_id FROM documents d "
        "JOIN processing_queue q ON q.document_id = d.id ORDER BY d.id"
    )
    assert [(row["filename"], row["id"], [row["task_id"]]) for row in stored] == [
        ("a.pdf", first["document_id"], first["task_ids"]),
        ("b.pdf", last["document_id"], last["task_ids"]),
    ]


async def test_several_decks_are_told_in_lines(
    run: Run, database: Database, decks: list[str]
) -> None:
    """With the file's name, whatever it looks like; all good ends with 0."""
    odd = Path(decks[0]).with_name("[red]c.pdf")
    odd.write_bytes(b"%PDF")
    good = await run("submit", decks[0], str(odd))
    assert (good.exit_code, len(good.stdout.splitlines())) == (0, 2)
    assert "[red]c.pdf" in good.stdout
    bad = await run("submit", decks[0], decks[1])
    assert bad.exit_code == 1
    assert "cannot be read: No such file" in bad.stderr


async def test_deck_that_the_database_refuses_leaves_no_document(
    run: Run, database: Database, decks: list[str]
) -> None:
    """Document and tasks are one transaction, with several decks too."""
    result = await run("submit", decks[0], decks[2], "--type", "bogus")
    assert result.exit_code == 1
    assert result.stderr.count("the database refuses") == 2
    assert await database.fetchval("SELECT count(*) FROM documents") == 0


def test_hint_names_the_program_as_the_next_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its path under `make up`, whose shell does not know the name; by its name where it does."""
    own = tmp_path / ".venv" / "bin" / "reveille"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [".venv/bin/reveille", "up"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_here() == ".venv/bin/reveille"
    monkeypatch.setenv("PATH", str(own.parent))
    monkeypatch.setattr("sys.argv", [str(own), "up"])
    assert command_here() == "reveille"
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", "/nowhere")
    assert command_here() == str(own).lstrip("/")
