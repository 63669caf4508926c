"""HTTP with Verda's API: every call has a time limit, and only what may be done twice is tried twice.

Its own client because the SDK is synchronous, has no timeouts, and loses the status of an answer
that is not JSON.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from autoscaler.provider import ProviderError
from autoscaler.providers.verda.token import Token
from autoscaler.providers.verda.trouble import VerdaError, VerdaSilence, error_of
from autoscaler.verda_settings import VerdaSettings

TRIES_MAX = 4
PAUSE_SECONDS = 0.5  # doubles with each try, and is drawn from its half to its whole
PAUSE_SECONDS_MAX = 8.0
RETRY_AFTER_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
PAGES_MAX = 100
AGAIN = frozenset({408, 429, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any
    next: URL | None


class VerdaClient:
    """The API at `settings.verda_url`. Raises VerdaError for refusals, VerdaSilence when nothing is
    known of a call, ProviderError for credentials.
    """

    def __init__(
        self,
        settings: VerdaSettings,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base = URL(settings.verda_url)
        self._timeout = aiohttp.ClientTimeout(
            total=settings.verda_answer_seconds_max, sock_connect=CONNECT_SECONDS_MAX
        )
        self._sleep = sleep
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._quiet_until = float("-inf")  # it was asked to wait, and so do all calls
        self._token = Token(
            settings.verda_client_id,
            settings.verda_client_secret,
            grant=self._grant,
            clock=clock,
        )

    async def get(self, path: str, **parameters: str) -> Any:
        """What a GET answers."""
        return (await self._retrying("GET", self._url(path, parameters))).value

    async def get_all(self, path: str, **parameters: str) -> list[Any]:
        """A list, all its pages (those that a header Link names). Anything else is an error: a
        list that was not understood must not look like an empty one.
        """
        found: list[Any] = []
        url: URL | None = self._url(path, parameters)
        for _ in range(PAGES_MAX):
            if url is None:
                return found
            answer = await self._retrying("GET", url)
            found += _list_of(answer.value, path)
            url = self._own(answer.next)
        raise ProviderError(f"Verda: {path} has more than {PAGES_MAX} pages")

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What a POST answers. It is tried again only if it was turned away at the door."""
        return (await self._retrying("POST", self._url(path), body, again=frozenset({429}))).value

    async def delete(self, path: str, **parameters: str) -> None:
        """Remove something. 404 and 408 are its word for done and under way."""
        try:
            url = self._url(path, parameters)
            await self._retrying("DELETE", url, again=AGAIN - {408})
        except VerdaError as error:
            if error.status not in {404, 408}:
                raise

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    # Tries

    async def _retrying(
        self,
        method: str,
        url: URL,
        body: Mapping[str, Any] | None = None,
        *,
        again: frozenset[int] = AGAIN,
    ) -> _Answer:
        for done in range(1, TRIES_MAX + 1):
            try:
                return await self._authorized(method, url, body)
            except VerdaError as error:
                if error.status not in again or done == TRIES_MAX:
                    raise
            except VerdaSilence:
                if method == "POST" or done == TRIES_MAX:
                    raise
            await self._sleep(_pause_seconds(done))
        raise AssertionError("the last try returns or raises")

    async def _authorized(self, method: str, url: URL, body: Mapping[str, Any] | None) -> _Answer:
        """A token that is refused is renewed once: it may have been revoked before its time."""
        for last in (False, True):
            token = await self._token.value()
            try:
                return await self._ask(method, url, body, token)
            except VerdaError as error:
                if error.status != 401 or last:
                    raise
                self._token.refused(token)
        raise AssertionError("the last try returns or raises")

    async def _grant(self, form: Mapping[str, str]) -> Any:
        for done in range(1, TRIES_MAX + 1):
            try:
                return (await self._ask("POST", self._url("/oauth2/token"), form, None)).value
            except VerdaError as error:
                if error.status not in AGAIN or done == TRIES_MAX:
                    raise
            except VerdaSilence:
                if done == TRIES_MAX:
                    raise
            await self._sleep(_pause_seconds(done))
        raise AssertionError("the last try returns or raises")

    async def _ask(
        self, method: str, url: URL, body: Mapping[str, Any] | None, token: str | None
    ) -> _Answer:
        wait_seconds = self._quiet_until - self._clock()
        if wait_seconds > 0:
            await self._sleep(wait_seconds)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with self._open().request(
                method, url, json=body, headers=headers, timeout=self._timeout,
                allow_redirects=False,
            ) as answer:  # fmt: skip
                text = await answer.text(errors="replace")
        except TimeoutError:
            raise VerdaSilence(f"Verda did not answer {method} {url.path} in time") from None
        except (aiohttp.ClientError, OSError) as error:
            raise VerdaSilence(f"no answer from Verda at {url.host}: {_words(error)}") from None
        if answer.status == 429:
            self._quiet_until = self._clock() + _retry_after(answer)
        if answer.status >= 300:
            raise error_of(answer.status, text)
        link = answer.links.get("next")
        return _Answer(_json_of(text, url), link["url"] if link is not None else None)  # type: ignore[arg-type]

    # Addresses

    def _url(self, path: str, parameters: Mapping[str, str] | None = None) -> URL:
        return URL(f"{self._base}{path}").with_query(parameters or {})

    def _own(self, url: URL | None) -> URL | None:
        """The token goes to the API's own host and to no other."""
        if url is not None and url.origin() != self._base.origin():
            raise ProviderError(f"Verda's next page is at another host: {url.host}")
        return url

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "reveille"})
        return self._session


def _pause_seconds(done: int) -> float:
    longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** (done - 1))
    return random.uniform(longest / 2, longest)


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    given = answer.headers.get("Retry-After", "")
    seconds = float(given) if given.isdigit() else PAUSE_SECONDS
    return min(seconds, RETRY_AFTER_SECONDS_MAX)


def _json_of(text: str, url: URL) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except ValueError:
        raise VerdaSilence(f"Verda answers {url.path}, but not in JSON: {text[:80]!r}") from None


def _list_of(value: Any, path: str) -> list[Any]:
    if isinstance(value, dict):
        value = value.get("list")
    if not isinstance(value, list):
        raise ProviderError(f"Verda answers {path}, but not with a list")
    return value


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
