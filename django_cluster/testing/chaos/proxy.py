"""A TCP proxy between clients and servers that can be switched to behave like a bad network.

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
"""One of this many answers is lost while the fault ``lose`` is active."""
LINGER_RESET = struct.pack("ii", 1, 0)
"""Value of ``SO_LINGER`` with which closing a socket resets the connection."""


class UpstreamAddress(NamedTuple):
    """The address of a server behind the proxy."""

    host: str
    port: int
    path: str = ""
    """Path of a Unix socket; if it is set, host and port are ignored."""


class Proxy:
    """The proxy process: start, disturb, stop. Start it before the cluster, which inherits the port numbers."""

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
        """Start a network fault, which ends after ``seconds``."""
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
    asyncio.run(_ProxyState(seed).run(routes, orders))


class _ProxyState:
    """All connections of the proxy and the faults that are active."""

    def __init__(self, seed: int) -> None:
        self.connections: set[_ProxiedConnection] = set()
        self._rng = random.Random(seed)  # noqa: S311  repeatable by its seed, not a secret
        self._kept: list[Callable[[], None]] = []
        self._held_until = self._lossy_until = 0.0
        self.fault_seconds = 0.0
        """Seconds after which the server end of a forgotten connection is aborted."""

    async def run(self, routes: Sequence[tuple[socket.socket, UpstreamAddress]], orders: Connection) -> None:
        loop = asyncio.get_running_loop()
        for listener, address in routes:
            await loop.create_server(lambda address=address: _Client(self, address), sock=listener)  # type: ignore[misc]
        loop.add_reader(orders.fileno(), lambda: self.apply(*orders.recv()))
        await loop.create_future()

    def apply(self, kind: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.fault_seconds = seconds
        if kind == FaultKind.HOLD:
            self._held_until = loop.time() + seconds
            loop.call_later(seconds, self._release)
        elif kind == FaultKind.LOSE:
            self._lossy_until = loop.time() + seconds
        else:
            for line in list(self.connections):
                line.forget() if kind == FaultKind.FORGET else line.reset()

    def run_in_order(self, act: Callable[[], None]) -> None:
        """Run ``act`` immediately, or in order when the held traffic is released."""
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

    def loses_answer(self) -> bool:
        """Whether the answer that has just arrived is dropped."""
        return asyncio.get_running_loop().time() < self._lossy_until and self._rng.random() * ANSWERS_PER_LOSS < 1

    def coin_flip(self) -> bool:
        return self._rng.random() < 0.5


class _ProxiedConnection:
    """A client connection and the server connection that belongs to it."""

    def __init__(self, network: _ProxyState, client: asyncio.Transport) -> None:
        self.network, self.client = network, client
        self.server: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._asked = self._silent = self._over = False
        network.connections.add(self)

    def connected(self, server: asyncio.Transport) -> None:
        self.server = server
        if self._over:
            server.abort()
        for data in self._early:
            server.write(data)

    def client_sent(self, data: bytes) -> None:
        """The client has sent bytes."""
        if not self._silent:
            self.network.run_in_order(lambda: self._to_server(data))

    def _to_server(self, data: bytes) -> None:
        self._asked = True
        if self.server is None:
            self._early.append(data)
        elif not self._silent:
            self.server.write(data)

    def server_sent(self, data: bytes) -> None:
        """The server has sent bytes."""
        if self._silent:
            return
        first, self._asked = self._asked, False
        if first and self.network.loses_answer():
            self.forget() if self.network.coin_flip() else self.close()
        else:
            self.network.run_in_order(lambda: None if self._silent else self.client.write(data))

    def forget(self) -> None:
        """Send neither bytes nor a close from now on; the server connection is aborted later, as by keepalive."""
        self._silent = True
        self.network.connections.discard(self)
        asyncio.get_running_loop().call_later(self.network.fault_seconds, self._drop_server)

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
        """One end has closed the connection: close the other one in order, unless the connection was forgotten."""
        if not self._silent:
            self.network.run_in_order(lambda: None if self._silent else self.close())

    def _end(self, *, abort: bool) -> None:
        self._over = True
        self.network.connections.discard(self)
        for end in (self.client, self.server):
            if end is not None:
                end.abort() if abort else end.close()


class _Client(asyncio.Protocol):
    """Protocol of the connection to the client."""

    def __init__(self, network: _ProxyState, address: UpstreamAddress) -> None:
        self._network, self._address = network, address
        self._connection: _ProxiedConnection | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        line = self._connection = _ProxiedConnection(self._network, transport)
        self._network.run_in_order(lambda: self._call(line))

    def _call(self, connection: _ProxiedConnection) -> None:
        self._task = asyncio.get_running_loop().create_task(self._connect(connection))

    async def _connect(self, connection: _ProxiedConnection) -> None:
        loop, place = asyncio.get_running_loop(), self._address
        try:
            if place.path:
                await loop.create_unix_connection(lambda: _Server(connection), place.path)
            else:
                await loop.create_connection(lambda: _Server(connection), place.host, place.port)
        except OSError:
            connection.close()

    def data_received(self, data: bytes) -> None:
        if self._connection is not None:
            self._connection.client_sent(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.ended()


class _Server(asyncio.Protocol):
    """Protocol of the connection to the server."""

    def __init__(self, connection: _ProxiedConnection) -> None:
        self._connection = connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._connection.connected(transport)

    def data_received(self, data: bytes) -> None:
        self._connection.server_sent(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.ended()
