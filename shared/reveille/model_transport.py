"""How bytes get to the model server: its address, time limits, and one field the client cannot set.

The server cuts a prompt that is too long and answers as if nothing had happened, unless the request
says `"truncate": false`. The client library has no parameter for it, so it is added on the way out.
"""

from typing import Final
from urllib.parse import urlsplit

import httpx

from reveille.errors import ConfigurationError

DEFAULT_PORT: Final = 11434
SCHEME_PORTS: Final = {"http": 80, "https": 443}
CONNECT_SECONDS_MAX: Final = 10.0
# A last resort: every call has its own, shorter limit.
READ_SECONDS_MAX: Final = 3600.0


def base_url(host: str) -> str:
    """The URL for what OLLAMA_HOST says: `gpu1`, `gpu1:11434`, `https://models.example`, `[::1]`.

    Without a scheme the port defaults to 11434, with one to the scheme's own, as Ollama does it.
    Raises ConfigurationError.
    """
    has_scheme = "://" in host
    try:
        parts = urlsplit(host if has_scheme else f"http://{host}")
        port = parts.port or (SCHEME_PORTS[parts.scheme] if has_scheme else DEFAULT_PORT)
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"OLLAMA_HOST is {host!r}: write http://NAME:PORT, https://NAME or NAME:PORT."
        ) from error
    name = parts.hostname or "127.0.0.1"
    name = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{name}:{port}{parts.path.rstrip('/')}"


def timeouts() -> httpx.Timeout:
    """Limits per step of a request; the whole call is limited by the model client."""
    return httpx.Timeout(READ_SECONDS_MAX, connect=CONNECT_SECONDS_MAX)


class NoSilentTruncation(httpx.AsyncBaseTransport):
    """Passes requests on; those to /api/chat with `"truncate": false`.

    Environment variables (proxies, certificates) are not looked at: a model server is a neighbour.
    """

    def __init__(self, *, connections_max: int) -> None:
        self._inner = httpx.AsyncHTTPTransport(
            limits=httpx.Limits(
                max_connections=connections_max, max_keepalive_connections=connections_max
            ),
            trust_env=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it, changed where needed."""
        if request.method == "POST" and request.url.path.endswith("/api/chat"):
            request = _without_truncation(request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections; a second time does nothing."""
        await self._inner.aclose()


def _without_truncation(request: httpx.Request) -> httpx.Request:
    content = request.content
    if not content.startswith(b"{") or content[1:2] == b"}":
        return request
    headers = request.headers.copy()
    del headers["content-length"]
    return httpx.Request(
        request.method,
        request.url,
        headers=headers,
        content=b'{"truncate":false,' + content[1:],
        extensions=request.extensions,
    )
