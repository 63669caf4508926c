"""Bytes that are no HTTP, or no decent one, sent to the HTTP face that all services share."""

import asyncio
import logging
import re

import pytest

from queue_gateway.testing import running_gateway
from reveille.testing import Database

HEAD = b"Host: a\r\n"
MALFORMED = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
    "not_http": b"SELECT 1;\r\n\r\n",
    "nul_in_header": b"GET /livez HTTP/1.1\r\n" + HEAD + b"X-A: a\x00b\r\n\r\n",
    "nul_in_path": b"GET /liv\x00ez HTTP/1.1\r\n" + HEAD + b"\r\n",
    "line_feed_in_header": b"GET /livez HTTP/1.1\r\n" + HEAD + b"X-A: a\nX-B\x0b: b\r\n\r\n",
    "two_lengths": b"POST /api/tasks HTTP/1.1\r\n"
    + HEAD
    + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "negative_length": b"POST /api/tasks HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n",
    "length_and_chunks": b"POST /api/tasks HTTP/1.1\r\n"
    + HEAD
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "bad_chunk": b"POST /api/tasks HTTP/1.1\r\n"
    + HEAD
    + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "version": b"GET /livez HTTP/9.9\r\n" + HEAD + b"\r\n",
}
# Well-formed, and strange: an answer of its own for each.
STRANGE = {
    "bad_escape": b"GET /api/tasks/%zz HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
    "not_utf_8": b"GET /api/pools/%ff%fe HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
    "escaped_nul": b"PATCH /api/pools/a%00b HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
    "surrogate": b"GET /api/tasks?task_type=%ed%a0%80 HTTP/1.1\r\n"
    + HEAD
    + b"Connection: close\r\n\r\n",
    "dots": b"GET /static/../../../../etc/passwd HTTP/1.1\r\n"
    + HEAD
    + b"Connection: close\r\n\r\n",
    "escaped_dots": b"GET /static/%2e%2e%2f%2e%2e%2fetc/passwd HTTP/1.1\r\n"
    + HEAD
    + b"Connection: close\r\n\r\n",
    "absolute": b"GET http://other.example/api/nothing HTTP/1.1\r\n"
    + HEAD
    + b"Connection: close\r\n\r\n",
    "no_host": b"GET /api/nothing HTTP/1.1\r\nConnection: close\r\n\r\n",
    "method": b"BREW /api/tasks HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n",
}


async def say(url: str, said: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        writer.write(said)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]


async def test_bytes_that_are_no_http_cost_a_line_and_nothing_else(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is refused and its connection closed; the log has no traceback and none of the bytes."""
    async with running_gateway(database.dsn) as gateway:
        with caplog.at_level(logging.INFO):
            for name, said in MALFORMED.items():
                answer = await say(gateway.url, said)
                assert statuses(answer) in ([], [400]), (name, answer)
        assert await gateway.get("/livez") == {"status": "ok"}

    assert not [r for r in caplog.records if r.levelno >= logging.WARNING or r.exc_info]
    assert "smuggled" not in caplog.text
    assert "malformed request from 127.0.0.1: " in caplog.text


async def test_strange_requests_are_refused_like_any_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Escapes, dots and bytes that are no text lead to a 4xx, never to a file or a 5xx."""
    async with running_gateway(database.dsn) as gateway:
        for name, said in STRANGE.items():
            answer = await say(gateway.url, said)
            (status,) = statuses(answer)
            assert 400 <= status < 500 or (name == "surrogate" and status == 200), (name, answer)
            assert b"root:" not in answer

    assert not [r for r in caplog.records if r.exc_info]


async def test_requests_sent_without_waiting_are_answered_in_order(database: Database) -> None:
    """Fifty on one connection, the bad ones among them: each has its answer, and none another's."""
    paths = ["/livez", "/api/tasks/1", "/api/tasks/x", "/api/tasks?limit=1", "/nothing"] * 10
    said = b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode() for path in paths)
    async with running_gateway(database.dsn) as gateway:
        answer = await say(
            gateway.url, said + b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        )

    assert statuses(answer) == [200, 404, 422, 200, 404] * 10 + [200]
