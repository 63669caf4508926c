"""Somebody who looks at the board over HTTP as a browser without scripts does: keeps cookies, reads
a page's forms, sends them.
"""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from html import unescape
from typing import Any

from aiohttp import ClientSession, CookieJar, FormData

from queue_gateway.testing import RunningGateway


@dataclass(frozen=True, slots=True)
class Seen:
    """A page as it came: after redirects, `path` is where they led."""

    status: int
    path: str
    html: str

    @property
    def said(self) -> str:
        """What the last form did, as the page tells it; empty when it tells nothing."""
        found = re.search(r'<p class="said [a-z]+" role="[a-z]+">(.*?)</p>', self.html, re.DOTALL)
        return unescape(found.group(1)) if found else ""

    @property
    def text(self) -> str:
        """The page without its tags."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())


class Visitor:
    """One browser. `proof` is that of the page which was looked at last."""

    def __init__(self, gateway: RunningGateway, session: ClientSession) -> None:
        self._gateway = gateway
        self._session = session
        self.proof = ""

    async def look(self, path: str) -> Seen:
        """GET a page."""
        async with self._session.get(self._gateway.url + path) as answer:
            seen = Seen(answer.status, answer.url.path_qs, await answer.text())
        proof = re.search(r'name="proof" value="([0-9a-f]+)"', seen.html)
        self.proof = proof.group(1) if proof else self.proof
        return seen

    async def send(
        self, path: str, *fields: tuple[str, str], headers: Mapping[str, str] | None = None
    ) -> Seen:
        """POST a form with the proof."""
        return await self.post(path, [("proof", self.proof), *fields], headers=headers)

    async def post(self, path: str, data: Any, *, headers: Mapping[str, str] | None = None) -> Seen:
        """POST as it is given."""
        url = self._gateway.url + path
        filled = FormData(data) if isinstance(data, list) else data
        async with self._session.post(url, data=filled, headers=headers) as answer:
            return Seen(answer.status, answer.url.path_qs, await answer.text())

    async def log_in(self, token: str) -> Seen:
        """Give a token at the door."""
        return await self.post("/login", [("token", token)])


@asynccontextmanager
async def visiting(gateway: RunningGateway, token: str | None = None) -> AsyncIterator[Visitor]:
    """A visitor, logged in when there is a token."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        visitor = Visitor(gateway, session)
        if token is not None:
            await visitor.log_in(token)
        yield visitor
