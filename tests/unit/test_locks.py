"""The audit of the lock files, on lock files with one fault each and on a stand-in for osv.dev."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.locks import __main__ as audit
from tests.locks.advisories import NotAnswered, ask_osv, below_floor
from tests.locks.pins import Pin, faults, read_pins, unmet

HASH = "--hash=sha256:" + "ab" * 32
GOOD = (
    f"aiohttp==3.14.5 \\\n    {HASH} \\\n    {HASH}\n    # via x\n"
    f"h11==0.16.0 ; python_version < '4' \\\n    {HASH}\n"
)


def pins_of(tmp_path: Path, text: str, name: str = "requirements.lock") -> list[Pin]:
    path = tmp_path / name
    path.write_text(text)
    return read_pins(path)[0]


def test_lock_file_is_read_with_its_markers_and_hashes(tmp_path: Path) -> None:
    """One pin per package, however many lines it takes."""
    assert pins_of(tmp_path, GOOD) == [
        Pin("requirements.lock", "aiohttp", "3.14.5", 2),
        Pin("requirements.lock", "h11", "0.16.0", 1),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"aiohttp>=3 {HASH}", "aiohttp is not pinned to one version"),
        (f"aiohttp==3.* {HASH}", "aiohttp is not pinned to one version"),
        (f"aiohttp @ https://host.example/a.whl {HASH}", "aiohttp is not pinned"),
        ("aiohttp==3.14.5", "aiohttp has no sha256 hash"),
        (f"aiohttp==3.14.5 {HASH}\nAioHTTP==3.14.4 {HASH}", "aiohttp is 3.14.4"),
    ],
)
def test_pin_that_leaves_something_open_is_a_fault(tmp_path: Path, text: str, said: str) -> None:
    """A range, an address, a missing hash, two versions: each is named."""
    assert any(said in fault for fault in faults(pins_of(tmp_path, text)))


@pytest.mark.parametrize("line", ["--extra-index-url https://host.example", "-e .", "../wheel"])
def test_line_that_is_no_pin_is_named(tmp_path: Path, line: str) -> None:
    """An index or a path in a lock file would install what nobody has looked at."""
    path = tmp_path / "requirements.lock"
    path.write_text(f"{line}\n{GOOD}")

    pins, strange = read_pins(path)

    assert len(pins) == 2
    assert len(strange) == 1
    assert "is not a pinned package" in strange[0]


def test_lock_file_that_lags_behind_the_project_is_named(tmp_path: Path) -> None:
    """What pyproject.toml asks for is locked, in a version that it allows."""
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\ndependencies = ["aiohttp>=4", "left-out"]\n'
        '[project.optional-dependencies]\ndemo = []\ndev = ["h11"]\nkeda = []\ns3 = []\n'
    )

    said = list(unmet(project, pins_of(tmp_path, GOOD)))

    assert any("lacks left-out" in fault for fault in said)
    assert any("has aiohttp 3.14.5, pyproject.toml asks for aiohttp>=4" in fault for fault in said)
    assert any("requirements-dev.lock lacks h11" in fault for fault in said)


def test_version_below_a_floor_is_refused_with_its_advisory(tmp_path: Path) -> None:
    """This much is known without any network."""
    old = pins_of(tmp_path, f"h11==0.14.0 {HASH}\njinja2==3.1.6 {HASH}\n")

    (said,) = below_floor(old)

    assert "CVE-2025-43859" in said
    assert "take 0.16.0" in said


class Osv(BaseHTTPRequestHandler):
    """Says of h11 that it is vulnerable; anything else is well."""

    answer: bytes | None = None

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        results: list[dict[str, Any]] = [
            {"vulns": [{"id": "GHSA-test"}]} if query["package"]["name"] == "h11" else {}
            for query in asked["queries"]
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.answer or json.dumps({"results": results}).encode())

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def osv(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Where the stand-in answers."""
    monkeypatch.setenv("NO_PROXY", "*")
    server = HTTPServer(("127.0.0.1", 0), Osv)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_advisory_of_osv_is_told_with_its_package(osv: str, tmp_path: Path) -> None:
    """All packages are asked for in one request, and answers go to whom they belong."""
    assert ask_osv(pins_of(tmp_path, GOOD), osv) == {("h11", "0.16.0"): ["GHSA-test"]}


@pytest.mark.parametrize("answer", [b"<html>a portal</html>", b'{"results": []}', b"[]", b"null"])
def test_answer_that_is_none_does_not_pass_for_good_news(
    osv: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    """A proxy's page or a short list means: not checked."""
    monkeypatch.setattr(Osv, "answer", answer)

    with pytest.raises(NotAnswered):
        ask_osv(pins_of(tmp_path, GOOD), osv)


def test_audit_without_a_network_says_so_and_fails_only_when_told_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Our own lock files are without fault; the question that nobody answered is not forgotten."""

    def nobody(_: Any) -> Any:
        raise NotAnswered("no network")

    monkeypatch.setattr(audit, "ask_osv", nobody)
    monkeypatch.setattr(audit, "ANSWERED", tmp_path / "asked")

    assert audit.main([]) == 0
    assert "NOT checked" in capsys.readouterr().out
    assert audit.main(["--strict"]) == 1


def test_answer_of_osv_counts_for_a_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make check` runs often; an advisory fails it, every time."""
    answers: list[dict[Any, Any]] = [{("h11", "0.16.0"): ["GHSA-test"]}, {}]
    monkeypatch.setattr(audit, "ask_osv", lambda _: answers.pop(0))
    monkeypatch.setattr(audit, "ANSWERED", tmp_path / "asked")

    assert audit.main([]) == 1
    assert "GHSA-test" in capsys.readouterr().out
    assert audit.main([]) == 0
    assert audit.main([]) == 0  # not asked again
    assert answers == []
