"""What the READMEs tell backends to send is what the database takes."""

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from reveille.testing import Database

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "db/README.md")
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in the order of the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [m["code"] for m in FENCE.finditer(text) if m["language"] == language]


def python_of(module: str) -> str:
    """The Python snippet of the contract page that imports `module`."""
    (code,) = [
        c
        for c in snippets("db/README.md", "python")
        if f"from {module}" in c or f"import {module}" in c
    ]
    return code


async def tasks(database: Database) -> int:
    count: int = await database.fetchval("SELECT count(*) FROM processing_queue")
    return count


@pytest.mark.parametrize("page", PAGES)
async def test_sql_of_a_page_runs_from_top_to_bottom(database: Database, page: str) -> None:
    """On an empty database every block works, in the page's order."""
    blocks = snippets(page, "sql")
    connection = await asyncpg.connect(database.dsn)
    try:
        for block in blocks:
            await connection.execute(block)
    finally:
        await connection.close()

    assert blocks
    assert await tasks(database) >= 12


@pytest.mark.parametrize("page", PAGES)
async def test_asyncpg_snippet_of_a_page_runs(database: Database, page: str) -> None:
    """With a plain connection of the driver, as a backend has it."""
    (code,) = [c for c in snippets(page, "python") if "await connection" in c]
    compiled = compile(code, page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    connection = await asyncpg.connect(database.dsn)
    try:
        result = eval(compiled, {"connection": connection})  # noqa: S307 - our own page
        if inspect.isawaitable(result):
            await result
    finally:
        await connection.close()

    assert await tasks(database) >= 1


@pytest.mark.parametrize("module", ["psycopg", "sqlalchemy", "django.db"])
async def test_snippet_of_another_driver_is_valid_python(module: str) -> None:
    """Also where the driver is not installed."""
    ast.parse(python_of(module))


@pytest.mark.parametrize("module", ["psycopg", "sqlalchemy"])
async def test_snippet_of_another_driver_runs_where_it_is_installed(
    database: Database, module: str
) -> None:
    """The driver's own way to pass JSON, arrays and parameters suits the columns."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    pytest.importorskip(module, reason=f"{module} is not installed")
    names: dict[str, Any] = {"dsn": database.dsn}

    await asyncio.to_thread(exec, compile(python_of(module), module, "exec"), names)
    if "engine" in names:
        names["engine"].dispose()

    assert isinstance(names["task_id"], int)
    assert await tasks(database) == 1


@pytest.mark.parametrize("language", ["js", "go"])
async def test_sql_inside_other_languages_prepares(database: Database, language: str) -> None:
    """The statement in the string literal is one that Postgres can prepare."""
    literals = [
        literal
        for page in PAGES
        for code in snippets(page, language)
        for literal in re.findall(r"(?:`|\")(INSERT .*?)(?:`|\")", code, re.DOTALL)
    ]

    async with database.connect() as connection:
        for literal in literals:
            prepared = await connection.prepare(literal)
            assert prepared.get_attributes()[0].name == "id"
    assert literals
