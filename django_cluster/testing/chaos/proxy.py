"""A process between clients and servers that passes bytes on, and can be told to behave as a bad network does.

It knows no protocol. An *answer* is the first of what a server says after a client has spoken: by then the server
has carried the request out, or has begun to answer it.

The kernel of this machine acknowledges what a silent connection is sent, as a middlebox may. So neither TCP's
keepalive nor its user time-out notices anything: a client has to have a time-out of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from django_cluster.cluster.bootstrap.host import die_with_parent
from django_cluster.testing.chaos.plan import FaultKind

ANSWERS_PER_LOSS = 10
"""Of so many answers one is lost, while answers are being lost."""
LINGER_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing is a reset."""


class UpstreamAddress(NamedTuple):
    """Where a server listens."""

    host: str
    port: int
    path: str = ""
    """Of its Unix socket, which then counts."""


class Proxy:
    """Starts the process, tells it what to do, and ends it. Start it before the cluster, which is to be its client."""

    def __init__(self, servers: Sequence[UpstreamAddress], seed: int) -> None:
        self._servers, self._seed = servers, seed
        self._process: BaseProcess | None = None
        self._orders: Connection | None = None
        self.ports: list[int] = []
        """Where clients find each of the servers, on 127.0.0.1."""

    def start(self) -> None:
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in self._servers]
        self.ports = [listener.getsockname()[1] for listener in listeners]
        context: Any = multiprocessing.get_context("fork")
        theirs, self._orders = context.Pipe(duplex=False)
        routes = list(zip(listeners, self._servers, strict=True))
        self._process = context.Process(target=_serve, args=(routes, theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()
        for listener in listeners:
            listener.close()

    def disturb(self, kind: FaultKind, seconds: float) -> None:
        """Begin with it; it ends by itself after so many seconds."""
        assert self._orders is not None
        self._orders.send((kind.value, seconds))

    def stop(self) -> None:
        if self._process is not None and self._orders is not None:
            self._process.terminate()
            self._process.join()
            self._orders.close()
        self._process = None


def _serve(routes: Sequence[tuple[socket.socket, UpstreamAddress]], orders: Connection, seed: int) -> None:
    """The target of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(signal.SIGKILL)
    asyncio.run(_Network(seed).run(routes, orders))


class _Network:
    """All connections, and the weather that they share."""

    def __init__(self, seed: int) -> None:
        self.lines: set[_Line] = set()
        self._rng = random.Random(seed)  # noqa: S311  repeatable by its seed, not a secret
        self._kept: list[Callable[[], None]] = []
        self._held_until = self._lossy_until = 0.0
        self.lasting = 0.0
        """Seconds after which a server learns that a client is out of reach."""

    async def run(self, routes: Sequence[tuple[socket.socket, UpstreamAddress]], orders: Connection) -> None:
        loop = asyncio.get_running_loop()
        for listener, address in routes:
            await loop.create_server(lambda address=address: _Client(self, address), sock=listener)  # type: ignore[misc]
        loop.add_reader(orders.fileno(), lambda: self.obey(*orders.recv()))
        await loop.create_future()

    def obey(self, kind: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.lasting = seconds
        if kind == FaultKind.HOLD:
            self._held_until = loop.time() + seconds
            loop.call_later(seconds, self._release)
        elif kind == FaultKind.LOSE:
            self._lossy_until = loop.time() + seconds
        else:
            for line in list(self.lines):
                line.forget() if kind == FaultKind.FORGET else line.reset()

    def soon(self, act: Callable[[], None]) -> None:
        """Now, or in its turn when what is held is released."""
        if self._kept or asyncio.get_running_loop().time() < self._held_until:
            self._kept.append(act)
        else:
            act()

    def _release(self) -> None:
        if asyncio.get_running_loop().time() >= self._held_until - 0.01:
            self._held_until = 0.0
            kept, self._kept = self._kept, []
            for act in kept:
                act()

    def loses(self) -> bool:
        """Whether the answer that has just come is lost."""
        return asyncio.get_running_loop().time() < self._lossy_until and self._rng.random() * ANSWERS_PER_LOSS < 1

    def coin(self) -> bool:
        return self._rng.random() < 0.5


class _Line:
    """One connection of a client, and ours to the server on its behalf."""

    def __init__(self, network: _Network, client: asyncio.Transport) -> None:
        self.network, self.client = network, client
        self.server: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._asked = self._silent = self._over = False
        network.lines.add(self)

    def connected(self, server: asyncio.Transport) -> None:
        self.server = server
        if self._over:
            server.abort()
        for data in self._early:
            server.write(data)

    def said(self, data: bytes) -> None:
        """By the client."""
        if not self._silent:
            self.network.soon(lambda: self._to_server(data))

    def _to_server(self, data: bytes) -> None:
        self._asked = True
        if self.server is None:
            self._early.append(data)
        elif not self._silent:
            self.server.write(data)

    def answered(self, data: bytes) -> None:
        """By the server."""
        if self._silent:
            return
        first, self._asked = self._asked, False
        if first and self.network.loses():
            self.forget() if self.network.coin() else self.close()
        else:
            self.network.soon(lambda: None if self._silent else self.client.write(data))

    def forget(self) -> None:
        """No byte and no end any more; the server learns it later, as from its keepalive."""
        self._silent = True
        self.network.lines.discard(self)
        asyncio.get_running_loop().call_later(self.network.lasting, self._drop_server)

    def _drop_server(self) -> None:
        self._over = True
        if self.server is not None:
            self.server.abort()

    def reset(self) -> None:
        for end in (self.client, self.server):
            raw = end.get_extra_info("socket") if end is not None else None
            if raw is not None and raw.family != socket.AF_UNIX:
                with suppress(OSError):  # it has just ended by itself
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self._end(abort=True)

    def close(self) -> None:
        self._end(abort=False)

    def ended(self) -> None:
        """One of both has hung up; the other hears of it in its turn, unless the line is silent."""
        if not self._silent:
            self.network.soon(lambda: None if self._silent else self.close())

    def _end(self, *, abort: bool) -> None:
        self._over = True
        self.network.lines.discard(self)
        for end in (self.client, self.server):
            if end is not None:
                end.abort() if abort else end.close()


class _Client(asyncio.Protocol):
    """The end of a client."""

    def __init__(self, network: _Network, address: UpstreamAddress) -> None:
        self._network, self._address = network, address
        self._line: _Line | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        line = self._line = _Line(self._network, transport)
        self._network.soon(lambda: self._call(line))

    def _call(self, line: _Line) -> None:
        self._task = asyncio.get_running_loop().create_task(self._connect(line))

    async def _connect(self, line: _Line) -> None:
        loop, place = asyncio.get_running_loop(), self._address
        try:
            if place.path:
                await loop.create_unix_connection(lambda: _Server(line), place.path)
            else:
                await loop.create_connection(lambda: _Server(line), place.host, place.port)
        except OSError:
            line.close()

    def data_received(self, data: bytes) -> None:
        if self._line is not None:
            self._line.said(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._line is not None:
            self._line.ended()


class _Server(asyncio.Protocol):
    """Our end at the server."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._line.connected(transport)

    def data_received(self, data: bytes) -> None:
        self._line.answered(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.ended()
