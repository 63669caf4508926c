"""A document fetched over https, from listed hosts only.

A list of host names is not enough: a listed name may resolve, or be redirected, to the cloud's
metadata service or a machine next door. So each redirect is checked like the first address, and
the connection goes to the very addresses that were resolved and found public; there is no second
look-up that could answer differently.
"""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import BinaryIO

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from reveille.documents.spool import CHUNK_BYTES, check_size, spool
from reveille.errors import ConfigurationError, TaskRejected, TaskRetry
from reveille.render.limits import DocumentLimits

REDIRECTS_MAX = 5
CONNECT_SECONDS_MAX = 10.0
SILENCE_SECONDS_MAX = 30.0
RETRY_AFTER_SECONDS_MAX = 3600.0
_NAT64 = IPv6Network("64:ff9b::/96")
# All that is routed in the internet. Outside of it lie forms that `is_global` lets through though
# they lead home: ::127.0.0.1, ::ffff:0:127.0.0.1, 64:ff9b:1::/48 (a site's own NAT64), fec0::/10.
_UNICAST = IPv6Network("2000::/3")
_AZURE_HOST_AGENT = IPv4Address("168.63.129.16")  # public by its number; answers inside Azure only


class PrivateAddress(OSError):
    """A listed host resolves to an address that is not public."""


class PublicResolver(AbstractResolver):
    """The system's resolver, without answers that are not public addresses."""

    def __init__(self, *, allow_private: bool) -> None:
        self._resolver = aiohttp.ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of `host`. Raises PrivateAddress when one of them is not public."""
        found = await self._resolver.resolve(host, port, family)
        for answer in found:
            if not (self._allow_private or is_public(answer["host"])):
                raise PrivateAddress(f"{host} has an address that is not public")
        return found

    async def close(self) -> None:
        """Nothing to release."""
        await self._resolver.close()


class HttpsSource:
    """Fetches documents from the listed hosts. Holds no connection between documents."""

    def __init__(
        self, *, hosts: Sequence[str], allow_private: bool, ssl_context: SSLContext | None
    ) -> None:
        """`hosts` are `name` (port 443) or `name:port`."""
        self._hosts = frozenset(_with_port(host) for host in hosts)
        self._allow_private = allow_private
        self._ssl_context = ssl_context

    async def fetch(self, url: str, limits: DocumentLimits) -> BinaryIO:
        """The document behind `url` as an unnamed temporary file."""
        target = self._checked(url)
        name = shown(target)
        connector = aiohttp.TCPConnector(
            resolver=PublicResolver(allow_private=self._allow_private),
            use_dns_cache=False,
            ssl=self._ssl_context or True,
        )
        timeout = aiohttp.ClientTimeout(
            total=limits.fetch_seconds_max,
            sock_connect=CONNECT_SECONDS_MAX,
            sock_read=SILENCE_SECONDS_MAX,
        )
        try:
            async with aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,  # a small reply must not become a large document
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity", "Accept": "application/pdf"},
            ) as session:
                return await self._follow(session, target, limits)
        except TimeoutError:
            raise TaskRetry("document_unreachable", f"{name} did not answer in time") from None
        except aiohttp.InvalidURL:  # 127.1, say, which other programs take for 127.0.0.1
            raise TaskRejected("path_refused", f"{name} names no host") from None
        except (aiohttp.ClientError, OSError) as error:
            if _is_private(error):
                why = f"{name} resolves to an address that is not public"
                raise TaskRejected("path_refused", why) from None
            kind = type(error).__name__
            raise TaskRetry("document_unreachable", f"{name} cannot be reached ({kind})") from None

    async def _follow(
        self, session: aiohttp.ClientSession, target: URL, limits: DocumentLimits
    ) -> BinaryIO:
        for _ in range(REDIRECTS_MAX + 1):
            async with session.get(target, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308):
                    location = response.headers.get("Location", "")
                    target = self._checked(str(target.join(URL(location))))
                    continue
                _check_status(response, shown(target))
                # What Content-Length says is only good for an early no.
                check_size(response.content_length or 0, limits)
                return await spool(response.content.iter_chunked(CHUNK_BYTES), limits)
        raise TaskRejected(
            "document_unreadable", f"{shown(target)} redirects over {REDIRECTS_MAX} times"
        )

    def _checked(self, url: str) -> URL:
        """The parsed URL. Raises TaskRejected when it names a place that is not listed."""
        try:
            target = URL(url)
            host, port = target.host or "", target.port
        except ValueError:
            raise TaskRejected("path_refused", "file_path is not a valid URL") from None
        if target.scheme != "https":
            raise TaskRejected("path_refused", f"{shown(target)} is not https")
        if target.user is not None or target.password is not None:
            raise TaskRejected("path_refused", f"{shown(target)} carries a user name or password")
        if (host.lower(), port) not in self._hosts:
            raise TaskRejected(
                "path_refused", f"host {host}:{port} is not listed in REVEILLE_DOCUMENT_HOSTS"
            )
        if not self._allow_private and _is_address(host) and not is_public(host):
            raise TaskRejected("path_refused", f"{host} is not a public address")
        return target


def shown(url: URL) -> str:
    """The URL for messages: without query and user, which may be secrets."""
    port = "" if url.is_default_port() else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}{url.path}"


def is_public(address: str) -> bool:
    """True for an address of the public internet, also looking through IPv6 wrappings of IPv4."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed in _NAT64:
            return is_public(str(IPv4Address(int(parsed) & 0xFFFF_FFFF)))
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if parsed not in _UNICAST:
            return False
    return parsed.is_global and not parsed.is_multicast and parsed != _AZURE_HOST_AGENT


def _check_status(response: aiohttp.ClientResponse, name: str) -> None:
    status = response.status
    if status == 200:
        return
    error = f"{name} answered {status}"
    if status in (404, 410):
        raise TaskRejected("document_missing", error)
    if status in (408, 425, 429) or status >= 500:
        raise TaskRetry("document_unreachable", error, after_seconds=_retry_after(response))
    raise TaskRejected("document_unreadable", error)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Retry-After in seconds; its other form, a date, is left to the usual backoff."""
    value = response.headers.get("Retry-After", "")
    return min(float(value), RETRY_AFTER_SECONDS_MAX) if value.isdecimal() else None


def _with_port(host: str) -> tuple[str, int]:
    try:
        url = URL(f"https://{host}")
    except ValueError:
        url = URL()
    if not url.host or url.user or url != url.origin():
        raise ConfigurationError(f"REVEILLE_DOCUMENT_HOSTS: {host!r} is not host or host:port")
    return url.host.lower(), url.port or 443


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_private(error: BaseException) -> bool:
    """aiohttp wraps what the resolver raises."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PrivateAddress):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
