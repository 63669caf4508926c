"""How the gateway says no: one exception, raised from any depth, answered as RFC 9457 problem+json."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web

from reveille.errors import ReveilleError
from reveille.health import problem


class Refusal(ReveilleError):
    """An answer of 4xx or 503. `detail` says what is wrong and what to do; `extra` are further
    members of the problem.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra

    def answer(self) -> web.Response:
        """The response that carries it."""
        title = HTTPStatus(self.status).phrase
        response = problem(self.status, title, self.detail, **self.extra)
        response.headers.update(self.headers)
        return response


def not_found(what: str, key: object) -> Refusal:
    """The 404 for a thing that is named by a key."""
    return Refusal(404, f"There is no {what} {key}.")
