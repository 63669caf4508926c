"""Who may do what: bearer tokens with scopes, and how often.

Without any token configured the gateway is open, for a laptop or a private network. The board's
pages, which a browser asks for without headers, take the token from a cookie instead; it counts for
reading only, so a foreign page can change nothing. The board's own forms carry a second proof
(`board/door.py`); for them alone the cookie counts as well.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from queue_gateway.refusal import Refusal
from reveille.tokens import SCOPES, Scope, Tokens, bearer_of, digest_of

COOKIE = "reveille_token"
READING = frozenset({"GET", "HEAD"})
CLIENTS_MAX = (
    10_000  # whose request rates are remembered; the longest silent one is forgotten first
)


class RateLimit:
    """A token bucket per client: `per_second` on average, `burst` at once. Zero per second: no
    limit.
    """

    def __init__(
        self, per_second: float, burst: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> float:
        """Count a request; the seconds until one is allowed, 0 when this one is."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        left, seen_at = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - seen_at) * self._per_second)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        if len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._per_second


class Access:
    """Lets a request in, or raises the Refusal that says why not."""

    def __init__(self, tokens: Tokens, limit: RateLimit) -> None:
        self._tokens = tokens
        self._limit = limit

    def admit(self, request: web.Request, scope: Scope | None, *, form: bool = False) -> None:
        """Raises Refusal 401, 403 or 429. A scope of None is open to all.

        `form`: this is a form of the board, and its proof is checked before anything is done.
        """
        if scope is None:
            return
        if request.method not in READING:
            _refuse_foreign_page(request)
        token = _token(request, form=form)
        scopes = self.scopes(token) if token else None
        self._count(digest_of(token).hex() if token and scopes is not None else str(request.remote))
        if self._tokens:
            _check(scopes, scope)

    def log_in(self, request: web.Request, token: str) -> frozenset[Scope] | None:
        """What a token typed into a form may do, None for an unknown one. Raises Refusal 403 and
        429: guesses count for the address like requests.
        """
        _refuse_foreign_page(request)
        self._count(str(request.remote))
        return self.scopes(token)

    def _count(self, client: str) -> None:
        wait_seconds = self._limit.take(client)
        if wait_seconds:
            raise Refusal(
                429, "Too many requests.", headers={"Retry-After": str(int(wait_seconds) + 1)}
            )

    def granted(self, request: web.Request) -> frozenset[Scope]:
        """What a page's visitor may do: everything where no token is configured."""
        if not self._tokens:
            return frozenset(SCOPES)
        token = _token(request, form=True)
        return (self.scopes(token) if token else None) or frozenset()

    def scopes(self, token: str) -> frozenset[Scope] | None:
        """What a token may do, None for an unknown one."""
        return self._tokens.scopes(token)


def _check(scopes: frozenset[Scope] | None, scope: Scope) -> None:
    if scopes is None:
        raise Refusal(
            401,
            "This needs a known token: Authorization: Bearer <token>.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if scope not in scopes:
        raise Refusal(403, f'This token lacks the scope "{scope}".', scope=scope)


def _token(request: web.Request, *, form: bool) -> str | None:
    token = bearer_of(request.headers.get("Authorization", ""))
    if token is not None:
        return token
    return request.cookies.get(COOKIE) if form or request.method in READING else None


def _refuse_foreign_page(request: web.Request) -> None:
    # Browsers say where a request comes from; other clients do not, and are not steered by foreign
    # pages.
    if request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        raise Refusal(403, "A page of another site may not change anything here.")
