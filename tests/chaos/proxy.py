"""A TCP proxy in front of Postgres that can fail as networks do: silently.

Each service has its own. `swallow` makes the connections of the moment half-open: bytes vanish in
both directions and nobody is told, not even of an end; new connections work. `cut_off` swallows
new ones too. `heal` resets what was swallowed, as a router does in the end.
"""

import asyncio
from contextlib import suppress

CHUNK_BYTES = 65_536


class _Line:
    """One client's connection and the one it was given to Postgres."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.silent = False

    def reset(self) -> None:
        for side in (self.client, self.server):
            side.transport.abort()


class Proxy:
    """Listens on a free port of `host` and passes everything on to `upstream_port` of 127.0.0.1."""

    def __init__(self, upstream_port: int, *, host: str = "127.0.0.1") -> None:
        self._upstream_port = upstream_port
        self._host = host
        self._lines: set[_Line] = set()
        self._server: asyncio.Server | None = None
        self._cut = False
        self.port = 0
        self.swallowed = False  # some connection has been half-open at some time

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, self._host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def swallow(self) -> None:
        """Half-open: what is connected now hears and says nothing any more."""
        self.swallowed = True
        for line in self._lines:
            line.silent = True

    def cut_off(self) -> None:
        """What is connected now, and what connects until `heal`, hears nothing."""
        self._cut = True
        self.swallow()

    def heal(self) -> None:
        """Let new connections through, and reset those that were swallowed."""
        self._cut = False
        for line in [line for line in self._lines if line.silent]:
            line.reset()

    async def stop(self) -> None:
        """Reset everything and close."""
        if self._server is not None:
            self._server.close()
        for line in list(self._lines):
            line.reset()

    async def _accept(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            upstream, server = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        except OSError:  # Postgres is away: refused, as without a proxy
            client.transport.abort()
            return
        line = _Line(client, server)
        line.silent = self._cut
        self._lines.add(line)
        try:
            await asyncio.gather(
                self._pass_on(line, reader, server), self._pass_on(line, upstream, client)
            )
        finally:
            self._lines.discard(line)
            line.reset()

    @staticmethod
    async def _pass_on(
        line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if not line.silent:
                    writer.write(data)
                    await writer.drain()
        if line.silent:  # the other side must not learn that this one is gone
            with suppress(OSError):
                await writer.wait_closed()
        else:
            line.reset()
