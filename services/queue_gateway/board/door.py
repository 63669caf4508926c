"""The board's door: who looks, what they may do, and whether a form is really one of ours.

A form carries a proof made from a random cookie that scripts and other sites cannot read and from
the visitor's token. A page of another site can make a browser send both cookies to us, but cannot
know the proof; and browsers that say where a request comes from are refused without looking at it.
What a form did is told once, at the top of the next page, by way of a cookie as well.
"""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from typing import Literal
from urllib.parse import quote, unquote

from aiohttp import web

from queue_gateway.access import COOKIE
from queue_gateway.desk import Desk
from queue_gateway.pages import page
from queue_gateway.refusal import Refusal
from reveille.tokens import Scope

SEAL_COOKIE = "reveille_form"
SAID_COOKIE = "reveille_said"
PROOF_FIELD = "proof"
SCRIPT_HEADER = "Reveille-Script"  # of what board.js fetches: nobody reads what was said there
LOGIN_SECONDS = 7 * 86_400
SAID_SECONDS = 30
SAID_CHARS_MAX = 400

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the last form did, or why it did not."""

    sentence: str
    good: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks at a page, and when by the database's clock. `here` is the page's address, to which
    its forms lead back.
    """

    scopes: frozenset[Scope]
    logged_in: bool
    proof: str
    here: str
    path: str
    said: Said | None
    now: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether to offer what needs that scope."""
        return scope in self.scopes


Page = Callable[[Desk, web.Request, Visitor], Awaitable[web.StreamResponse]]


def guarded(desk: Desk, show: Page, *, timed: bool = True) -> Handler:
    """A page for those who may read; others are led to the login. `timed`: it shows times."""

    async def handle(request: web.Request) -> web.StreamResponse:
        seal = request.cookies.get(SEAL_COOKIE) or token_urlsafe(24)
        visitor = _visitor(desk, request, seal)
        try:
            desk.access.admit(request, "read")
            if timed:
                visitor = replace(visitor, now=await desk.store.value("now"))
            response = await show(desk, request, visitor)
        except Refusal as refusal:
            if refusal.status == 401:
                raise web.HTTPSeeOther("/login") from None
            response = page("refusal.html", refusal.status, refusal=refusal, visitor=visitor)
            response.headers.update(refusal.headers)
        if not response.prepared:
            _keep(request, response, SEAL_COOKIE, seal, LOGIN_SECONDS)
            if visitor.said is not None and SCRIPT_HEADER not in request.headers:
                response.del_cookie(SAID_COOKIE)
        return response

    return handle


def check_proof(request: web.Request, fields: Mapping[str, object]) -> None:
    """Raises Refusal 403 for a form that is none of ours."""
    seal = request.cookies.get(SEAL_COOKIE, "")
    given = str(fields.get(PROOF_FIELD, ""))
    if not seal or not hmac.compare_digest(_proof(request, seal).encode(), given.encode()):
        raise Refusal(
            403,
            "This form is not one of the board's, or its page is too old. Reload it and try again.",
        )


def back(request: web.Request, where: object, said: Said) -> web.Response:
    """Lead the browser back to a page of ours, which tells what happened."""
    response = web.Response(status=303, headers={"Location": _local(str(where or "/"))})
    text = f"{'+' if said.good else '-'}{said.sentence[:SAID_CHARS_MAX]}"
    _keep(request, response, SAID_COOKIE, quote(text), SAID_SECONDS)
    return response


def add_login(application: web.Application, desk: Desk) -> None:
    """The pages with which a token is given and taken back."""

    async def form(_: web.Request) -> web.Response:
        return page("login.html", wrong=False)

    async def enter(request: web.Request) -> web.Response:
        token = str((await request.post()).get("token", ""))
        try:
            scopes = desk.access.log_in(request, token)
        except Refusal as refusal:
            refused = page("refusal.html", refusal.status, refusal=refusal)
            refused.headers.update(refusal.headers)
            return refused
        if scopes is None or "read" not in scopes:
            return page("login.html", 401, wrong=True)
        response = web.Response(status=303, headers={"Location": "/"})
        _keep(request, response, COOKIE, token, LOGIN_SECONDS)
        return response

    async def leave(request: web.Request) -> web.Response:
        try:
            check_proof(request, await request.post())
        except Refusal as refusal:
            return page("refusal.html", refusal.status, refusal=refusal)
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE)
        return response

    application.router.add_get("/login", form)
    application.router.add_post("/login", enter)
    application.router.add_post("/logout", leave)


def _visitor(desk: Desk, request: web.Request, seal: str) -> Visitor:
    said = unquote(request.cookies.get(SAID_COOKIE, ""))
    return Visitor(
        scopes=desk.access.granted(request),
        logged_in=COOKIE in request.cookies,
        proof=_proof(request, seal),
        here=request.path_qs,
        path=request.path,
        said=Said(sentence=said[1:], good=said[0] == "+") if said else None,
    )


def _proof(request: web.Request, seal: str) -> str:
    token = request.cookies.get(COOKIE, "")
    return hmac.new(seal.encode(), f"reveille board {token}".encode(), sha256).hexdigest()


def _local(where: str) -> str:
    """Only pages of this board: `//host` and `/\\host` would lead elsewhere."""
    plain = where.startswith("/") and where[1:2] not in {"/", "\\"} and where.isprintable()
    return where if plain else "/"


def _keep(
    request: web.Request, response: web.StreamResponse, name: str, value: str, seconds: int
) -> None:
    strict: Literal["Strict"] = "Strict"
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite=strict, secure=request.secure
    )
