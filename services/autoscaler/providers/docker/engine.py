"""The Docker Engine's HTTP API over a unix socket or TCP, and its errors as sentences.

Its own client because the few calls needed here are plain JSON over HTTP: the engine's Python SDK
is synchronous, and a container's stop lasts as long as its drain.
"""

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from autoscaler.provider import ProviderError
from reveille.errors import ConfigurationError

# The oldest API with everything that is asked for here (Docker 19.03), and the newest tried.
API_MIN = (1, 40)
API_MAX = (1, 48)
ANSWER_SECONDS_MAX = 30.0
CONNECT_SECONDS_MAX = 5.0
LINE_BYTES_MAX = 1024 * 1024  # of a pull's progress

Json = Mapping[str, Any]


class EngineError(ProviderError):
    """The engine answered with an error; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Engine:
    """One engine. Raises EngineError for its refusals, ProviderError when it cannot be asked."""

    def __init__(self, host: str, *, cert_path: Path | None = None) -> None:
        self._host = host
        self._connector, self._base = _way_to(host, cert_path)
        self._session: aiohttp.ClientSession | None = None
        self._version = ""

    async def get(self, path: str, **parameters: str) -> Any:
        """What a GET answers."""
        return await self._json("GET", path, parameters, None, ANSWER_SECONDS_MAX)

    async def post(
        self,
        path: str,
        body: Json | None = None,
        *,
        seconds_max: float = ANSWER_SECONDS_MAX,
        **parameters: str,
    ) -> Any:
        """What a POST answers; None where it says only that it was done."""
        return await self._json("POST", path, parameters, body, seconds_max)

    async def delete(self, path: str, **parameters: str) -> None:
        """Remove something."""
        await self._json("DELETE", path, parameters, None, ANSWER_SECONDS_MAX)

    async def read(self, path: str, **parameters: str) -> bytes:
        """A body that is no JSON."""
        async with self._ask("GET", path, parameters, None, ANSWER_SECONDS_MAX) as answer:
            return await answer.read()

    async def stream(
        self, path: str, *, seconds_max: float, headers: Mapping[str, str], **parameters: str
    ) -> AsyncIterator[Json]:
        """The JSON objects of a POST that tells how it goes on, one a line."""
        async with self._ask("POST", path, parameters, None, seconds_max, headers) as answer:
            async for line in answer.content:
                if line.strip():
                    yield json.loads(line)

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()

    async def _json(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Json | None,
        seconds_max: float,
    ) -> Any:
        async with self._ask(method, path, parameters, body, seconds_max) as answer:
            text = await answer.text()
            try:
                return json.loads(text) if text.strip() else None
            except ValueError:
                raise EngineError(
                    answer.status, f"{self._host} answers, but not as a Docker engine does"
                ) from None

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str],
        body: Json | None,
        seconds_max: float,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=seconds_max, sock_connect=CONNECT_SECONDS_MAX)
        try:
            url = f"{self._base}{await self._api()}{path}"
            async with self._open().request(
                method, url, params=parameters, json=body, timeout=timeout, headers=headers
            ) as answer:
                if answer.status >= 400:
                    raise EngineError(answer.status, _message(answer.status, await answer.text()))
                yield answer
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ProviderError(self._trouble(error)) from None
        except TimeoutError:
            raise ProviderError(f"{self._host} did not answer within {seconds_max:g} s") from None

    async def _api(self) -> str:
        """The API version both sides know, as the beginning of a path; asked once."""
        if not self._version:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
            async with self._open().get(f"{self._base}/_ping", timeout=timeout) as answer:
                newest = _version_of(answer.headers.get("Api-Version", ""))
            if newest < API_MIN:
                raise ProviderError(f"{self._host} is no Docker engine of version 19.03 or newer")
            major, minor = min(newest, API_MAX)
            self._version = f"/v{major}.{minor}"
        return self._version

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=self._connector, read_bufsize=LINE_BYTES_MAX
            )
        return self._session

    def _trouble(self, error: Exception) -> str:
        cause = getattr(error, "os_error", error)
        match cause:
            case FileNotFoundError():
                hint = "there is no such socket; is Docker running, and DOCKER_HOST right?"
            case PermissionError():
                hint = "no permission; the user of the autoscaler must be in the socket's group"
            case ConnectionRefusedError():
                hint = "nobody listens there; is Docker running, and DOCKER_HOST right?"
            case _:
                hint = str(error) or type(error).__name__
        return f"no answer from the Docker engine at {self._host}: {hint}"


def _way_to(host: str, cert_path: Path | None) -> tuple[aiohttp.BaseConnector, str]:
    parts = urlsplit(host)
    match parts.scheme:
        case "unix":
            return aiohttp.UnixConnector(path=parts.path), "http://docker"
        case "tcp" | "http" | "https" if parts.hostname:
            tls = cert_path is not None or parts.scheme == "https"
            connector = aiohttp.TCPConnector(ssl=_tls(cert_path)) if tls else aiohttp.TCPConnector()
            port = parts.port or (2376 if tls else 2375)
            return connector, f"{'https' if tls else 'http'}://{parts.hostname}:{port}"
    raise ConfigurationError(
        f"DOCKER_HOST {host!r}: write unix:///path/to/docker.sock, tcp://host:port or "
        "https://host:port"
    )


def _tls(cert_path: Path | None) -> ssl.SSLContext:
    if cert_path is None:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=cert_path / "ca.pem")
        context.load_cert_chain(cert_path / "cert.pem", cert_path / "key.pem")
    except OSError as error:
        raise ConfigurationError(f"DOCKER_CERT_PATH {cert_path}: {error}") from None
    return context


def _version_of(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


def _message(status: int, text: str) -> str:
    try:
        said = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        said = text.strip()[:300] or f"HTTP {status}"
    return said
