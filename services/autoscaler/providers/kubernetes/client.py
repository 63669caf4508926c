"""HTTP with the API server: every call has a time limit, and only what may be done twice is tried
twice.

Its own client because the official one is synchronous and brings a hundred generated modules; five
calls are needed.
"""

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from autoscaler.kubernetes_settings import Cluster
from autoscaler.provider import ProviderError
from autoscaler.providers.kubernetes.trouble import KubernetesError, KubernetesSilence, error_of
from reveille.errors import ConfigurationError

TRIES_MAX = 4
PAUSE_SECONDS = 0.5  # doubles with each try, and is drawn from its half to its whole
PAUSE_SECONDS_MAX = 8.0
RETRY_AFTER_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
PAGE_ITEMS_MAX = 500
PAGES_MAX = 100
AGAIN = frozenset({429, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]


class _OutdatedError(ProviderError):
    """A list's next page is of a state that the server has forgotten (410)."""


class KubernetesClient:
    """The API server of `cluster`. Raises KubernetesError for refusals, KubernetesSilence when
    nothing is known of a call.
    """

    def __init__(
        self, cluster: Cluster, *, answer_seconds_max: float, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._cluster = cluster
        self._base = URL(cluster.url)
        self._timeout = aiohttp.ClientTimeout(
            total=answer_seconds_max, sock_connect=CONNECT_SECONDS_MAX
        )
        self._tls = _tls_of(cluster.ca_file)
        self._sleep = sleep
        self._session: aiohttp.ClientSession | None = None

    async def get(self, group: str, kind: str, name: str) -> Any:
        """One object of the namespace."""
        return await self._retrying("GET", self._url(group, kind, name))

    async def get_all(self, group: str, kind: str, labels: str) -> list[Any]:
        """Those with these labels, all pages of one state. Anything else is an error: a list that
        was not understood must not look like an empty one.
        """
        try:
            return [item async for item in self._pages(group, kind, labels)]
        except _OutdatedError:  # the server keeps a state for some minutes; the next one it has
            return [item async for item in self._pages(group, kind, labels)]

    async def _pages(self, group: str, kind: str, labels: str) -> AsyncIterator[Any]:
        query = {"labelSelector": labels, "limit": str(PAGE_ITEMS_MAX)}
        for _ in range(PAGES_MAX):
            try:
                page = await self._retrying("GET", self._url(group, kind).with_query(query))
            except KubernetesError as error:
                if error.status != 410 or "continue" not in query:
                    raise
                raise _OutdatedError(str(error)) from None
            items, following = _items_of(page, kind)
            for item in items:
                yield item
            if not following:
                return
            query["continue"] = following
        raise ProviderError(f"Kubernetes: {kind} has more than {PAGES_MAX} pages")

    async def post(self, group: str, kind: str, body: Mapping[str, Any]) -> Any:
        """Create one. It is tried again only if it was turned away at the door."""
        url = self._url(group, kind).with_query(fieldValidation="Strict")
        return await self._retrying("POST", url, body, again=frozenset({429}))

    async def delete(self, group: str, kind: str, name: str, *, uid: str) -> None:
        """Begin to remove this one, and what it owns before it. One that is gone, or that gave its
        name to another, is removed.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        try:
            await self._retrying("DELETE", self._url(group, kind, name), options)
        except KubernetesError as error:
            if error.status not in {404, 409}:
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
    ) -> Any:
        renewed = False
        for done in range(1, TRIES_MAX + 1):
            pause_seconds = _pause_seconds(done)
            try:
                return await self._ask(method, url, body)
            except KubernetesError as error:
                if error.status == 401 and not renewed:  # the token was renewed meanwhile
                    renewed = True
                    continue
                if error.status not in again or done == TRIES_MAX:
                    raise
                pause_seconds = max(pause_seconds, error.retry_after_seconds)
            except KubernetesSilence:
                if method == "POST" or done == TRIES_MAX:
                    raise
            await self._sleep(pause_seconds)
        raise AssertionError("the last try returns or raises")

    async def _ask(self, method: str, url: URL, body: Mapping[str, Any] | None) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        try:
            async with self._open().request(
                method, url, json=body, headers=headers, timeout=self._timeout,
                allow_redirects=False, ssl=self._tls,
            ) as answer:  # fmt: skip
                text = await answer.text(errors="replace")
        except TimeoutError:
            raise KubernetesSilence(
                f"the API server did not answer {method} {url.path} in time"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise KubernetesSilence(f"no answer from the API server: {words}") from None
        if answer.status >= 300:
            raise error_of(
                answer.status, text, self._cluster.namespace,
                retry_after_seconds=_retry_after(answer),
            )  # fmt: skip
        return _json_of(text, url)

    def _token(self) -> str:
        if self._cluster.token_file is None:
            return self._cluster.token.get_secret_value()
        try:
            return self._cluster.token_file.read_text().strip()
        except OSError as error:
            raise ProviderError(
                f"the token for Kubernetes cannot be read: {error}", trouble="account"
            ) from None

    # Addresses

    def _url(self, group: str, kind: str, name: str = "") -> URL:
        place = self._base / group / "namespaces" / self._cluster.namespace / kind
        return place / name if name else place

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "reveille"})
        return self._session


def _tls_of(ca_file: Path | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"{ca_file} is no authority to trust: {error}") from None


def _pause_seconds(done: int) -> float:
    longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS * 2.0 ** (done - 1))
    return random.uniform(longest / 2, longest)


def _retry_after(answer: aiohttp.ClientResponse) -> float:
    given = answer.headers.get("Retry-After", "")
    return min(float(given), RETRY_AFTER_SECONDS_MAX) if given.isdigit() else 0.0


def _json_of(text: str, url: URL) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise KubernetesSilence(
            f"the API server answers {url.path}, but not in JSON: {text[:80]!r}"
        ) from None


def _items_of(page: Any, kind: str) -> tuple[list[Any], str]:
    items = page.get("items") if isinstance(page, dict) else None
    if not isinstance(items, list):
        raise ProviderError(f"Kubernetes answers a list of {kind}, but not with items")
    return items, str((page.get("metadata") or {}).get("continue") or "")
